//! Passwords in memory: never printed, wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A database password. It exists in memory and in the reply to its requester, and nowhere else: `Debug` redacts it,
/// dropping it wipes it, and nothing serialises it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Wraps a text as a password.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The password itself. Every call site is a place where it may leak: keep them few.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", Password::new("hunter2".into())), "Password([redacted])");
    }
}
