//! Who may do what: facts in, decision out.
//!
//! Pure: no I/O, no clock, no store. Everything the rest of Mayfly does on somebody's behalf asks [`Policies`] first. They are
//! written in Cedar: what is built in (`builtin.cedar`), and files of the operator's own, checked against a published schema.
//! What no policy permits is denied; what any policy forbids is denied; and so is what any policy could not be evaluated on.
//! Asking for a role has three answers ([`Admission`]): no, yes by rule, or yes once others have reviewed it.

mod answer;
mod approvable;
mod bounds;
mod context;
mod explain;
mod facts;
mod handle;
mod index;
mod moment;
mod parties;
mod question;
mod reach;
mod review;
mod risk;
mod set;
mod source;
#[cfg(test)]
mod tests;

pub use answer::{Admission, Decision};
pub use explain::Alternative;
pub use facts::TargetFacts;
pub use handle::PoliciesHandle;
pub use moment::Weekday;
pub use question::{Action, Asked, Who};
pub use reach::{Circumstances, Reach, Reachable};
pub use risk::{Condition, Factor};
pub use set::{Policies, Rules};
pub use source::{Mistake, SCHEMA, Source};

use crate::domain::{ADMINISTRATORS, Principal};

/// Whether a principal may administer Mayfly.
pub fn is_administrator(principal: &Principal) -> bool {
    principal.belongs_to(ADMINISTRATORS)
}
