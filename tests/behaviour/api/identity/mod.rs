//! Callers for whom others vouch: assertions of identity providers, client certificates.

mod assertions;
mod certificates;
mod key_server;
mod keys;
mod rig;
