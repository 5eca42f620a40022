//! SCRAM-SHA-256 verifiers (RFC 5803, RFC 7677) in PostgreSQL's text form, so that the password never reaches the server.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use data_encoding::BASE64;
use sha2::block_api::compress256;
use zeroize::Zeroizing;

use crate::random::Random;

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

fn with_salt(password: &str, iterations: u32, salt: &[u8]) -> String {
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let salted = stretch(password.as_bytes(), iterations, salt);
    let key = hmac::Key::new(hmac::HMAC_SHA256, salted.as_ref());
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

/// What SHA-256 begins with (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// The last block of a message of a block and a digest: room for the digest, the mark, the length in bits (768).
const LAST_BLOCK: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    block[32] = 0x80;
    block[62] = 0x03;
    block
};

/// PBKDF2 with HMAC-SHA-256 (RFC 8018, section 5.2) for one block of output.
///
/// Each iteration is exactly two compressions: the state after either padded key is kept, and everything else fits one block.
/// A library that goes through whole messages spends a third more on book-keeping.
fn stretch(password: &[u8], iterations: NonZeroU32, salt: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut output = Zeroizing::new([0; digest::SHA256_OUTPUT_LEN]);
    if password.len() > BLOCK {
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, output.as_mut());
        return output;
    }
    let (inner, outer) = (keyed(password, 0x36), keyed(password, 0x5c));
    let mut first = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, password));
    first.update(salt);
    first.update(&1_u32.to_be_bytes());
    let mut block = Zeroizing::new([LAST_BLOCK]);
    let [message] = &mut *block;
    for (to, from) in message.iter_mut().zip(first.sign().as_ref()) {
        *to = *from;
    }
    output.copy_from_slice(message.split_at(digest::SHA256_OUTPUT_LEN).0);
    let mut state = Zeroizing::new(INITIAL);
    for _ in 1..iterations.get() {
        for key in [&inner, &outer] {
            *state = **key;
            compress256(&mut state, &*block);
            let [message] = &mut *block;
            for (bytes, word) in message.chunks_exact_mut(4).zip(&*state) {
                bytes.copy_from_slice(&word.to_be_bytes());
            }
        }
        let [message] = &*block;
        output.iter_mut().zip(message).for_each(|(sum, byte)| *sum ^= byte);
    }
    output
}

/// SHA-256's state after a key's block, padded with zeros and combined with HMAC's constant.
fn keyed(key: &[u8], constant: u8) -> Zeroizing<[u32; 8]> {
    let mut block = Zeroizing::new([[constant; BLOCK]]);
    let [bytes] = &mut *block;
    bytes.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    let mut state = Zeroizing::new(INITIAL);
    compress256(&mut state, &*block);
    state
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
    fn stretches_as_the_library_does() {
        for (length, iterations) in
            [(0, 1), (1, 2), (32, 1), (32, 3), (63, 5), (64, 4), (65, 3), (200, 2), (32, 500)]
        {
            let (password, salt) = (vec![b'p'; length], vec![0xa5; length % 40]);
            let iterations = NonZeroU32::new(iterations).unwrap();
            let mut expected = [0; 32];
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, &password, &mut expected);
            assert_eq!(*stretch(&password, iterations, &salt), expected, "{length} {iterations}");
        }
    }

    #[test]
    fn every_verifier_has_its_own_salt_and_the_iterations_asked_for() {
        let random = SeededRandom::new(3);
        let first = scram_sha_256("a", 1, &random);
        assert!(first.starts_with("SCRAM-SHA-256$1:"), "{first}");
        assert_ne!(first, scram_sha_256("a", 1, &random));
        assert!(scram_sha_256("a", 0, &random).starts_with("SCRAM-SHA-256$1:"));
    }
}
