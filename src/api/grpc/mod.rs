//! `mayfly.v1` over gRPC.
//!
//! ```text
//! listener ─▶ gate (caller, rate, how many, how long) ─▶ service: parse ─▶ use case of the issuer ─▶ convert ─▶ reply
//!                                                                                   └─ refusal ─▶ status
//! ```
//! A service holds no rule of its own: it turns a message into domain values or names every field that is wrong, asks the
//! issuer, and renders what comes of it. Nothing here knows a driver, SQL or the store's insides.

mod call;
mod connection;
mod convert;
mod convert_request;
mod deadline;
mod feed;
mod gate;
mod listener;
mod page;
mod parse;
mod rate;
mod serve;
mod service;
mod settings;
mod status;
mod streams;
mod tls;

pub use rate::Rate;
pub use serve::{BindError, Bound, GrpcServer, ServeError};
pub use settings::{GrpcSettings, TlsFiles};
pub use tls::{TlsError, TlsHandle};
