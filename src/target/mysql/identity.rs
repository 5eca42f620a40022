//! What a server is known by.
//!
//! With the switch it is what was drawn when that was installed: it is replicated with the data, so a replica that takes
//! over is known as well. On MySQL the draw is the UUID of the server it was installed on, so that a server known by its
//! UUID, before there was a switch, stays known. Without one, MySQL is known by its UUID, which a replica does not share.
//! MariaDB has nothing of the kind (`@@server_uid` is of the machine's network and changes with it): there it is unknown.

use mysql_async::{Conn, Error, prelude::Queryable};

use super::{errors, flavour::Flavour};
use crate::{
    domain::TargetName,
    target::{Recognition, ServerIdentity, TargetError},
};

/// What was drawn when the switch was installed, as far as the administration account may see it.
pub(super) async fn drawn(connection: &mut Conn) -> Result<Option<ServerIdentity>, TargetError> {
    let answer: Result<Option<String>, Error> =
        connection.query_first("SELECT identity FROM mayfly.server WHERE id = 1").await;
    match answer {
        Ok(identity) => Ok(identity.filter(|text| !text.is_empty()).map(ServerIdentity)),
        Err(Error::Server(answer)) if errors::is_not_there(answer.code) => Ok(None),
        Err(error) => Err(errors::asking("the server's identity", error)),
    }
}

/// What the server is known by; `None`: nothing tells it from others.
async fn read(connection: &mut Conn, flavour: Flavour) -> Result<Option<ServerIdentity>, TargetError> {
    if let Some(identity) = drawn(connection).await? {
        return Ok(Some(identity));
    }
    match flavour {
        Flavour::Mariadb => Ok(None),
        Flavour::Mysql => {
            let uuid: Option<String> = connection
                .query_first("SELECT @@server_uuid")
                .await
                .map_err(|error| errors::asking("the server's UUID", error))?;
            Ok(uuid.filter(|text| !text.is_empty()).map(ServerIdentity))
        }
    }
}

/// Asks whether the server behind a connection is the one that is meant.
///
/// # Errors
/// When it is another, or that cannot be found out.
pub(super) async fn recognise(
    connection: &mut Conn,
    flavour: Flavour,
    target: &TargetName,
    recognition: &dyn Recognition,
) -> Result<(), TargetError> {
    match read(connection, flavour).await? {
        Some(identity) => recognition.recognise(target, &identity).await,
        None => recognition.recognise_nameless(target).await,
    }
}
