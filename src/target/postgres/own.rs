//! The administration account's own password.

use std::sync::Arc;

use super::{
    connect::{Connection, Connector},
    quote, verifier,
};
use crate::{
    domain::Password,
    random::Random,
    target::{TargetError, TargetErrorKind, Verifier},
};

/// Iterations of the account's verifier: the server's own default, which every driver takes.
const ITERATIONS: u32 = 4096;

const DOING: &str = "changing the administration account's own password";

/// The verifier of a password, computed off the async threads.
pub(super) async fn verifier(password: &Password, random: Arc<dyn Random>) -> Result<Verifier, TargetError> {
    let password = password.clone();
    let work = move || Verifier::new(verifier::scram_sha_256(password.expose(), ITERATIONS, &*random));
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        TargetError::new(TargetErrorKind::Unavailable, "a verifier could not be computed").caused_by(error)
    })
}

/// Every role may change its own password; it takes no privilege.
pub(super) async fn change_password(
    connection: &mut Connection,
    verifier: &Verifier,
) -> Result<(), TargetError> {
    let text = verifier.as_str();
    let statement = format!("ALTER ROLE CURRENT_USER PASSWORD {}", quote::literal(text)?);
    let outcome = connection.run(&statement).await;
    outcome.map(drop).map_err(|failure| failure.without(&[text]).while_doing(DOING).after_sending())
}

/// Logs in with a password, on a connection of its own.
pub(super) async fn prove_password(connector: &Connector, password: &Password) -> Result<(), TargetError> {
    Box::pin(connector.connect_with(Some(password), connector.database())).await?;
    connector.keychain.learn(password);
    Ok(())
}
