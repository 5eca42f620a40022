//! A server, a sample on it, and a whole Mayfly in front of it.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, net::SocketAddr, os::unix::fs::OpenOptionsExt as _,
    path::Path, sync::Arc,
};

use mayfly::{
    api::proto::{
        CreateTokenRequest, PrincipalKind, lease_service_client::LeaseServiceClient,
        token_service_client::TokenServiceClient,
    },
    app::Application,
    clock::SystemClock,
    config::{Config, SystemEnvironment},
    domain::{Role, RoleName},
    random::SystemRandom,
    sandbox::{Administrator, Binaries, Durability, Sample, SampleNames, Server, ServerSpec},
    target::{Surroundings, Target, connect},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{
    Kind, Outcome,
    line::{Line, MayflyLine, bearer},
    tidy,
};

/// What a [`World`] is to be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// A role each, of those on the server's engine.
    pub(crate) kinds: &'a [Kind],
    /// Callers that get a principal and a token of their own.
    pub(crate) callers: usize,
    /// The lines of `[store]`.
    pub(crate) store: &'a str,
    /// More lines of every role.
    pub(crate) role: &'a str,
    /// More lines of the target.
    pub(crate) target: &'a str,
    /// Tables that come last.
    pub(crate) more: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        let role = "default_ttl = \"1h\"";
        Self { kinds: &[], callers: 1, store: "path = \"mayfly.db\"", role, target: "", more: "" }
    }
}

/// Everything one engine is measured with.
pub(crate) struct World {
    server: Server,
    sample: Sample,
    directory: TempDir,
    target: Arc<dyn Target>,
    roles: BTreeMap<RoleName, Role>,
    address: SocketAddr,
    authority: String,
    bearers: Vec<MetadataValue<Ascii>>,
    administrator: MetadataValue<Ascii>,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), mayfly::app::StartError>>,
}

impl World {
    /// Starts it all.
    pub(crate) async fn start(binaries: Binaries, setup: Setup<'_>) -> Outcome<Self> {
        let spec = ServerSpec { durability: Durability::Full, ..ServerSpec::new(binaries) };
        let server = Server::start(spec, &SystemRandom).await?;
        let sample = Sample::install(&server, SampleNames::default(), &SystemRandom).await?;
        let directory = tempfile::tempdir()?;
        let authority = certificates(directory.path())?;
        let path = directory.path().join("mayfly.toml");
        write_private(&directory.path().join("password"), sample.administrator.password.expose())?;
        let config =
            Config::parse(&configuration(&server, &sample, setup)?, &path, &SystemEnvironment)?.config;
        // Once a process: further worlds log as the first does.
        let _ = mayfly::telemetry::start(&config.log);
        let surroundings = Surroundings::new(Arc::new(SystemClock), Arc::new(SystemRandom));
        let settings = config.targets.values().next().ok_or("no target")?.clone();
        let target = connect(settings, surroundings.clone())?;
        let roles = config.roles.clone();
        let mut application = Application::build(config, surroundings, &SystemEnvironment).await?;
        let address = application.address();
        let token = application.take_first_token().ok_or("the first token is not shown")?;
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(application.run(shutdown.clone()));
        let mut world = Self {
            server,
            sample,
            directory,
            target,
            roles,
            address,
            authority,
            bearers: Vec::new(),
            administrator: bearer(token.expose())?,
            shutdown,
            serving,
        };
        world.add_callers(token.expose(), setup.callers).await?;
        Ok(world)
    }

    /// The database server.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The group accounts join.
    pub(crate) fn group(&self) -> &str {
        &self.sample.names.read
    }

    /// Where Mayfly's store is, on the same disk as the server's data.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The account Mayfly administers the server with; the raw loop uses it as well.
    pub(crate) fn raw_account(&self) -> &Administrator {
        &self.sample.administrator
    }

    /// Draws a password and computes its verifier, as an issue does.
    pub(crate) async fn prepare(&self, kind: Kind) -> Outcome<()> {
        let role = self.roles.get(&kind.role.parse()?).ok_or("no such role")?;
        self.target.prepare(role).await?;
        Ok(())
    }

    /// Lines to Mayfly: a principal, a token and a connection each.
    pub(crate) async fn mayfly_lines(&self, kind: Kind, callers: usize) -> Outcome<Vec<Line>> {
        let mut lines = Vec::new();
        for bearer in self.bearers.iter().take(callers) {
            let client = LeaseServiceClient::new(self.channel().await?);
            let line = MayflyLine { client, bearer: bearer.clone(), role: kind.role };
            lines.push(Line::Mayfly(Box::new(line)));
        }
        Ok(lines)
    }

    /// Mayfly's administrator, for leases.
    pub(crate) async fn administrator_of_leases(
        &self,
    ) -> Outcome<(LeaseServiceClient<Channel>, MetadataValue<Ascii>)> {
        Ok((LeaseServiceClient::new(self.channel().await?), self.administrator.clone()))
    }

    /// Lines to the server itself.
    pub(crate) async fn raw_lines(&self, callers: usize) -> Outcome<Vec<Line>> {
        let mut lines = Vec::new();
        for _ in 0..callers {
            lines.push(Line::to_server(&self.server, self.raw_account()).await?);
        }
        Ok(lines)
    }

    /// The server's own administrator.
    pub(crate) async fn administrator(&self) -> Outcome<Line> {
        Line::to_server(&self.server, self.server.administrator()).await
    }

    /// Drops roles by the beginning of their names.
    pub(crate) async fn drop_postgres_roles_beginning(&self, prefix: &str) -> Outcome<()> {
        let mut line = self.administrator().await?;
        let Line::Postgres(client) = &line else { return Err("not PostgreSQL".into()) };
        let question = "SELECT rolname::text FROM pg_roles WHERE starts_with(rolname, $1)";
        let rows = client.query(question, &[&prefix]).await?;
        let names: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        tidy::drop_accounts(&mut line, self.server.engine(), &names).await
    }

    /// Ends it all.
    pub(crate) async fn stop(self) -> Outcome<()> {
        self.shutdown.cancel();
        self.serving.await??;
        self.server.stop().await?;
        Ok(())
    }

    async fn channel(&self) -> Outcome<Channel> {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address))?;
        Ok(endpoint.tcp_nodelay(true).tls_config(tls)?.connect().await?)
    }

    async fn add_callers(&mut self, administrator: &str, callers: usize) -> Outcome<()> {
        let mut client = TokenServiceClient::new(self.channel().await?);
        for number in 0..callers {
            let mut request = Request::new(CreateTokenRequest {
                principal: format!("caller-{number:02}"),
                principal_kind: PrincipalKind::Workload.into(),
                ..CreateTokenRequest::default()
            });
            request.metadata_mut().insert("authorization", bearer(administrator)?);
            let secret = client.create_token(request).await?.into_inner().secret;
            self.bearers.push(bearer(&secret)?);
        }
        Ok(())
    }
}

/// How it serves: over TLS, with what would throttle callers raised.
pub(super) const SERVER: &str = r#"
[server]
listen = "127.0.0.1:0"
calls_per_second_per_principal = 1000000
call_burst_per_principal = 1000000
[server.tls]
certificate_file = "server.crt"
key_file = "server.key"
"#;

/// Mayfly's configuration: what would throttle is raised, everything else is as it is by default.
fn configuration(server: &Server, sample: &Sample, setup: Setup<'_>) -> Outcome<String> {
    let mut text = format!(
        r#"{SERVER}
[store]
{store}
[targets.bench]
engine = "{engine}"
hosts = ["127.0.0.1:{port}"]
database = "{database}"
user = "{user}"
password_file = "password"
{target}
[targets.bench.tls]
mode = "disable"
"#,
        engine = server.engine(),
        port = server.port(),
        database = sample.names.database,
        user = sample.administrator.user,
        store = setup.store,
        target = setup.target,
    );
    for kind in setup.kinds.iter().filter(|kind| kind.engine == server.engine()) {
        write!(
            text,
            r#"
[roles.{role}]
target = "bench"
member_of = ["{group}"]
{more}
connection_limit = 5
owned_objects = "drop"
leases_per_principal = 1000000
leases_total = 10000000
allow = ["kind:workload"]
{iterations}
"#,
            role = kind.role,
            more = setup.role,
            group = sample.names.read,
            iterations = match kind.engine {
                mayfly::domain::Engine::Postgres => format!("scram_iterations = {}", kind.iterations),
                _ => String::new(),
            }
        )?;
    }
    text.push_str(setup.more);
    Ok(text)
}

/// Writes an authority's and the server's certificate, and returns the authority's.
pub(super) fn certificates(directory: &Path) -> Outcome<String> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Mayfly benchmark authority");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    let key = KeyPair::generate()?;
    fs::write(directory.join("server.crt"), params.signed_by(&key, &issuer)?.pem())?;
    write_private(&directory.join("server.key"), &key.serialize_pem())?;
    fs::write(directory.join("ca.crt"), issuer.pem())?;
    Ok(issuer.pem())
}

/// Writes a new file for nobody else to read.
pub(crate) fn write_private(path: &Path, text: &str) -> Outcome<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
