//! Secrets that must outlive the process: sealed with a key that the store never sees.
//!
//! AES-256-GCM with a key of the operator's, from a file or the environment. What is sealed is bound to its place (the
//! installation, the target, the administration account), so that it opens nowhere else. Pure but for the randomness it is
//! given; no file, no store and no target enters here.

mod key;
mod sealed;

pub use key::{KeyError, KeyId, Keyring, KeyringHandle, SealingKey};
pub use sealed::{Bound, Holder, Place, SealError, Sealed, SealedTextError};
