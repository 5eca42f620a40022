//! Access reviews: who holds or could obtain what, with the evidence, to be certified or taken back.
//!
//! Who there is, and what was held and used, is gathered from the store; what could be obtained, the policies are asked. Decisions
//! are checked all together before the first of them is carried out.

mod census;
mod certification;
mod decide;
mod item;
mod list;
mod sources;
mod take;

pub use certification::Certification;
pub use decide::{AccessDecision, Decided, Ruling};
pub use item::AccessItem;
pub use list::{AccessCursor, AccessFilter, AccessPage};

pub(super) use census::Censuses;
