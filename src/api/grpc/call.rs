//! What a service knows of a call beside its message.

use std::{net::IpAddr, sync::Arc};

use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use zeroize::Zeroizing;

use super::{connection::Peer, deadline::Deadline, status, streams::Streams};
use crate::{
    identity::{Authenticator, Caller, Presented, certificate::ClientCertificate},
    issuer::{Issuer, Refusal},
};

/// An accepted caller, and what it presented, so that a call that lasts can be looked at again.
pub(super) struct Session {
    caller: Caller,
    bearer: Option<Zeroizing<String>>,
    certificate: Option<Arc<ClientCertificate>>,
}

impl Session {
    pub(super) fn new(
        caller: Caller,
        bearer: Option<&str>,
        certificate: Option<Arc<ClientCertificate>>,
    ) -> Self {
        let bearer = bearer.map(|bearer| Zeroizing::new(bearer.to_owned()));
        Self { caller, bearer, certificate }
    }

    /// The caller.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// What all services share.
pub(super) struct Shared {
    /// The use cases.
    pub(super) issuer: Arc<Issuer>,
    /// For looking again at callers of long calls.
    pub(super) authenticator: Arc<Authenticator>,
    /// Open streams.
    pub(super) streams: Arc<Streams>,
    /// Cancelled when the server goes down.
    pub(super) shutdown: CancellationToken,
    /// Bytes the items of one reply may have together.
    pub(super) reply_budget: usize,
}

impl Shared {
    /// Whether what a session began with is still good.
    ///
    /// # Errors
    /// What the caller is told when it is not; audited.
    pub(super) async fn look_again(&self, session: &Session) -> Result<(), Status> {
        let address = session.caller.address;
        let bearer = session.bearer.as_ref().map(|bearer| bearer.as_str());
        let presented = Presented { bearer, certificate: session.certificate.as_deref() };
        match self.authenticator.look_again(presented, address).await {
            Ok(_) => Ok(()),
            Err(error) => Err(status::unauthenticated(&error)),
        }
    }
}

/// A call: who, until when, and its message.
pub(super) struct Call<T> {
    /// Who.
    pub(super) session: Arc<Session>,
    /// Until when.
    pub(super) deadline: Deadline,
    /// What.
    pub(super) message: T,
}

impl<T> Call<T> {
    /// The call a request is.
    ///
    /// # Errors
    /// When it did not come through the gate, which is a fault of ours: nobody is then who they say.
    pub(super) fn of(mut request: Request<T>) -> Result<Self, Status> {
        let extensions = request.extensions_mut();
        let session = extensions.remove::<Arc<Session>>();
        let deadline = extensions.remove::<Deadline>();
        let (Some(session), Some(deadline)) = (session, deadline) else {
            return Err(status::internal(&NotThroughTheGate));
        };
        Ok(Self { session, deadline, message: request.into_inner() })
    }

    /// Who.
    pub(super) fn caller(&self) -> &Caller {
        &self.session.caller
    }

    /// What the caller is told of a refusal.
    pub(super) fn refused(&self, refusal: &Refusal) -> Status {
        status::refused(self.caller(), refusal)
    }
}

/// A call that needs no token: where it comes from, and its message.
pub(super) struct OpenCall<T> {
    /// Where from.
    pub(super) address: Option<IpAddr>,
    /// What.
    pub(super) message: T,
}

impl<T> OpenCall<T> {
    /// The call a request is.
    pub(super) fn of(request: Request<T>) -> Self {
        let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip().to_canonical());
        Self { address, message: request.into_inner() }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a call reached its service without passing the gate")]
struct NotThroughTheGate;
