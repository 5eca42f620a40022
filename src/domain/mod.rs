//! The nouns and their rules: pure values and state machines.
//!
//! Nothing here does I/O, reads a clock, draws randomness or knows another room of this crate. What a lease may become
//! is decided here and nowhere else; the store, the issuer and the reaper all call the same functions.

mod account;
mod approval;
mod checkout;
mod elevation;
mod engine;
mod existing;
mod found;
mod grant;
mod id;
mod lease;
mod lease_state;
mod lock;
mod mark;
mod name;
mod principal;
mod request;
mod role;
mod secret;
mod template;
mod ttl;

pub use account::{Account, AccountName, HostPattern, HostPatternError};
pub use approval::{Requirement, ReviewStep, Risk, RiskFactor};
pub use checkout::{Asker, Checkout, Noted, PLACE_KEPT, Place, Waiter};
pub use elevation::{Elevation, Held};
pub use engine::Engine;
pub use existing::{ExistingAccount, ExistingAccountError};
pub use found::{Drift, EXPIRY_TOLERANCE, Expected, FoundAccount, drift};
pub use grant::{Grant, GrantEvent, GrantState};
pub use id::{
    GrantId, IdError, InstanceId, InvitationId, LeaseId, NoticeId, RequestId, SessionId, SignInId, TokenId,
};
pub use lease::{EndPlan, Lease, LeaseKind, LeaseTerms};
pub use lease_state::{
    EndCause, EndReport, FURTHEST_ATTEMPT, IllegalTransition, LeaseEvent, LeaseState, ObjectCounts, Outcome,
    StateName,
};
pub use lock::{Lock, LockSubject, LockSubjectError};
pub use mark::{Mark, MarkError};
pub use name::{ChannelName, GroupName, IdentityName, NameError, PrincipalName, RoleName, TargetName};
pub use principal::{
    ADMINISTRATORS, INVITED_ROLES, Principal, PrincipalKind, PrincipalRef, UnknownPrincipalKind,
};
pub use request::{
    Request, RequestEvent, RequestKind, RequestState, RequestTerms, Review, ReviewError, SignOff, Verdict,
};
pub use role::{Access, LeaseLimits, OwnedObjects, Role, Statements, Subject, SubjectError};
pub use secret::Password;
pub use template::{Placeholder, Segment, Template, TemplateError};
pub use ttl::{Ttl, TtlBounds, TtlError};
