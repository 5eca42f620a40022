//! What `mayfly dev` and `mayfly demo` share: a trial installation and calling its server.

use std::{net::SocketAddr, path::Path, time::Duration};

use super::{CliError, Connection, ConnectionArgs, Exit, Output, identity_token::IdentityArgs};
use crate::{
    api::proto,
    random::SystemRandom,
    sandbox::{Installation, InstallationError, InstallationSpec, InstalledTarget},
};

/// Sets a trial up; progress is shown on a terminal only.
///
/// # Errors
/// When a server does not start, or a file cannot be written.
pub(super) async fn install(spec: InstallationSpec, output: &Output) -> Result<Installation, CliError> {
    let names: Vec<String> = spec
        .servers
        .iter()
        .map(|binaries| format!("{} {}", binaries.engine().title(), binaries.version()))
        .collect();
    let _spinner = output.spinner(&format!("starting {}", names.join(" and ")));
    Installation::create(spec, &SystemRandom).await.map_err(|error| failed(&error))
}

/// What went wrong with an installation.
pub(super) fn failed(error: &InstallationError) -> CliError {
    CliError::local("the throwaway databases", error)
}

/// A line to the server of a trial, as whoever holds the token in a file.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn connect(listen: SocketAddr, token_file: &Path) -> Result<Connection, CliError> {
    Connection::open(&arguments(listen, Some(token_file)))
}

/// A line to the server of a trial, as somebody who has yet to sign in.
///
/// # Errors
/// When the address makes no sense, which it does.
pub(super) fn stranger(listen: SocketAddr) -> Result<Connection, CliError> {
    Connection::open_to_sign_in(&arguments(listen, None))
}

fn arguments(listen: SocketAddr, token_file: Option<&Path>) -> ConnectionArgs {
    ConnectionArgs {
        address: address(listen),
        token_file: token_file.map(Path::to_owned),
        ca_file: None,
        client_certificate: None,
        client_key: None,
        timeout: Duration::from_secs(30),
        allow_clear_text: false,
        identity: IdentityArgs::default(),
    }
}

/// Where a server that listens there is called.
pub(super) fn address(listen: SocketAddr) -> String {
    format!("http://{listen}")
}

/// Makes a token for an application of the group `developers`, whom the configuration allows every role.
///
/// # Errors
/// What the server refuses.
pub(super) async fn application_token(administrator: &Connection) -> Result<String, CliError> {
    let message = proto::CreateTokenRequest {
        principal: "app".to_owned(),
        principal_kind: proto::PrincipalKind::Workload.into(),
        groups: vec!["developers".to_owned()],
        cidrs: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
        description: "an application to try things with".to_owned(),
        ttl: None,
    };
    let reply = administrator.tokens().create_token(administrator.call(message)).await;
    let secret = reply.map_err(|status| administrator.explain(&status))?.into_inner().secret;
    if secret.is_empty() {
        return Err(CliError::new(Exit::Internal, "the server's reply is incomplete"));
    }
    Ok(secret)
}

/// `PostgreSQL 15.18`.
pub(super) fn title(installed: &InstalledTarget) -> String {
    format!("{} {}", installed.server.engine().title(), installed.server.version())
}
