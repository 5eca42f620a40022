//! The gRPC face, called by real clients over real connections.

mod callers;
mod fields;
mod held;
mod identity;
mod leases;
mod limits;
mod overload;
mod requests;
mod rig;
mod serving;
mod signing_in;
mod signing_in_elsewhere;
mod tls;
mod watching;
