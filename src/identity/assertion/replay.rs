//! Remembering assertions that are good once.

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Accepted;
use crate::{
    audit::{Actor, Draft},
    store::{Changes, Committed, Document, EntryKind, Store, StoreError, due_documents},
};

/// Assertions forgotten at a time, whenever one is remembered: more than come in, so that none pile up.
const FORGOTTEN_AT_ONCE: u32 = 16;

/// An assertion that was used, kept until it has expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UsedAssertion {
    provider: String,
    /// Of issuer and `jti`.
    digest: String,
    expires_at: Timestamp,
}

impl Document for UsedAssertion {
    const KIND: EntryKind = EntryKind::UsedAssertion;

    fn id(&self) -> String {
        format!("{}/{}", self.provider, self.digest)
    }

    fn due_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

/// What identifies an assertion.
pub(super) fn fingerprint(issuer: &str, id: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&u64::try_from(issuer.len()).unwrap_or_default().to_be_bytes());
    context.update(issuer.as_bytes());
    context.update(id.as_bytes());
    HEXLOWER.encode(context.finish().as_ref())
}

/// Remembers that an assertion was used; whether that was the first time. On record, as the use of a token is not: what it was
/// good for is over.
pub(in super::super) async fn remember(
    store: &dyn Store,
    accepted: &Accepted,
    actor: Actor,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(once) = &accepted.once else { return Ok(true) };
    let used = UsedAssertion {
        provider: accepted.provider.clone(),
        digest: once.fingerprint.clone(),
        expires_at: once.until,
    };
    let draft = Draft::new(now, actor, "assertion.used", format!("providers/{}", accepted.provider))
        .with("digest", used.digest.clone());
    let first = Changes::new().insert(&used)?.record(draft).commit(store).await? == Committed::Yes;
    forget_expired(store, now).await?;
    Ok(first)
}

async fn forget_expired(store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
    let expired = due_documents::<UsedAssertion>(store, now, FORGOTTEN_AT_ONCE).await?;
    if expired.is_empty() {
        return Ok(());
    }
    let changes = expired.iter().fold(Changes::new(), Changes::remove);
    // Another process may have been quicker.
    let (Committed::Yes | Committed::Conflict) = changes.commit(store).await?;
    Ok(())
}
