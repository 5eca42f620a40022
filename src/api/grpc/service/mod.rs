//! One file a service: parse, ask the issuer, render.

pub(super) mod audit;
mod audit_filter;
pub(super) mod grant;
pub(super) mod lease;
pub(super) mod lock;
pub(super) mod request;
pub(super) mod role;
pub(super) mod server;
pub(super) mod target;
pub(super) mod token;
mod watch;
