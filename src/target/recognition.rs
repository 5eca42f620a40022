//! Whether the server that answers is the one that is meant.

use std::fmt;

use async_trait::async_trait;

use super::TargetError;
use crate::domain::TargetName;

/// What a server calls itself and no other does, and what its replicas keep when one takes over: PostgreSQL's system
/// identifier; on MySQL and MariaDB what was drawn when the dead-man's switch was installed, else MySQL's UUID. What is drawn
/// on MySQL is that UUID, so the text of one server stays the same when the switch is installed: texts are compared for
/// equality, and nothing is read out of them. A MariaDB without the switch has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerIdentity(pub String);

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says whether a server may be used as a target.
#[async_trait]
pub trait Recognition: Send + Sync {
    /// Whether the server of this identity is the one known to answer for the target. The first that ever answers is.
    ///
    /// # Errors
    /// Kind `Replaced`: another one is known. Kind `Unavailable`: it cannot be found out now. Either way nothing may be done on it.
    async fn recognise(&self, target: &TargetName, identity: &ServerIdentity) -> Result<(), TargetError>;

    /// Whether a server that nothing tells from others may be used: a MariaDB without the dead-man's switch. It is never
    /// learned. Where one with an identity is known, this is another.
    ///
    /// # Errors
    /// As for [`Recognition::recognise`].
    async fn recognise_nameless(&self, target: &TargetName) -> Result<(), TargetError> {
        let _ = target;
        Ok(())
    }
}

/// Takes every server for the right one: for looking at a server, not for use.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyServer;

#[async_trait]
impl Recognition for AnyServer {
    async fn recognise(&self, _: &TargetName, _: &ServerIdentity) -> Result<(), TargetError> {
        Ok(())
    }
}
