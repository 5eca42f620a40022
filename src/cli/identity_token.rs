//! The JWT by which a workload says who it is: from a file or a variable, or from the CI system it runs in.

use std::{
    fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use reqwest::{Client, Url, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{CliError, Exit};

/// The variable that holds a JWT; GitLab puts one there when the job asks for it under this name.
pub(super) const IDENTITY_VARIABLE: &str = "MAYFLY_IDENTITY_TOKEN";

/// Where GitHub Actions hands out JWTs to a job with `id-token: write`, and what it wants to see for one.
const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// Far longer than any JWT that a server accepts.
const LONGEST: u64 = 64 * 1024;

/// How long the CI system may take to hand one out.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which JWT says who calls.
#[derive(Debug, Clone, Default, Args)]
pub struct IdentityArgs {
    /// File that holds a JWT of an identity provider, read anew when one is needed [else: the
    /// variable `MAYFLY_IDENTITY_TOKEN`, or, where there is no token at all, GitHub Actions]
    #[arg(long, global = true, env = "MAYFLY_IDENTITY_TOKEN_FILE", value_name = "FILE")]
    pub identity_token_file: Option<PathBuf>,
    /// What a JWT that GitHub Actions hands out is meant for
    #[arg(
        long,
        global = true,
        env = "MAYFLY_IDENTITY_AUDIENCE",
        value_name = "AUDIENCE",
        default_value = "mayfly"
    )]
    pub identity_audience: String,
}

/// Where JWTs come from.
#[derive(Clone)]
pub(super) enum IdentitySource {
    /// A file that something else keeps fresh.
    File(PathBuf),
    /// A variable, as it was when the command began.
    Variable(Zeroizing<String>),
    /// GitHub Actions: a new one each time.
    GitHub { url: Url, token: Zeroizing<String> },
}

impl fmt::Debug for IdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentitySource::File(path) => f.debug_tuple("File").field(path).finish(),
            IdentitySource::Variable(_) => f.write_str("Variable([redacted])"),
            IdentitySource::GitHub { .. } => f.write_str("GitHub([redacted])"),
        }
    }
}

#[derive(Deserialize)]
struct HandedOut {
    value: String,
}

impl IdentitySource {
    /// The one that was named: a file, or else the variable.
    pub(super) fn named(args: &IdentityArgs, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if let Some(file) = &args.identity_token_file {
            return Some(IdentitySource::File(file.clone()));
        }
        let text = variable(IDENTITY_VARIABLE).filter(|text| !text.is_empty())?;
        Some(IdentitySource::Variable(Zeroizing::new(text)))
    }

    /// What is there without being named: GitHub Actions, in a job that may have JWTs.
    ///
    /// # Errors
    /// When what GitHub Actions says of it makes no sense.
    pub(super) fn ambient(
        args: &IdentityArgs,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, CliError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let (Some(url), Some(token)) = (set(GITHUB_URL), set(GITHUB_TOKEN)) else { return Ok(None) };
        let senseless = || CliError::usage(format!("{GITHUB_URL} is no https:// address"));
        let mut url: Url = url.parse().map_err(|_| senseless())?;
        if !crate::identity::assertion::is_trustworthy(url.as_str()) {
            return Err(senseless());
        }
        url.query_pairs_mut().append_pair("audience", &args.identity_audience);
        Ok(Some(IdentitySource::GitHub { url, token: Zeroizing::new(token) }))
    }

    /// A JWT of now.
    ///
    /// # Errors
    /// When there is none, or what is there is none.
    pub(super) async fn token(&self) -> Result<Zeroizing<String>, CliError> {
        let (text, origin) = match self {
            IdentitySource::File(path) => (read(path)?, path.display().to_string()),
            IdentitySource::Variable(text) => (text.clone(), IDENTITY_VARIABLE.to_owned()),
            IdentitySource::GitHub { url, token } => {
                (hand_out(url, token).await?, "the answer of GitHub Actions".to_owned())
            }
        };
        let jwt = Zeroizing::new(text.trim().to_owned());
        if crate::identity::assertion::is_jwt(&jwt) && jwt.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(jwt);
        }
        Err(CliError::new(Exit::Unauthenticated, format!("{origin} does not hold a JWT")))
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    let read = fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map_err(|error| {
        CliError::local(format!("cannot read the identity token {}", path.display()), &error)
    })?;
    Ok(text)
}

async fn hand_out(url: &Url, token: &Zeroizing<String>) -> Result<Zeroizing<String>, CliError> {
    let failed = |error: &reqwest::Error| {
        // Its text would have the address, which is nobody else's.
        let what = if error.is_timeout() { "does not answer in time" } else { "cannot be asked" };
        CliError::new(Exit::Unavailable, format!("GitHub Actions {what} for an identity token"))
    };
    let client = client().map_err(|error| CliError::local("cannot set up TLS", &*error))?;
    let mut response =
        client.get(url.clone()).bearer_auth(token.as_str()).send().await.map_err(|error| failed(&error))?;
    if !response.status().is_success() {
        let message = format!(
            "GitHub Actions refuses an identity token (status {}): the job needs `permissions: {{ id-token: write }}`",
            response.status().as_u16()
        );
        return Err(CliError::new(Exit::Unauthenticated, message));
    }
    let mut text = Zeroizing::new(Vec::new());
    while let Some(bytes) = response.chunk().await.map_err(|error| failed(&error))? {
        text.extend_from_slice(&bytes);
        if u64::try_from(text.len()).is_ok_and(|length| length > LONGEST) {
            return Err(CliError::new(Exit::Unavailable, "GitHub Actions answers with too much"));
        }
    }
    let answer: Result<HandedOut, _> = serde_json::from_slice(&text);
    let answer =
        answer.map_err(|_| CliError::new(Exit::Unavailable, "GitHub Actions answers with no token"))?;
    Ok(Zeroizing::new(answer.value))
}

fn client() -> Result<Client, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = Client::builder().tls_backend_preconfigured(tls).redirect(Policy::none()).no_proxy();
    Ok(builder.timeout(TIMEOUT).build()?)
}
