//! Behaviour, against real servers.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy's exception for tests does not reach the helpers of an integration test"
)]

mod lifecycle;
mod mysql;
mod outages;
mod postgres;
mod recovery;
mod sandbox;
mod store;
mod support;
