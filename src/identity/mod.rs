//! Who is calling.
//!
//! Turns what a caller presents into a [`Caller`], or says why not. It knows tokens and the store that keeps their
//! digests, [assertions](assertion) of identity providers, client [certificates](certificate), the [`people`] who sign in, and the
//! providers they [sign in](sign_in) at; it decides nothing about what the caller may do.

pub mod assertion;
mod authenticate;
pub mod certificate;
mod identities;
pub mod people;
pub mod sign_in;
mod token;
mod vouched;

pub use authenticate::{AuthenticationError, Authenticator, Caller, Credential, Presented, Rejected};
pub use identities::{Identities, IdentitiesHandle, IdentityError, IdentitySettings};
pub use token::{ApiToken, TOKEN_PREFIX, TokenFormatError};
