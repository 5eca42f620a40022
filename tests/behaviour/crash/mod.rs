//! The server is really killed, by SIGKILL: at every crash point in turn ([`sweep`]), and at random moments under load
//! ([`soak`]). Started again, it must leave a clean slate ([`slate`]).
//!
//! Whoever adds a crash point says in [`scenario`] what has to be done for it to be passed.

mod approval;
pub(crate) mod caller;
mod deed;
mod everything;
mod glass;
pub(crate) mod place;
mod scenario;
mod slate;
mod soak;
mod sweep;
mod worker;
