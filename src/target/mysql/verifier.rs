//! What the server stores of a password, computed here so that the password never reaches it.

use std::sync::Arc;

use aws_lc_rs::{
    digest,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use data_encoding::{BASE64_NOPAD, HEXUPPER};
use zeroize::Zeroizing;

use super::flavour::Flavour;
use crate::{
    domain::Password,
    random::Random,
    target::{
        AuthPlugin, Secret, TargetError, TargetErrorKind, Verifier, generate_password,
        stock::{Maker, Stock},
        wide::{self, Derivation, LANES},
    },
};

/// Rounds of SHA-256 in `caching_sha2_password`: the server's default and least, written `005` (thousands).
const ROUNDS: usize = 5_000;
const SALT_LENGTH: usize = 20;
/// crypt(3)'s own base 64, least significant bits first.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Draws passwords and computes their verifiers: where it takes a while, on threads that may be busy for a while.
pub(super) enum Secrets {
    /// MySQL's.
    Stocked(Arc<Stock>),
    /// MariaDB's: tens of microseconds at most, less than handing the work over takes.
    AtOnce(Arc<dyn Random>, AuthPlugin),
}

impl Secrets {
    pub(super) fn new(flavour: Flavour, plugin: AuthPlugin, random: &Arc<dyn Random>) -> Self {
        let random = Arc::clone(random);
        match flavour {
            Flavour::Mysql => Self::Stocked(Stock::new(CachingSha2(random))),
            Flavour::Mariadb => Self::AtOnce(random, plugin),
        }
    }

    /// A fresh password and its verifier.
    pub(super) async fn draw(&self) -> Result<Secret, TargetError> {
        match self {
            Self::Stocked(stock) => stock.take().await,
            Self::AtOnce(random, AuthPlugin::NativePassword) => draw(Method::Native, &**random),
            Self::AtOnce(random, AuthPlugin::Ed25519) => draw(Method::Ed25519, &**random),
        }
    }
}

/// Makes secrets for `caching_sha2_password`.
struct CachingSha2(Arc<dyn Random>);

impl Maker for CachingSha2 {
    fn one(&self) -> Result<Secret, TargetError> {
        draw(Method::CachingSha2, &*self.0)
    }

    fn sixteen(&self) -> Option<Vec<Secret>> {
        let passwords: Vec<Password> = (0..LANES).map(|_| generate_password(&*self.0)).collect();
        let salts: Vec<_> = (0..LANES).map(|_| salt(&*self.0)).collect();
        let verifiers = caching_sha2_of_each(&passwords, &salts)?;
        let secret = |(password, verifier)| Secret { password, verifier: Verifier::new(verifier) };
        Some(passwords.into_iter().zip(verifiers).map(secret).collect())
    }
}

/// How a server checks a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    CachingSha2,
    Native,
    Ed25519,
}

impl Method {
    /// The server's name for it.
    pub(super) fn plugin(self) -> &'static str {
        match self {
            Method::CachingSha2 => "caching_sha2_password",
            Method::Native => "mysql_native_password",
            Method::Ed25519 => "ed25519",
        }
    }
}

/// The verifier of a password.
pub(super) fn of(method: Method, password: &Password, random: &dyn Random) -> Result<Verifier, TargetError> {
    Ok(Verifier::new(match method {
        Method::CachingSha2 => caching_sha2(password, &salt(random)),
        Method::Native => native(password),
        Method::Ed25519 => ed25519(password)?,
    }))
}

fn draw(method: Method, random: &dyn Random) -> Result<Secret, TargetError> {
    let password = generate_password(random);
    let verifier = of(method, &password, random)?;
    Ok(Secret { password, verifier })
}

/// A salt of 20 characters of crypt's alphabet, 120 bits: no `$`, which ends a field, no NUL, nothing that quotes.
fn salt(random: &dyn Random) -> [u8; SALT_LENGTH] {
    let mut salt = [0; SALT_LENGTH];
    random.fill(&mut salt);
    salt.map(|byte| character(u32::from(byte)))
}

fn character(bits: u32) -> u8 {
    let index = usize::try_from(bits & 63).unwrap_or(0);
    ALPHABET.get(index).copied().unwrap_or(b'.')
}

/// MySQL's `caching_sha2_password`: SHA-crypt with SHA-256, yet with a salt of 20 bytes where crypt(3) stops at 16.
fn caching_sha2(password: &Password, salt: &[u8; SALT_LENGTH]) -> String {
    written(&sha_crypt(password.expose().as_bytes(), salt), salt)
}

/// The same of sixteen passwords as they are drawn; `None`: the processor cannot compute so many at once.
fn caching_sha2_of_each(passwords: &[Password], salts: &[[u8; SALT_LENGTH]]) -> Option<Vec<String>> {
    let mut first = Zeroizing::new([[0; 32]; LANES]);
    let mut of_passwords = Zeroizing::new([[0; 32]; LANES]);
    let mut of_salts = [[0; SALT_LENGTH]; LANES];
    let places = first.iter_mut().zip(of_passwords.iter_mut()).zip(&mut of_salts);
    for (((first, of_password), of_salt), (password, salt)) in places.zip(passwords.iter().zip(salts)) {
        let beginning = Beginning::of(password.expose().as_bytes(), salt);
        *first = beginning.first;
        *of_password = beginning.of_password.as_slice().try_into().ok()?;
        *of_salt = beginning.of_salt.as_slice().try_into().ok()?;
    }
    let derivation =
        Derivation::ShaCrypt { first: &first, passwords: &of_passwords, salts: &of_salts, rounds: ROUNDS };
    let digests = wide::derive(&derivation)?;
    Some(digests.iter().zip(salts).map(|(digest, salt)| written(digest, salt)).collect())
}

fn written(digest: &[u8; 32], salt: &[u8; SALT_LENGTH]) -> String {
    format!("$A$005${}{}", String::from_utf8_lossy(salt), encode(digest))
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut output = [0; 32];
    output.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    output
}

/// As many bytes of a digest, repeated, as asked for.
fn stretch(digest: &[u8; 32], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

/// What the rounds of SHA-crypt begin with.
struct Beginning {
    first: [u8; 32],
    of_password: Zeroizing<Vec<u8>>,
    of_salt: Vec<u8>,
}

impl Beginning {
    /// Ulrich Drepper's SHA-crypt, steps 4 to 20 (<https://www.akkadia.org/drepper/SHA-crypt.txt>).
    fn of(password: &[u8], salt: &[u8]) -> Self {
        let alternate = sha256(&[password, salt, password]);
        let mut start = Zeroizing::new([password, salt, &stretch(&alternate, password.len())].concat());
        let mut bits = password.len();
        while bits > 0 {
            start.extend_from_slice(if bits & 1 == 1 { &alternate } else { password });
            bits >>= 1;
        }
        let first = sha256(&[&start]);
        let repeated = Zeroizing::new(password.repeat(password.len()));
        let of_password = Zeroizing::new(stretch(&sha256(&[&repeated]), password.len()));
        let of_salt = stretch(&sha256(&[&salt.repeat(16 + usize::from(first[0]))]), salt.len());
        Self { first, of_password, of_salt }
    }
}

/// SHA-crypt, step 21 included.
fn sha_crypt(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let Beginning { first, of_password, of_salt } = Beginning::of(password, salt);
    // One message put together in one place: hashing it piece by piece would cost as much again in book-keeping.
    let mut message = Zeroizing::new(Vec::with_capacity(2 * password.len() + salt.len() + first.len()));
    (0..ROUNDS).fold(first, |last, round| {
        let odd = round % 2 == 1;
        let salted: &[u8] = if round % 3 == 0 { &[] } else { &of_salt };
        let again: &[u8] = if round % 7 == 0 { &[] } else { &of_password };
        let (head, tail): (&[u8], &[u8]) = if odd { (&of_password, &last) } else { (&last, &of_password) };
        message.clear();
        for part in [head, salted, again, tail] {
            message.extend_from_slice(part);
        }
        let mut next = [0; 32];
        next.copy_from_slice(digest::digest(&digest::SHA256, &message).as_ref());
        next
    })
}

/// The 43 characters of a digest, in the order of SHA-crypt's step 22: triples of bytes ten apart, rotating.
fn encode(digest: &[u8; 32]) -> String {
    let byte = |index: usize| u32::from(digest.get(index).copied().unwrap_or(0));
    let mut text = String::with_capacity(43);
    let mut push = |bits: u32, count: u32| {
        (0..count).for_each(|place| text.push(char::from(character(bits >> (6 * place)))));
    };
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        push((byte(a) << 16) | (byte(b) << 8) | byte(c), 4);
        (a, b, c) = (c + 1, a + 1, b + 1);
    }
    push((byte(31) << 8) | byte(30), 3);
    text
}

/// MariaDB's `mysql_native_password`: SHA-1 of SHA-1, unsalted, which a random password of 190 bits can bear.
fn native(password: &Password) -> String {
    let sha1 = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let twice = sha1(sha1(password.expose().as_bytes()).as_ref());
    format!("*{}", HEXUPPER.encode(twice.as_ref()))
}

/// MariaDB's `ed25519`: the public key of which the password is the seed. The plugin takes seeds of any length; RFC 8032
/// and so the library takes 32 bytes, which is what passwords are.
fn ed25519(password: &Password) -> Result<String, TargetError> {
    let pair = Ed25519KeyPair::from_seed_unchecked(password.expose().as_bytes()).map_err(|_| {
        TargetError::new(TargetErrorKind::Refused, "the password is no Ed25519 seed: it is not 32 bytes long")
    })?;
    Ok(BASE64_NOPAD.encode(pair.public_key().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[test]
    fn caching_sha2_agrees_with_the_published_vector() {
        let salt = HEXUPPER.decode(b"F9CC98CE08892924F50A213B6BC571A2C11778C5").unwrap();
        let digest = encode(&sha_crypt(b"hashcat", &salt));
        assert_eq!(digest, "bTy95Y99eAME1dwEkHOA1ndHGBWz.1bxSSRkuTXFGV/");
    }

    #[test]
    fn caching_sha2_is_70_harmless_bytes() {
        for seed in 0..20 {
            let salt = salt(&SeededRandom::new(seed));
            let text = caching_sha2(&password("x"), &salt);
            assert_eq!(text.len(), 70, "{text}");
            let rest = text.strip_prefix("$A$005$").unwrap();
            assert!(rest.bytes().all(|byte| ALPHABET.contains(&byte)), "{text}");
        }
    }

    #[test]
    fn sixteen_verifiers_are_each_that_of_its_password() {
        let maker = CachingSha2(Arc::new(SeededRandom::new(5)));
        let Some(secrets) = maker.sixteen() else {
            assert!(!wide::is_here());
            return;
        };
        assert_eq!(secrets.len(), LANES);
        for secret in &secrets {
            let made = secret.verifier.as_str();
            let salt = made.as_bytes()[7..27].try_into().unwrap();
            assert_eq!(caching_sha2(&secret.password, &salt), made);
        }
    }

    #[test]
    fn native_agrees_with_the_servers_function() {
        assert_eq!(native(&password("password")), "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
    }

    #[test]
    fn ed25519_needs_exactly_32_bytes() {
        assert_eq!(ed25519(&password(&"a".repeat(32))).unwrap().len(), 43);
        assert!(ed25519(&password("short")).is_err());
    }
}
