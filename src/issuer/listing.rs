//! Pages of what is kept, for who may see only some of it.

use std::fmt::Display;

use super::{Issuer, Refusal};
use crate::store::{Document, Listing, documents};

/// Documents read at once.
const BATCH: u32 = 200;

/// Documents looked through for one page; what is behind them comes with the next.
const LOOKED_THROUGH: usize = 5_000;

/// What is to be shown.
pub(super) struct Wish<'a, I> {
    /// What the store finds it by; `None`: all are looked at.
    pub(super) by: Option<(&'a str, &'a str)>,
    /// At most this many.
    pub(super) size: u32,
    /// With an identifier below this one.
    pub(super) before: Option<I>,
}

impl Issuer {
    /// What `show` makes of documents, in descending order of their identifiers; and where to continue, unless that was all.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub(super) async fn page_of<D: Document, I: Display, T>(
        &self,
        wish: Wish<'_, I>,
        id: impl Fn(&D) -> I,
        show: impl Fn(D) -> Option<T>,
    ) -> Result<(Vec<T>, Option<I>), Refusal> {
        let size = usize::try_from(wish.size).unwrap_or(usize::MAX);
        let (mut found, mut looked, mut before) = (Vec::new(), 0, wish.before);
        loop {
            let below = before.as_ref().map(ToString::to_string);
            let listing = Listing { by: wish.by, before: below.as_deref(), limit: BATCH };
            let batch = documents::<D>(&*self.store, listing).await?;
            let last = batch.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
            for kept in batch {
                if found.len() == size || looked == LOOKED_THROUGH {
                    return Ok((found, before));
                }
                looked += 1;
                before = Some(id(&kept.document));
                found.extend(show(kept.document));
            }
            if last {
                return Ok((found, None));
            }
        }
    }
}
