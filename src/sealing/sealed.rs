//! What is sealed: opens with its key, in its place, and unaltered; or not at all.

use std::{fmt, str::FromStr};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::{KeyId, Keyring, SealingKey};
use crate::{
    domain::{InstanceId, Password, PrincipalName, TargetName},
    random::Random,
};

/// What this form of sealing is called, in the text and in what is authenticated. A new form gets a new name.
const FORM: &str = "v1";

/// Where a sealed password belongs. It opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The installation whose store it is in.
    pub instance: InstanceId,
    /// The target it is for.
    pub target: &'a TargetName,
    /// The account it is of.
    pub account: &'a str,
}

/// Whose sealed second factor it is. It opens for nobody else, and as nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// The installation whose store it is in.
    pub instance: InstanceId,
    /// The user.
    pub user: &'a PrincipalName,
}

/// Where something sealed belongs: it opens nowhere else.
pub trait Bound {
    /// What is authenticated beside what is sealed: what it is, then where it belongs.
    fn parts(&self) -> Vec<String>;
}

impl Bound for Place<'_> {
    fn parts(&self) -> Vec<String> {
        let place = [self.instance.to_string(), self.target.to_string(), self.account.to_owned()];
        ["mayfly administration password".to_owned()].into_iter().chain(place).collect()
    }
}

impl Bound for Holder<'_> {
    fn parts(&self) -> Vec<String> {
        vec!["mayfly second factor".to_owned(), self.instance.to_string(), self.user.to_string()]
    }
}

/// Each part with its length before it, so that none can run into another.
fn associated_data(bound: &impl Bound, key: KeyId) -> Vec<u8> {
    let mut parts = bound.parts();
    // After what it is, and before where it belongs.
    parts.splice(1..1, [FORM.to_owned(), key.to_string()]);
    let length = |part: &str| u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
    parts.iter().flat_map(|part| [&length(part)[..], part.as_bytes()].concat()).collect()
}

/// A sealed password: fit to be stored and backed up. Its text form is `v1.KEY.BASE64`.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    key: KeyId,
    /// The nonce, then the ciphertext with its tag.
    body: Vec<u8>,
}

impl Sealed {
    /// The key it is sealed with.
    pub fn key(&self) -> KeyId {
        self.key
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORM}.{}.{}", self.key, BASE64URL_NOPAD.encode(&self.body))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({FORM}, key {})", self.key)
    }
}

/// A text is nothing sealed in a form that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sealed password, or one of a newer version")]
pub struct SealedTextError;

impl FromStr for Sealed {
    type Err = SealedTextError;

    fn from_str(text: &str) -> Result<Self, SealedTextError> {
        let mut parts = text.split('.');
        let (Some(FORM), Some(key), Some(body), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SealedTextError);
        };
        let key = key.parse().map_err(|_| SealedTextError)?;
        let body = BASE64URL_NOPAD.decode(body.as_bytes()).map_err(|_| SealedTextError)?;
        Ok(Self { key, body })
    }
}

/// Why something cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key is configured.
    #[error("no sealing key is configured")]
    NoKey,
    /// It is sealed with a key that is not there.
    #[error("it is sealed with the key {0}, which is not among the configured ones")]
    MissingKey(KeyId),
    /// The key does not open it.
    #[error(
        "the key {0} does not open it: it was altered, or belongs to another installation, target or account"
    )]
    Broken(KeyId),
}

impl Keyring {
    /// Seals a password for a place with the first key and a nonce drawn for it alone.
    ///
    /// # Errors
    /// [`SealError::NoKey`].
    pub fn seal(
        &self,
        place: impl Bound + Copy,
        password: &Password,
        random: &dyn Random,
    ) -> Result<Sealed, SealError> {
        let key = self.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let mut text = Zeroizing::new(password.expose().as_bytes().to_vec());
        let associated = Aad::from(associated_data(&place, key.id()));
        let sealed = cipher(key).and_then(|cipher| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            cipher.seal_in_place_append_tag(nonce, associated, &mut *text).ok()
        });
        sealed.ok_or(SealError::Broken(key.id()))?;
        let mut body = nonce.to_vec();
        body.extend_from_slice(&text);
        Ok(Sealed { key: key.id(), body })
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// [`SealError::MissingKey`] and [`SealError::Broken`].
    pub fn open(&self, place: impl Bound + Copy, sealed: &Sealed) -> Result<Password, SealError> {
        let key = self.find(sealed.key).ok_or(SealError::MissingKey(sealed.key))?;
        let broken = SealError::Broken(key.id());
        let (nonce, body) = sealed.body.split_at_checked(NONCE_LEN).ok_or(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken)?;
        let mut body = Zeroizing::new(body.to_vec());
        let cipher = cipher(key).ok_or(broken)?;
        let associated = Aad::from(associated_data(&place, key.id()));
        let text = cipher.open_in_place(nonce, associated, &mut body).map_err(|_| broken)?;
        std::str::from_utf8(text).map(|text| Password::new(text.to_owned())).map_err(|_| broken)
    }
}

fn cipher(key: &SealingKey) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key.bytes()).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    fn keyring(seeds: &[u64]) -> Keyring {
        let keys: Vec<_> =
            seeds.iter().map(|seed| SealingKey::draw(&SeededRandom::new(*seed)).to_string()).collect();
        Keyring::parse(&keys.join("\n")).unwrap()
    }

    fn password() -> Password {
        Password::new("correct horse battery staple, 32".to_owned())
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_whatever_keys_stand_before_it() {
        let (target, random) = ("orders".parse().unwrap(), SeededRandom::new(9));
        let instance = "7e57000000000000000a".parse().unwrap();
        let place = Place { instance, target: &target, account: "mayfly" };
        let sealed = keyring(&[1]).seal(place, &password(), &random).unwrap();
        let again: Sealed = sealed.to_string().parse().unwrap();
        assert_eq!(again, sealed);
        for seeds in [&[1][..], &[2, 1]] {
            assert_eq!(keyring(seeds).open(place, &again).unwrap().expose(), password().expose());
        }
        let id = keyring(&[1]).ids()[0];
        assert_eq!(keyring(&[2]).open(place, &sealed).unwrap_err(), SealError::MissingKey(id));
        assert!(SealError::MissingKey(id).to_string().contains(&id.to_string()));
        assert_eq!(Keyring::default().seal(place, &password(), &random).unwrap_err(), SealError::NoKey);
    }

    #[test]
    fn it_opens_in_no_other_place() {
        let (orders, stock) = ("orders".parse().unwrap(), "stock".parse().unwrap());
        let instance: InstanceId = "7e57000000000000000a".parse().unwrap();
        let keys = keyring(&[1]);
        let place = Place { instance, target: &orders, account: "mayfly" };
        let sealed = keys.seal(place, &password(), &SeededRandom::new(9)).unwrap();
        for other in [
            Place { instance: "7e57000000000000000b".parse().unwrap(), ..place },
            Place { target: &stock, ..place },
            Place { account: "root", ..place },
        ] {
            assert_eq!(keys.open(other, &sealed).unwrap_err(), SealError::Broken(sealed.key()), "{other:?}");
        }
    }

    #[test]
    fn a_second_factor_opens_for_its_user_only_and_is_no_password() {
        let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let instance: InstanceId = "7e57000000000000000a".parse().unwrap();
        let keys = keyring(&[1]);
        let holder = Holder { instance, user: &alice };
        let sealed = keys.seal(holder, &password(), &SeededRandom::new(9)).unwrap();
        assert_eq!(keys.open(holder, &sealed).unwrap().expose(), password().expose());
        assert!(keys.open(Holder { instance, user: &bob }, &sealed).is_err());
        let target = "alice".parse().unwrap();
        assert!(keys.open(Place { instance, target: &target, account: "" }, &sealed).is_err());
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed_and_nothing_is_ever_sealed_alike() {
        let (target, random) = ("orders".parse().unwrap(), SeededRandom::new(9));
        let instance = "7e57000000000000000a".parse().unwrap();
        let place = Place { instance, target: &target, account: "mayfly" };
        let keys = keyring(&[1]);
        let sealed = keys.seal(place, &password(), &random).unwrap();
        assert_ne!(keys.seal(place, &password(), &random).unwrap(), sealed);
        for at in 0..sealed.body.len() {
            let mut altered = sealed.clone();
            altered.body[at] ^= 1;
            assert_eq!(keys.open(place, &altered).unwrap_err(), SealError::Broken(sealed.key()), "{at}");
        }
        for length in 0..sealed.body.len() {
            let cut = Sealed { body: sealed.body[..length].to_vec(), ..sealed.clone() };
            assert!(keys.open(place, &cut).is_err(), "{length}");
        }
    }

    #[test]
    fn its_text_and_its_debug_form_show_nothing_of_the_password() {
        let (target, instance) = ("orders".parse().unwrap(), "7e57000000000000000a".parse().unwrap());
        let place = Place { instance, target: &target, account: "mayfly" };
        let sealed = keyring(&[1]).seal(place, &password(), &SeededRandom::new(9)).unwrap();
        assert!(!format!("{sealed} {sealed:?}").contains("correct"));
        assert!(!format!("{sealed:?}").contains(&sealed.to_string()[20..]));
        for text in ["", "v1", "v1..", "v2.0011223344556677.AAAA", "v1.0011223344556677.AA.AA", "v1.x.AAAA"] {
            assert!(text.parse::<Sealed>().is_err(), "{text}");
        }
    }
}
