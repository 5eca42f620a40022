//! Who is calling.
//!
//! Turns what a caller presents into a [`Caller`], or says why not. It knows tokens and the store that keeps their
//! digests; it decides nothing about what the caller may do.

mod authenticate;
mod token;

pub use authenticate::{AuthenticationError, Authenticator, Caller, Credential, Rejected};
pub use token::{ApiToken, TOKEN_PREFIX, TokenFormatError};
