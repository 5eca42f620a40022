//! One file a service: parse, ask the issuer, render.

pub(super) mod access_review;
pub(super) mod audit;
mod audit_filter;
pub(super) mod break_glass;
pub(super) mod grant;
pub(super) mod invitation;
pub(super) mod lease;
pub(super) mod lock;
pub(super) mod notice;
pub(super) mod request;
pub(super) mod role;
pub(super) mod server;
pub(super) mod session;
mod sign_in;
pub(super) mod target;
pub(super) mod token;
pub(super) mod user;
mod watch;
mod watch_entries;
