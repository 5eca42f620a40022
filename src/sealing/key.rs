//! Keys: the first seals, all of them open.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::digest;
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use crate::random::Random;

/// Bytes of a key: AES-256.
pub(super) const KEY_LENGTH: usize = 32;

/// Bytes of a key's identifier: enough to tell the keys of an installation apart, too few to say anything about them.
const ID_LENGTH: usize = 8;

/// Keeps the digest that names a key apart from every other use of SHA-256.
const ID_DOMAIN: &[u8] = b"mayfly sealing key identifier 1\0";

/// Which key something is sealed with: derived from the key, so that nobody has to give it a name. 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_LENGTH]);

impl KeyId {
    fn of(bytes: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(ID_DOMAIN);
        context.update(bytes);
        let mut id = [0; ID_LENGTH];
        id.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| KeyError::Unreadable)?;
        bytes.try_into().map(Self).map_err(|_| KeyError::Unreadable)
    }
}

/// Why a text is no key. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither base 64 nor hexadecimal.
    #[error("is not a key: write 32 bytes in base 64 or hexadecimal, as `mayfly store sealing-key` does")]
    Unreadable,
    /// Another number of bytes.
    #[error("is not 32 bytes long")]
    Length,
    /// Every byte is the same: a placeholder, not a key.
    #[error("is a placeholder, not a key: draw one with `mayfly store sealing-key`")]
    Placeholder,
    /// There is none.
    #[error("holds no key")]
    None,
    /// The same key stands there twice.
    #[error("holds the key {0} twice")]
    Twice(KeyId),
}

/// A key. `Debug` shows its identifier; dropping it wipes it.
#[derive(Clone)]
pub struct SealingKey {
    id: KeyId,
    bytes: Zeroizing<[u8; KEY_LENGTH]>,
}

impl SealingKey {
    /// Which one it is.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.bytes
    }

    /// Draws a key; in base 64, as a file of keys has it.
    pub fn draw(random: &dyn Random) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        random.fill(bytes.as_mut());
        Zeroizing::new(BASE64.encode(bytes.as_ref()))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({}, [redacted])", self.id)
    }
}

impl FromStr for SealingKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.as_bytes();
        let decoded = if digits.len() == 2 * KEY_LENGTH {
            HEXLOWER_PERMISSIVE.decode(digits)
        } else {
            BASE64.decode(digits).or_else(|_| BASE64_NOPAD.decode(digits))
        };
        let decoded = Zeroizing::new(decoded.map_err(|_| KeyError::Unreadable)?);
        if decoded.len() != KEY_LENGTH {
            return Err(KeyError::Length);
        }
        if decoded.windows(2).all(|pair| pair.first() == pair.last()) {
            return Err(KeyError::Placeholder);
        }
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        bytes.copy_from_slice(&decoded);
        Ok(Self { id: KeyId::of(bytes.as_ref()), bytes })
    }
}

/// The keys there are: the first seals, all of them open. Without any, nothing is sealed.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Vec<SealingKey>);

impl Keyring {
    /// Reads keys: one a line (or between blanks or commas), the one that seals first; what follows a `#` is a remark.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys: Vec<SealingKey> = Vec::new();
        let words = text.lines().filter_map(|line| line.split('#').next());
        let words = words.flat_map(|line| line.split([' ', '\t', '\r', ','])).filter(|word| !word.is_empty());
        for word in words {
            let key: SealingKey = word.parse()?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeyError::Twice(key.id));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(KeyError::None) } else { Ok(Self(keys)) }
    }

    /// Which keys, the one that seals first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.0.iter().map(SealingKey::id).collect()
    }

    /// The key that seals.
    pub fn first(&self) -> Option<&SealingKey> {
        self.0.first()
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&SealingKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

/// The keys of now; a reload replaces them whole.
#[derive(Debug, Default)]
pub struct KeyringHandle(RwLock<Arc<Keyring>>);

impl KeyringHandle {
    /// Starts with these keys.
    pub fn new(keyring: Keyring) -> Self {
        Self(RwLock::new(Arc::new(keyring)))
    }

    /// The keys of now.
    pub fn current(&self) -> Arc<Keyring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them.
    pub fn replace(&self, keyring: Keyring) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const SAME: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_key_is_32_bytes_in_either_form() {
        let key: SealingKey = HEX.parse().unwrap();
        for text in [SAME, SAME.trim_end_matches('='), &HEX.to_uppercase()] {
            assert_eq!(text.parse::<SealingKey>().unwrap().id(), key.id(), "{text}");
        }
        for (text, why) in [
            ("", KeyError::Length),
            ("AAEC", KeyError::Length),
            ("not a key!", KeyError::Unreadable),
            (&"00".repeat(32), KeyError::Placeholder),
            (&"zz".repeat(32), KeyError::Unreadable),
        ] {
            assert_eq!(text.parse::<SealingKey>().unwrap_err(), why, "{text:?}");
        }
    }

    #[test]
    fn the_identifier_is_the_keys_and_shows_nothing_of_it() {
        let key: SealingKey = HEX.parse().unwrap();
        let id = key.id().to_string();
        assert_eq!(id.parse::<KeyId>().unwrap(), key.id());
        assert_eq!(id.len(), 16);
        assert_eq!(format!("{key:?}"), format!("SealingKey({id}, [redacted])"));
        assert!(!format!("{:?}", Keyring(vec![key])).contains("0102"));
    }

    #[test]
    fn a_file_of_keys_is_read_in_order_with_remarks() {
        let (one, two) = (SealingKey::draw(&SeededRandom::new(1)), SealingKey::draw(&SeededRandom::new(2)));
        let text = format!("# of May\n{}  # seals\r\n\n{HEX},{}\n", *one, *two);
        let ids = Keyring::parse(&text).unwrap().ids();
        let id = |text: &str| text.parse::<SealingKey>().unwrap().id();
        assert_eq!(ids, [id(&one), id(HEX), id(&two)]);
        assert_eq!(Keyring::parse("# nothing\n").unwrap_err(), KeyError::None);
        assert_eq!(Keyring::parse(&format!("{HEX}\n{SAME}")).unwrap_err(), KeyError::Twice(id(HEX)));
    }
}
