//! Behaviour, against real servers.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exception for tests does not reach the helpers of an integration test"
)]

mod access;
mod api;
mod crash;
mod demo;
mod deploy;
mod ha;
mod kinds;
mod lifecycle;
mod locks;
mod metrics;
mod mysql;
mod notify;
mod outages;
mod people;
mod postgres;
mod program;
mod reconcile;
mod recovery;
mod requests;
mod rotation;
mod sandbox;
mod sign_in;
mod store;
mod support;
