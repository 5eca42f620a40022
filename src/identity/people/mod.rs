//! People: local accounts with a password and a second factor, sessions of those who signed in, and invitations.
//!
//! What is kept of them, and the pure rules about it: what a good password is, how long somebody is locked out, which code
//! is the right one now. No use case lives here; those are the issuer's.

mod code;
mod invitation;
mod password;
mod recognise;
mod session;
mod totp;
mod user;

pub use code::{CodeError, OneTimeCode, RecoveryCode};
pub use invitation::{Invitation, InvitationCode};
pub use password::{Hasher, PasswordError, PasswordHash, check_new_password};
pub(super) use recognise::is_session;
pub use session::{Origin, SESSION_PREFIX, Session, SessionSettings, SessionToken};
pub use totp::{SecondFactorError, TOTP_STEP, TotpSecret};
pub use user::{Enrolment, LockedOut, SecondFactor, SecondFactorOffer, User};
