//! Mayfly issues database credentials that live for minutes.
//!
//! The rooms, in the order data flows through them:
//!
//! - [`domain`] — the nouns and their rules; pure.
//! - [`clock`] and [`random`] — time and chance as parameters.
//! - [`crash`] — places at which a test kills the process.
//! - [`sealing`] — passwords sealed with a key that no store sees.
//! - [`metrics`] — what happens how often, and how long it takes.
//! - [`policy`] — who may do what; facts in, decision out; pure.
//! - [`identity`] — who is calling.
//! - [`audit`] — what happened, as a hash chain anybody can verify.
//! - [`store`] — leases, tokens and audit records, durable.
//! - [`target`] — the databases on which accounts are created and removed.
//! - [`notify`] — tells people and programs what happens.
//! - [`issuer`] — the use cases: issue, renew, release, revoke.
//! - [`reaper`] — ends what is due, until it is gone.
//! - [`clerk`] — moves requests and grants when their time has come.
//! - [`retention`] — what was kept long enough leaves the store.
//! - [`api`] — the gRPC face of the issuer.
//! - [`config`] — the one TOML file.
//! - [`telemetry`] — logs, and numbers over HTTP.
//! - [`app`] — puts the rooms together and runs them.
//! - [`cli`] — the commands.
//! - [`sandbox`] — throwaway database servers for `mayfly dev`, tests and benchmarks.
//!
//! Dependencies point from the later rooms to the earlier ones; `docs/architecture.md` has the tour.

pub mod api;
pub mod app;
pub mod audit;
pub mod clerk;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod domain;
pub mod identity;
pub mod issuer;
pub mod metrics;
pub mod notify;
pub mod policy;
pub mod random;
pub mod reaper;
pub mod retention;
pub mod sandbox;
pub mod sealing;
pub mod store;
pub mod target;
pub mod telemetry;
