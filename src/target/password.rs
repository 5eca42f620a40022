//! Drawing passwords.

use zeroize::Zeroizing;

use crate::{domain::Password, random::Random};

/// Characters in a password: 32 of 62 letters and digits are 190 bits. Exactly 32 also makes a password a valid Ed25519
/// seed, so that MariaDB's `ed25519` verifier is the plain public key of RFC 8032.
pub const PASSWORD_LENGTH: usize = 32;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Draws a password: 32 characters, each uniform over `A-Za-z0-9`, so it needs no quoting in a URL, a shell or a file.
pub fn generate_password(random: &dyn Random) -> Password {
    let mut text = Zeroizing::new(String::with_capacity(PASSWORD_LENGTH));
    while text.len() < PASSWORD_LENGTH {
        let index = usize::try_from(random.below(62)).unwrap_or(0);
        text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'A')));
    }
    Password::new(text.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn draws_evenly_from_the_whole_alphabet() {
        let random = SeededRandom::new(7);
        let mut seen: HashMap<char, u32> = HashMap::new();
        for _ in 0..2_000 {
            let password = generate_password(&random);
            assert_eq!(password.expose().len(), PASSWORD_LENGTH);
            password.expose().chars().for_each(|c| *seen.entry(c).or_default() += 1);
        }
        let expected = 2_000 * 32 / 62;
        assert_eq!(seen.len(), 62);
        assert!(seen.values().all(|count| count.abs_diff(expected) < expected / 5), "{seen:?}");
    }

    #[test]
    fn never_repeats() {
        let random = SeededRandom::new(7);
        assert_ne!(generate_password(&random).expose(), generate_password(&random).expose());
    }
}
