//! Signing people in at an OpenID provider: in the browser by a redirection to this machine (RFC 8252) with PKCE (RFC 7636), or
//! with a code typed on another device (RFC 8628).
//!
//! Mayfly's server is the provider's client; the command line holds one secret that whoever begins a sign-in is given, and
//! everything else that has to stay secret in between is [derived](SignInSecret) from it, so that what is stored is of no use to
//! whoever reads it. What the provider says of who signed in is an ID token, verified as an [assertion](super::assertion) is and
//! then as what it is. No use case lives here; those are the issuer's.

mod client;
mod device;
mod endpoints;
mod error;
mod form;
mod id_token;
mod pending;
mod secret;
mod settings;

pub use client::{SignInProvider, Tokens};
pub use device::{DeviceOffer, Polled};
pub use error::{IdTokenError, SignInError};
pub use id_token::{Asked, SignedIn};
pub use pending::{PendingSignIn, Way};
pub use secret::{SIGN_IN_PREFIX, SignInSecret};
pub use settings::{ClientSecret, SignInSettings};
