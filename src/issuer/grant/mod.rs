//! Grants: looked at, claimed, extended, taken back; and what the clock does to them.

mod admit;
mod eligible;
mod extend;
mod look;
mod over;
mod revoke;
mod tend;

pub use admit::ClaimRequest;
pub(super) use admit::{Admitted, Wanted};
pub use extend::NewExtension;
pub(super) use extend::same_extension;
pub use look::GrantFilter;

use super::Issuer;
use crate::{
    domain::{Grant, GrantId},
    store::{Kept, StoreError, document},
};

impl Issuer {
    /// A grant, if there is one.
    pub(super) async fn kept_grant(&self, id: GrantId) -> Result<Option<Kept<Grant>>, StoreError> {
        document(&*self.store, &id.to_string()).await
    }
}
