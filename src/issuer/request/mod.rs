//! Requests: asked, looked at, reviewed, withdrawn; and what the clock does to them.
//!
//! What is decided is read first and written in one transaction with its audit records, provided that nothing it was decided on
//! changed meanwhile; else it is read and decided again.

mod cancel;
mod create;
mod decide;
mod look;
mod preview;
mod review;
mod settings;
mod tend;
mod terms;

pub(super) use create::Draught;
pub use create::{NewRequest, Requested};
pub(super) use decide::{grant_draft, request_draft};
pub use look::{RequestFilter, SeenRequest};
pub use review::NewReview;
pub(super) use settings::from;
pub use settings::{BreakGlassSettings, RequestSettings, RequestSettingsHandle};
pub(super) use terms::{check_text, check_ticket, check_words};

use std::{sync::Arc, time::Duration};

use super::{Issuer, Refusal, RefusalKind};
use crate::{
    domain::{Request, RequestId},
    store::{Changes, Committed, Kept, StoreError, document},
};

/// How often a change is decided anew because others changed the same.
pub(super) const TRIES: u32 = 16;

/// Others changed the same, again and again.
pub(super) fn contended() -> Refusal {
    let message = "others change the same at the same time; try again";
    Refusal::new(RefusalKind::Contended, message).retry_after(Duration::from_millis(200))
}

impl Issuer {
    /// How long requests and grants wait, and how many may: to be replaced on a reload.
    pub fn request_settings(&self) -> Arc<RequestSettingsHandle> {
        Arc::clone(&self.request_settings)
    }

    /// Carries changes out with their audit records. Every change of a request or a grant goes through here, or through the
    /// beginning of a lease.
    pub(super) async fn commit(&self, changes: Changes) -> Result<Committed, StoreError> {
        changes.commit(&*self.store).await
    }

    /// A request, if there is one.
    pub(super) async fn kept_request(&self, id: RequestId) -> Result<Option<Kept<Request>>, StoreError> {
        document(&*self.store, &id.to_string()).await
    }
}
