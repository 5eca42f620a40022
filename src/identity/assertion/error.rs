//! Why an assertion was refused.

use super::{JWT_LIMIT, mapping::MappingError};

/// Why an assertion was refused. The text says what is wrong with it, never what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Too many bytes.
    #[error("the JWT is longer than {JWT_LIMIT} bytes")]
    TooLong,
    /// It is not what a JWT is.
    #[error("the JWT cannot be read: {0}")]
    Malformed(&'static str),
    /// Its algorithm is not pinned, which `none` and those with a shared secret never are.
    #[error("the JWT's algorithm is not among those accepted of its issuer")]
    Algorithm,
    /// Its key is for another algorithm.
    #[error("the JWT's algorithm does not fit the key it names")]
    KeyConfusion,
    /// Nobody here is configured as its issuer.
    #[error("the JWT's issuer is none of the identity providers configured here")]
    Issuer,
    /// It is for somebody else.
    #[error("the JWT is not meant for this server: its audience is another")]
    Audience,
    /// Its key is not, or no longer, among its issuer's.
    #[error("the JWT is signed with a key that is not among those its issuer publishes")]
    UnknownKey,
    /// It does not say which of its issuer's keys signed it.
    #[error("the JWT does not say with which of its issuer's keys it is signed")]
    AmbiguousKey,
    /// The signature is not the key's.
    #[error("the JWT's signature is not its issuer's")]
    Signature,
    /// Its issuer's keys cannot be had now.
    #[error("the keys of the identity provider {0} cannot be had right now")]
    KeysUnavailable(String),
    /// A claim that must be there is not, or is no number or text.
    #[error("the JWT has no usable claim \"{0}\"")]
    Missing(&'static str),
    /// It was good once.
    #[error("the JWT has expired")]
    Expired,
    /// It will be good.
    #[error("the JWT is not valid yet: check the clocks of this server and of its issuer")]
    NotYet,
    /// It was issued too long ago, whatever it says of its expiry.
    #[error("the JWT was issued longer ago than this server accepts")]
    TooOld,
    /// What it claims does not say who it is here.
    #[error("the JWT does not make a caller known here: {0}")]
    Mapping(#[from] MappingError),
    /// Several providers would each make somebody else of it.
    #[error("several identity providers accept the JWT ({0}): their bound_claims must tell them apart")]
    Ambiguous(String),
    /// It was used.
    #[error("the JWT was used already; it is good for one use: get a new one")]
    Replayed,
}
