//! SCRAM-SHA-256 verifiers (RFC 5803, RFC 7677) in PostgreSQL's text form, so that the password never reaches the server.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::{
    random::Random,
    target::wide::{self, Derivation, Each, LANES},
};

/// Bytes of salt, as the server itself draws (`SCRAM_DEFAULT_SALT_LEN`).
const SALT_LENGTH: usize = 16;

/// The verifier of a password with a fresh salt. Iterations below one count as one.
///
/// The password must be ASCII: preparation by RFC 4013 leaves ASCII as it is, and nothing else is ever drawn.
pub(super) fn scram_sha_256(password: &str, iterations: u32, random: &dyn Random) -> String {
    let mut salt = [0; SALT_LENGTH];
    random.fill(&mut salt);
    with_salt(password, iterations, &salt)
}

/// The verifiers of sixteen passwords, each with a fresh salt; `None`: the processor cannot compute so many at once.
pub(super) fn scram_sha_256_of_each(
    passwords: &Each<32>,
    iterations: u32,
    random: &dyn Random,
) -> Option<Vec<String>> {
    let mut salts = [[0; SALT_LENGTH]; LANES];
    for salt in &mut salts {
        random.fill(salt);
    }
    let iterations = iterations.max(1);
    let salted = Zeroizing::new(wide::derive(&Derivation::Pbkdf2 { passwords, salts: &salts, iterations })?);
    Some(salted.iter().zip(&salts).map(|(salted, salt)| written(salted, iterations, salt)).collect())
}

fn with_salt(password: &str, iterations: u32, salt: &[u8]) -> String {
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let mut salted = Zeroizing::new([0; digest::SHA256_OUTPUT_LEN]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), salted.as_mut());
    written(salted.as_ref(), iterations.get(), salt)
}

/// The verifier of a salted password.
fn written(salted: &[u8], iterations: u32, salt: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let server_key = hmac::sign(&key, b"Server Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        BASE64.encode(salt),
        BASE64.encode(stored_key.as_ref()),
        BASE64.encode(server_key.as_ref())
    )
}

/// The verifier of a password with the salt and the iterations of one that there is.
#[cfg(test)]
pub(super) fn again(password: &str, made: &str) -> String {
    let mut parts = made.split(['$', ':']);
    let (iterations, salt) = (parts.nth(1).unwrap(), parts.next().unwrap());
    with_salt(password, iterations.parse().unwrap(), &BASE64.decode(salt.as_bytes()).unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    /// The example exchange of RFC 7677, section 3: its keys are proved by replaying it.
    #[test]
    fn agrees_with_the_exchange_of_rfc_7677() {
        let verifier = with_salt("pencil", 4096, &BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap());
        let keys = verifier.strip_prefix("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$").unwrap();
        let (stored, server) = keys.split_once(':').unwrap();
        let exchange = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
             r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
             c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), exchange.as_bytes());
        let server = BASE64.decode(server.as_bytes()).unwrap();
        assert_eq!(BASE64.encode(sign(&server).as_ref()), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let stored = BASE64.decode(stored.as_bytes()).unwrap();
        let proof = BASE64.decode(b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> = proof.iter().zip(sign(&stored).as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), stored);
    }

    #[test]
    fn agrees_with_a_verifier_made_by_postgresql() {
        let made = MADE_BY_POSTGRESQL_15;
        let salt = made.split(['$', ':']).nth(2).unwrap();
        assert_eq!(with_salt("correct horse", 4096, &BASE64.decode(salt.as_bytes()).unwrap()), made);
    }

    const MADE_BY_POSTGRESQL_15: &str = "SCRAM-SHA-256$4096:qM813mBKGQhBhwvdjGe0rw==$CTg3tjhFQ1OClNpDIJbf/7eOLuLXaZDUXjZeJ7dYA4I=:Dcy7lWc+gfzFFQ/2J7irtyimzPFz8D7KIcCx82jUhy8=";

    #[test]
    fn every_verifier_has_its_own_salt_and_the_iterations_asked_for() {
        let random = SeededRandom::new(3);
        let first = scram_sha_256("a", 1, &random);
        assert!(first.starts_with("SCRAM-SHA-256$1:"), "{first}");
        assert_ne!(first, scram_sha_256("a", 1, &random));
        assert!(scram_sha_256("a", 0, &random).starts_with("SCRAM-SHA-256$1:"));
    }
}
