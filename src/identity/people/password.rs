//! What people type: stretched with argon2id, off the async threads, so many at once.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64_NOPAD;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::{domain::Password, random::Random};

/// Memory one hash takes, in KiB, how often it is passed over, and in how many lanes: the first choice of OWASP's password storage
/// cheat sheet for argon2id. More memory costs an attacker more, and us as much with each sign-in; this is some 20 ms.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// Bytes of salt: unique for each hash, as RFC 9106 recommends.
const SALT_LENGTH: usize = 16;

/// Bytes of the hash itself.
const HASH_LENGTH: usize = 32;

/// The costliest hash that is verified: one that somebody wrote into the store must not exhaust the memory.
const COSTLIEST: (u32, u32, u32) = (256 * 1024, 16, 4);

/// Hashes at once: each takes its memory and a processor. More wait, and their callers' deadlines bound how many.
const AT_ONCE: usize = 4;

/// Characters a password has at least: with a lock-out against guessing, and argon2id against a stolen store.
const SHORTEST: usize = 12;

/// Bytes a password has at most.
const LONGEST: usize = 512;

/// Of nobody: verifying against it takes as long as against anybody's, and never succeeds, for no password is known to have it.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password, or a hash of one, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is too short.
    #[error("a password has at least {SHORTEST} characters")]
    TooShort,
    /// It is too long.
    #[error("a password has at most {LONGEST} bytes")]
    TooLong,
    /// It is the user's name, or one character over and over.
    #[error("this password is the first that would be guessed; choose another")]
    Guessable,
    /// What is kept is no hash of a form known here, or one far too costly.
    #[error("what is kept of the password cannot be understood")]
    Corrupt,
    /// There is no memory for it, or the process is shutting down.
    #[error("the password cannot be stretched right now")]
    Exhausted,
}

/// Checks a password that somebody chose.
///
/// # Errors
/// [`PasswordError`]: too short, too long, the name itself.
pub fn check_new_password(password: &Password, name: &str) -> Result<(), PasswordError> {
    let text = password.expose();
    if text.len() > LONGEST {
        return Err(PasswordError::TooLong);
    }
    if text.chars().count() < SHORTEST {
        return Err(PasswordError::TooShort);
    }
    let first = text.chars().next();
    if text.eq_ignore_ascii_case(name) || text.chars().all(|c| Some(c) == first) {
        return Err(PasswordError::Guessable);
    }
    Ok(())
}

/// A hash in the PHC string format (`$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`). `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

/// A hash taken apart.
struct Parts {
    cost: (u32, u32, u32),
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl PasswordHash {
    fn compose(cost: (u32, u32, u32), salt: &[u8], hash: &[u8]) -> Self {
        let (memory, passes, lanes) = cost;
        let (salt, hash) = (BASE64_NOPAD.encode(salt), BASE64_NOPAD.encode(hash));
        Self(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}"))
    }

    fn parts(&self) -> Option<Parts> {
        let mut fields = self.0.split('$');
        let ("", "argon2id", "v=19") = (fields.next()?, fields.next()?, fields.next()?) else { return None };
        let mut costs = fields.next()?.split(',');
        let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse::<u32>().ok();
        let cost = (cost("m=")?, cost("t=")?, cost("p=")?);
        let salt = BASE64_NOPAD.decode(fields.next()?.as_bytes()).ok()?;
        let hash = BASE64_NOPAD.decode(fields.next()?.as_bytes()).ok()?;
        let affordable = cost.0 <= COSTLIEST.0 && cost.1 <= COSTLIEST.1 && cost.2 <= COSTLIEST.2;
        let whole = fields.next().is_none() && costs.next().is_none() && hash.len() == HASH_LENGTH;
        (affordable && whole).then_some(Parts { cost, salt, hash })
    }
}

/// Blocks for as long as it takes.
fn stretch(cost: (u32, u32, u32), salt: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, PasswordError> {
    let (memory, passes, lanes) = cost;
    let params = Params::new(memory, passes, lanes, Some(HASH_LENGTH)).map_err(|_| PasswordError::Corrupt)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = Zeroizing::new(vec![0; HASH_LENGTH]);
    let stretched = argon2.hash_password_into(password, salt, &mut hash);
    stretched.map_err(|error| match error {
        argon2::Error::OutOfMemory => PasswordError::Exhausted,
        _ => PasswordError::Corrupt,
    })?;
    Ok(hash)
}

/// Whether two texts are the same, in a time that depends on their lengths alone.
fn same(left: &[u8], right: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left, right).is_ok()
}

/// Stretches passwords, so many at once.
#[derive(Debug)]
pub struct Hasher {
    places: Semaphore,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { places: Semaphore::new(AT_ONCE) }
    }
}

impl Hasher {
    /// The hash to keep of a password, or of a one-time code.
    ///
    /// # Errors
    /// [`PasswordError::Exhausted`].
    pub async fn hash(&self, secret: &Password, random: &dyn Random) -> Result<PasswordHash, PasswordError> {
        let mut salt = [0; SALT_LENGTH];
        random.fill(&mut salt);
        let _place = self.places.acquire().await.map_err(|_| PasswordError::Exhausted)?;
        let secret = secret.clone();
        let work = move || {
            let hash = stretch(COST, &salt, secret.expose().as_bytes())?;
            Ok(PasswordHash::compose(COST, &salt, &hash))
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Exhausted)?
    }

    /// Whether a secret is the one a hash was made of. Without a hash it takes as long and is never so.
    ///
    /// # Errors
    /// [`PasswordError::Corrupt`] and [`PasswordError::Exhausted`].
    pub async fn verify(
        &self,
        secret: &Password,
        kept: Option<&PasswordHash>,
    ) -> Result<bool, PasswordError> {
        let known = kept.is_some();
        let kept = kept.cloned().unwrap_or_else(|| PasswordHash(NOBODYS.to_owned()));
        let parts = kept.parts().ok_or(PasswordError::Corrupt)?;
        let _place = self.places.acquire().await.map_err(|_| PasswordError::Exhausted)?;
        let secret = secret.clone();
        let work = move || {
            // What is longer than any password cannot be one; argon2 would take it in all the same.
            let fits = secret.expose().len() <= LONGEST;
            let text = if fits { secret.expose() } else { "" };
            let hash = stretch(parts.cost, &parts.salt, text.as_bytes())?;
            Ok(fits && same(&hash, &parts.hash))
        };
        let matches: Result<bool, _> =
            tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Exhausted)?;
        Ok(matches? && known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_matches_its_hash_and_no_other_does() {
        let hasher = Hasher::default();
        let random = SeededRandom::new(1);
        let hash = hasher.hash(&password("correct horse"), &random).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        assert!(hasher.verify(&password("correct horse"), Some(&hash)).await.unwrap());
        for wrong in ["correct horsf", "", "correct horse ", &"x".repeat(LONGEST + 1)] {
            assert!(!hasher.verify(&password(wrong), Some(&hash)).await.unwrap(), "{wrong}");
        }
        let other = hasher.hash(&password("correct horse"), &random).await.unwrap();
        assert_ne!(other, hash, "a salt of its own");
        assert_eq!(format!("{hash:?}"), "PasswordHash([redacted])");
    }

    #[tokio::test]
    async fn nobodys_password_is_never_right_and_costs_the_same() {
        let hasher = Hasher::default();
        assert!(!hasher.verify(&password("anything at all"), None).await.unwrap());
        assert_eq!(PasswordHash(NOBODYS.to_owned()).parts().unwrap().cost, COST);
    }

    #[tokio::test]
    async fn a_hash_that_is_damaged_or_absurdly_costly_is_told_and_not_computed() {
        for text in [
            "",
            "$argon2id$v=19$m=19456,t=2,p=1$AAAA",
            "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
            &NOBODYS.replace("m=19456", "m=4194304"),
            &NOBODYS.replace("t=2", "t=100000"),
            &format!("{NOBODYS}$"),
        ] {
            let kept = PasswordHash(text.to_owned());
            let verified = Hasher::default().verify(&password("anything"), Some(&kept)).await;
            assert_eq!(verified.unwrap_err(), PasswordError::Corrupt, "{text}");
        }
    }

    #[test]
    fn passwords_that_are_short_long_or_the_first_guess_are_refused() {
        for (text, expected) in [
            ("elevenchars", Err(PasswordError::TooShort)),
            ("", Err(PasswordError::TooShort)),
            ("alice@example.com", Err(PasswordError::Guessable)),
            ("aaaaaaaaaaaaaaaa", Err(PasswordError::Guessable)),
            (&"ab".repeat(300), Err(PasswordError::TooLong)),
            ("twelve chars", Ok(())),
        ] {
            assert_eq!(check_new_password(&password(text), "Alice@example.com"), expected, "{text}");
        }
    }
}
