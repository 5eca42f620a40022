//! The administration account's own password.
//!
//! The account keeps the plugin it logs in by: another one might not be let in over the connection there is.

use std::sync::Arc;

use super::{
    connect::{Connector, Whom},
    errors,
    flavour::Flavour,
    link::Link,
    quote,
    verifier::{self, Method},
};
use crate::{
    domain::Password,
    target::{Surroundings, TargetError, TargetErrorKind, Verifier},
};

/// Changes it by its verifier. Takes `CREATE USER`, which the account has for its work: what the servers let every account
/// do, they let it do in clear text only.
pub(super) async fn change_password(
    link: &mut Link<'_>,
    password: &Password,
    surroundings: &Surroundings,
) -> Result<(), TargetError> {
    let flavour = link.server().flavour;
    let shown: Vec<Vec<u8>> = link.ask("its own account", "SHOW CREATE USER CURRENT_USER()").await?;
    let shown = shown.first().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    let method = method(flavour, &shown)?;
    let verifier = compute(method, password, surroundings).await?;
    // By its name: for `CURRENT_USER()` MariaDB 10.11 says yes and changes nothing.
    let account = &link.server().administrator;
    let statement = format!("ALTER USER {account} {}", identified(flavour, method, &verifier)?);
    let changed = link.run(&statement).await;
    changed.map_err(|failure| errors::explain(failure, link.server()).after_sending())
}

async fn compute(
    method: Method,
    password: &Password,
    surroundings: &Surroundings,
) -> Result<Verifier, TargetError> {
    let (password, random) = (password.clone(), Arc::clone(&surroundings.random));
    let computing = tokio::task::spawn_blocking(move || verifier::of(method, &password, &*random));
    computing.await.unwrap_or_else(|error| {
        Err(TargetError::new(TargetErrorKind::Unavailable, "a verifier could not be computed")
            .caused_by(error))
    })
}

fn identified(flavour: Flavour, method: Method, verifier: &Verifier) -> Result<String, TargetError> {
    let (plugin, text) = (method.plugin(), verifier.as_str());
    Ok(match flavour {
        Flavour::Mysql => format!("IDENTIFIED WITH {plugin} AS {}", quote::hex(text)),
        Flavour::Mariadb => format!("IDENTIFIED VIA {plugin} USING {}", quote::literal(text)?),
    })
}

/// How the account logs in, of what `SHOW CREATE USER` says.
fn method(flavour: Flavour, shown: &str) -> Result<Method, TargetError> {
    let refused = |words: String| Err(TargetError::new(TargetErrorKind::Refused, words));
    let Some((_, how)) = shown.split_once(" IDENTIFIED ") else {
        return refused("the administration account logs in without a password".to_owned());
    };
    if how.contains(" AND IDENTIFIED ") || (how.starts_with("VIA ") && how.contains(" OR ")) {
        return refused(
            "the administration account logs in in more than one way: its password is not touched".to_owned(),
        );
    }
    let plugin = match how.split_once(' ') {
        Some(("BY", _)) => Method::Native.plugin(),
        Some(("WITH" | "VIA", rest)) => {
            rest.split_whitespace().next().unwrap_or_default().trim_matches(['\'', '`'])
        }
        _ => "",
    };
    match (flavour, plugin) {
        (Flavour::Mysql, "caching_sha2_password") => Ok(Method::CachingSha2),
        (_, "mysql_native_password") => Ok(Method::Native),
        (Flavour::Mariadb, "ed25519") => Ok(Method::Ed25519),
        _ => refused(format!(
            "the administration account logs in by {}, for which Mayfly can make no password",
            if plugin.is_empty() { "a plugin that cannot be read" } else { plugin }
        )),
    }
}

/// Logs in with a password, on a connection of its own.
pub(super) async fn prove_password(connector: &Connector, password: &Password) -> Result<(), TargetError> {
    let connecting =
        tokio::time::timeout(connector.connect, connector.connect_with(Some(password), Whom::Known));
    let (connection, _) = connecting.await.unwrap_or_else(|_| {
        Err(TargetError::new(TargetErrorKind::Unavailable, "the server does not answer in time"))
    })?;
    connector.keychain.learn(password);
    // It is proved already, however the goodbye goes.
    let _ = tokio::time::timeout(connector.connect, connection.disconnect()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_the_account_logs_in() {
        let mysql = |how: &str| method(Flavour::Mysql, &format!("CREATE USER `mayfly`@`%` {how}"));
        let mariadb = |how: &str| method(Flavour::Mariadb, &format!("CREATE USER `mayfly`@`%` {how}"));
        let sha2 =
            "IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$x' REQUIRE NONE PASSWORD EXPIRE DEFAULT";
        assert_eq!(mysql(sha2).unwrap(), Method::CachingSha2);
        assert_eq!(mysql("IDENTIFIED WITH 'mysql_native_password' AS '*AA'").unwrap(), Method::Native);
        assert_eq!(mariadb("IDENTIFIED BY PASSWORD '*AA'").unwrap(), Method::Native);
        assert_eq!(mariadb("IDENTIFIED VIA ed25519 USING 'x' REQUIRE SSL").unwrap(), Method::Ed25519);
        for (refused, words) in [
            (mysql("IDENTIFIED WITH 'auth_socket'"), "by auth_socket"),
            (mysql(&format!("{sha2} AND IDENTIFIED WITH 'authentication_fido'")), "more than one way"),
            (mariadb("IDENTIFIED VIA ed25519 USING 'x' OR unix_socket"), "more than one way"),
            (mariadb("IDENTIFIED VIA unix_socket"), "by unix_socket"),
            (mariadb("REQUIRE SSL"), "without a password"),
        ] {
            let refused = refused.unwrap_err();
            assert!(refused.message.contains(words), "{refused}");
        }
    }
}
