//! Whether this process may serve: watched only where others share the store, since only there can others take over.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::store::{Store, StoreError, StoreErrorKind};

/// How often the store is asked.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// Within which it has to say something. A write whose outcome it cannot tell may keep it from answering for longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);

/// Asks the store over and over whether it would take a write, and tells `ready` what it said. Returns once another process
/// serves under this one's name: there is no way back from that.
pub(super) async fn until_fenced(store: Arc<dyn Store>, ready: watch::Sender<bool>) -> StoreError {
    loop {
        let asked = tokio::time::timeout(ANSWERED_WITHIN, store.check_writable()).await;
        let asked = asked.unwrap_or_else(|_| {
            Err(StoreError::new(StoreErrorKind::Unavailable, "the store does not answer"))
        });
        let is_ready = asked.is_ok();
        if ready.send_if_modified(|was| std::mem::replace(was, is_ready) != is_ready) && is_ready {
            tracing::info!("the store takes writes again: serving");
        }
        match asked {
            Err(error) if error.kind == StoreErrorKind::Fenced => return error,
            Err(error) if error.kind == StoreErrorKind::Closed => std::future::pending().await,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store takes no writes from here: not serving until it does"
            ),
            Ok(()) => {}
        }
        tokio::time::sleep(ASKED_EVERY).await;
    }
}
