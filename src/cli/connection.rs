//! The line to the server: address, TLS, token, deadline.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tonic::{
    Request, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Uri},
};
use tonic_health::pb::health_client::HealthClient;

use super::{
    CliError, Exit, duration,
    identity_token::{IdentityArgs, IdentitySource},
    line::{Bearer, Line, SignedIn},
    token_source::{self, BearerToken},
};
use crate::api::proto::{
    access_review_service_client::AccessReviewServiceClient, audit_service_client::AuditServiceClient,
    break_glass_service_client::BreakGlassServiceClient, grant_service_client::GrantServiceClient,
    invitation_service_client::InvitationServiceClient, lease_service_client::LeaseServiceClient,
    lock_service_client::LockServiceClient, notice_service_client::NoticeServiceClient,
    request_service_client::RequestServiceClient, role_service_client::RoleServiceClient,
    server_service_client::ServerServiceClient, session_service_client::SessionServiceClient,
    target_service_client::TargetServiceClient, token_service_client::TokenServiceClient,
    user_service_client::UserServiceClient,
};

/// Where the server is and how to call it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ConnectionArgs {
    /// Where the server listens; https:// for TLS
    #[arg(
        long,
        global = true,
        env = "MAYFLY_ADDRESS",
        value_name = "URL",
        default_value = "http://127.0.0.1:7440"
    )]
    pub address: String,
    /// File that holds the API token [else: the variable `MAYFLY_TOKEN`, the session of
    /// `mayfly login`, ~/.config/mayfly/token]
    #[arg(long, global = true, env = "MAYFLY_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate authorities (PEM) to trust instead of the system's
    #[arg(long, global = true, env = "MAYFLY_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain (PEM), for mutual TLS
    #[arg(
        long,
        global = true,
        env = "MAYFLY_CLIENT_CERTIFICATE",
        value_name = "FILE",
        requires = "client_key"
    )]
    pub client_certificate: Option<PathBuf>,
    /// Key (PEM) of the client certificate
    #[arg(
        long,
        global = true,
        env = "MAYFLY_CLIENT_KEY",
        value_name = "FILE",
        requires = "client_certificate"
    )]
    pub client_key: Option<PathBuf>,
    /// How long to wait for an answer
    #[arg(long, global = true, env = "MAYFLY_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    pub timeout: Duration,
    /// Send the token over http:// to another machine, where others can read it
    #[arg(long, global = true)]
    pub allow_clear_text: bool,
    /// Whom a JWT makes known.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

/// What a command calls with.
enum Found {
    Nothing,
    Token(BearerToken),
    Identity(IdentitySource),
}

impl Found {
    /// A token's file that was named, else a JWT that was named, else what tokens there are, else the CI system's JWT.
    fn by(args: &ConnectionArgs, variable: impl Fn(&str) -> Option<String>) -> Result<Self, CliError> {
        if args.token_file.is_none()
            && let Some(source) = IdentitySource::named(&args.identity, &variable)
        {
            return Ok(Found::Identity(source));
        }
        if let Some(token) = token_source::find(args.token_file.as_deref(), &args.address, &variable)? {
            return Ok(Found::Token(token));
        }
        Ok(IdentitySource::ambient(&args.identity, variable)?.map_or(Found::Nothing, Found::Identity))
    }
}

/// A line to the server; it connects with the first call.
#[derive(Clone)]
pub struct Connection {
    line: Line,
    address: String,
    timeout: Duration,
}

impl Connection {
    /// Prepares the line.
    ///
    /// # Errors
    /// When the address makes no sense, a file cannot be read, there is no token, or the token would travel in clear text.
    pub fn open(args: &ConnectionArgs) -> Result<Self, CliError> {
        let address = Address::parse(&args.address)?;
        let found = Found::by(args, |name| std::env::var(name).ok())?;
        if matches!(found, Found::Nothing) && args.client_certificate.is_none() {
            return Err(CliError::new(Exit::Unauthenticated, "not signed in, and no API token")
                .hint("people sign in with `mayfly login`")
                .hint("workloads name a JWT with --identity-token-file or MAYFLY_IDENTITY_TOKEN")
                .hint("or set MAYFLY_TOKEN, or put an API token into ~/.config/mayfly/token (chmod 600)")
                .hint(
                    "an administrator makes one with `mayfly token create --principal NAME --kind human`",
                ));
        }
        if !matches!(found, Found::Nothing) && !args.allow_clear_text {
            address.refuse_clear_text()?;
        }
        Self::to(args, &address, found)
    }

    /// Prepares a line for signing in: passwords travel on it, so not in clear text to another machine.
    ///
    /// # Errors
    /// When the address makes no sense, a file cannot be read, or a password would travel in clear text.
    pub fn open_to_sign_in(args: &ConnectionArgs) -> Result<Self, CliError> {
        let address = Address::parse(&args.address)?;
        if !args.allow_clear_text {
            address.refuse_clear_text()?;
        }
        Self::to(args, &address, Found::Nothing)
    }

    /// Prepares the line with the session that a file holds, whatever token there is besides.
    ///
    /// # Errors
    /// When the address makes no sense, a file cannot be read, or the session would travel in clear text.
    pub fn open_with_session(args: &ConnectionArgs, file: &Path) -> Result<Self, CliError> {
        let address = Address::parse(&args.address)?;
        if !args.allow_clear_text {
            address.refuse_clear_text()?;
        }
        Self::to(args, &address, Found::Token(token_source::of_file(file)?))
    }

    /// The same line, speaking for a session that has begun on it.
    ///
    /// # Errors
    /// When what the server handed out is no session.
    pub fn speaking_for(&self, session: &str) -> Result<Self, CliError> {
        let token = BearerToken::parse(session, "the server's reply")?;
        Ok(Self { line: self.line.with(Bearer::Token(token)), ..self.clone() })
    }

    /// Prepares a line for calls that need no token; none is sent.
    ///
    /// # Errors
    /// When the address makes no sense, or a file cannot be read.
    pub fn open_without_token(args: &ConnectionArgs) -> Result<Self, CliError> {
        Self::to(args, &Address::parse(&args.address)?, Found::Nothing)
    }

    fn to(args: &ConnectionArgs, address: &Address, found: Found) -> Result<Self, CliError> {
        let mut endpoint = Endpoint::from(address.uri.clone())
            .connect_timeout(args.timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_while_idle(true);
        if address.tls {
            endpoint = endpoint
                .tls_config(tls(args)?)
                .map_err(|error| CliError::local("cannot set up TLS", &error))?;
        }
        let channel = endpoint.connect_lazy();
        let bearer = match found {
            Found::Nothing => Bearer::Nothing,
            Found::Token(token) => Bearer::Token(token),
            Found::Identity(source) => {
                Bearer::Identity(Arc::new(SignedIn::new(source, channel.clone(), args.timeout)))
            }
        };
        Ok(Self { line: Line::new(channel, bearer), address: args.address.clone(), timeout: args.timeout })
    }

    /// A call with the deadline of `--timeout`.
    pub fn call<T>(&self, message: T) -> Request<T> {
        self.call_within(message, self.timeout)
    }

    /// A call with a deadline of its own.
    pub fn call_within<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        request
    }

    /// How long a call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Turns what a call ended with into what is shown.
    pub fn explain(&self, status: &Status) -> CliError {
        CliError::from_status(status, &self.address)
    }

    /// The server's health.
    pub fn health(&self) -> HealthClient<Line> {
        HealthClient::new(self.line.clone())
    }

    /// Leases.
    pub fn leases(&self) -> LeaseServiceClient<Line> {
        LeaseServiceClient::new(self.line.clone())
    }

    /// Requests.
    pub fn requests(&self) -> RequestServiceClient<Line> {
        RequestServiceClient::new(self.line.clone())
    }

    /// Reviews of access.
    pub fn access(&self) -> AccessReviewServiceClient<Line> {
        AccessReviewServiceClient::new(self.line.clone())
    }

    /// Access without reviews.
    pub fn break_glass(&self) -> BreakGlassServiceClient<Line> {
        BreakGlassServiceClient::new(self.line.clone())
    }

    /// Grants.
    pub fn grants(&self) -> GrantServiceClient<Line> {
        GrantServiceClient::new(self.line.clone())
    }

    /// Locks.
    pub fn locks(&self) -> LockServiceClient<Line> {
        LockServiceClient::new(self.line.clone())
    }

    /// Roles.
    pub fn roles(&self) -> RoleServiceClient<Line> {
        RoleServiceClient::new(self.line.clone())
    }

    /// Targets.
    pub fn targets(&self) -> TargetServiceClient<Line> {
        TargetServiceClient::new(self.line.clone())
    }

    /// Tokens.
    pub fn tokens(&self) -> TokenServiceClient<Line> {
        TokenServiceClient::new(self.line.clone())
    }

    /// Accounts of people.
    pub fn users(&self) -> UserServiceClient<Line> {
        UserServiceClient::new(self.line.clone())
    }

    /// Signing in, and sessions.
    pub fn sessions(&self) -> SessionServiceClient<Line> {
        SessionServiceClient::new(self.line.clone())
    }

    /// Contractors' invitations.
    pub fn invitations(&self) -> InvitationServiceClient<Line> {
        InvitationServiceClient::new(self.line.clone())
    }

    /// What is told of what happens.
    pub fn notices(&self) -> NoticeServiceClient<Line> {
        NoticeServiceClient::new(self.line.clone())
    }

    /// The audit log.
    pub fn audit(&self) -> AuditServiceClient<Line> {
        AuditServiceClient::new(self.line.clone())
    }

    /// The server itself.
    pub fn server(&self) -> ServerServiceClient<Line> {
        ServerServiceClient::new(self.line.clone())
    }
}

#[derive(Debug)]
struct Address {
    uri: Uri,
    tls: bool,
    loopback: bool,
}

impl Address {
    fn parse(text: &str) -> Result<Self, CliError> {
        let senseless = || {
            CliError::usage(format!("`{text}` is no address of a Mayfly server"))
                .hint("expected http://HOST:PORT or https://HOST:PORT")
        };
        let uri: Uri = text.parse().map_err(|_| senseless())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(senseless()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(senseless)?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(senseless());
        }
        let loopback = is_loopback(host);
        Ok(Self { uri, tls, loopback })
    }

    fn refuse_clear_text(&self) -> Result<(), CliError> {
        if self.tls || self.loopback {
            return Ok(());
        }
        let host = self.uri.host().unwrap_or_default();
        Err(CliError::usage(format!("refusing to send the token to {host} in clear text"))
            .hint("use an https:// address")
            .hint("--allow-clear-text sends it anyway, for networks that encrypt below"))
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tls(args: &ConnectionArgs) -> Result<ClientTlsConfig, CliError> {
    let mut config = match &args.ca_file {
        Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let (Some(certificate), Some(key)) = (&args.client_certificate, &args.client_key) {
        config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(config)
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(file).map_err(|error| CliError::local(format!("cannot read {}", file.display()), &error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tonic::transport::ServerTlsConfig;

    use super::{super::fake_server::Fake, *};
    use crate::{api::proto, clock::SystemClock};

    /// PEM of a certificate for `localhost` and of its key.
    fn issue(authority: &CertifiedIssuer<'_, KeyPair>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (parameters.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
    }

    async fn renew(fake: &Fake, options: &str) -> Result<(), CliError> {
        let (_, context, ..) = fake.command(&format!("{options} whoami"), Arc::new(SystemClock));
        let connection = context.connect()?;
        let call = connection.call(proto::RenewLeaseRequest::default());
        connection.leases().renew_lease(call).await.map(|_| ()).map_err(|status| connection.explain(&status))
    }

    #[tokio::test]
    async fn tls_trusts_the_authority_named_and_shows_the_certificate_asked_for() {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, pem: &str| {
            let path = directory.path().join(name);
            fs::write(&path, pem).unwrap();
            path.display().to_string()
        };
        let (certificate, key) = issue(&authority);
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(authority.pem()));
        let fake = Fake::start_tls(tls).await;
        let (certificate, key) = issue(&authority);
        let trusting = format!("--ca-file {}", file("ca", &authority.pem()));
        let shown =
            format!("--client-certificate {} --client-key {}", file("cert", &certificate), file("key", &key));
        renew(&fake, &format!("{trusting} {shown}")).await.unwrap();
        let stranger = file("stranger", &issue(&authority).0);
        for refused in [trusting, format!("--ca-file {stranger} {shown}")] {
            let error = renew(&fake, &refused).await.unwrap_err();
            assert_eq!(error.exit(), Exit::Unavailable, "{refused}: {error}");
            assert!(error.to_string().to_lowercase().contains("certificate"), "{refused}: {error}");
        }
    }

    #[test]
    fn a_token_travels_in_clear_text_only_to_this_machine() {
        for accepted in [
            "http://127.0.0.1:7440",
            "http://127.8.9.1:1",
            "http://localhost:7440",
            "http://[::1]:7440",
            "https://mayfly.example.com",
        ] {
            assert!(Address::parse(accepted).unwrap().refuse_clear_text().is_ok(), "{accepted}");
        }
        for refused in [
            "http://mayfly.example.com:7440",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[2001:db8::1]:7440",
        ] {
            let error = Address::parse(refused).unwrap().refuse_clear_text().unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{refused}");
            assert!(error.to_string().contains("in clear text"), "{error}");
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in
            ["", "mayfly", "127.0.0.1:7440", "ftp://x", "http://", "http://127.0.0.1@evil.example", "/x"]
        {
            assert_eq!(Address::parse(text).unwrap_err().exit(), Exit::Usage, "{text:?}");
        }
    }
}
