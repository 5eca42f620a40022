//! Callers for whom others vouch: assertions of identity providers, client certificates.

mod assertions;
mod certificates;
mod keys;
mod rig;
