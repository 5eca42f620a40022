//! Sixteen key derivations at once, on registers of 512 bits: what makes a verifier dear is rounds of SHA-256 (FIPS 180-4), one after
//! the other, and sixteen of them side by side take little longer than one.
//!
//! Only where the processor has AVX-512; elsewhere there is no answer, and each is computed by itself. No rule of a verifier is in here:
//! what is derived, from what, and in which form it is written is its own file's affair.

/// Derivations at once.
pub(super) const LANES: usize = 16;

/// A value of `N` bytes for each of them.
pub(super) type Each<const N: usize> = [[u8; N]; LANES];

/// What is to be derived.
pub(super) enum Derivation<'a> {
    /// PBKDF2 with HMAC-SHA-256 (RFC 8018), one block.
    Pbkdf2 {
        /// The passwords.
        passwords: &'a Each<32>,
        /// Their salts.
        salts: &'a Each<16>,
        /// How often; one at the least.
        iterations: u32,
    },
    /// The rounds of SHA-crypt with SHA-256 (step 21 of its specification).
    ShaCrypt {
        /// The digests of step 12, with which the rounds begin.
        first: &'a Each<32>,
        /// The sequences P of step 16.
        passwords: &'a Each<32>,
        /// The sequences S of step 20.
        salts: &'a Each<20>,
        /// How often.
        rounds: usize,
    },
}

/// Whether there are such registers.
pub(super) fn is_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Derives sixteen; `None`: there are no such registers.
#[cfg(target_arch = "x86_64")]
pub(super) fn derive(derivation: &Derivation<'_>) -> Option<Each<32>> {
    if !is_here() {
        return None;
    }
    #[expect(unsafe_code, reason = "the one call of code that is not for every processor of the kind")]
    // SAFETY: the processor has AVX-512F, as was just found out.
    let derived = unsafe { avx512::derive(derivation) };
    Some(derived)
}

/// `None`: there are no such registers.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn derive(_derivation: &Derivation<'_>) -> Option<Each<32>> {
    None
}

#[cfg(target_arch = "x86_64")]
#[expect(
    clippy::indexing_slicing,
    reason = "indices are known, and below the lengths of the arrays they are for"
)]
#[expect(clippy::many_single_char_names, reason = "they are the standard's own")]
mod avx512 {
    //! A row is a word of each message.

    use std::arch::x86_64::{
        __m512i as Row, _mm_extract_epi32, _mm512_add_epi32, _mm512_extracti32x4_epi32, _mm512_ror_epi32,
        _mm512_set_epi32, _mm512_set1_epi32, _mm512_srli_epi32, _mm512_ternarylogic_epi32, _mm512_xor_si512,
    };

    use super::{Derivation, Each};

    type State = [Row; 8];
    type Block = [Row; 16];

    /// FIPS 180-4, section 4.2.2.
    const CONSTANTS: [u32; 64] = [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ];

    /// FIPS 180-4, section 5.3.3.
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    /// What follows a message in its last block.
    const END: u32 = 0x8000_0000;

    #[target_feature(enable = "avx512f")]
    pub(super) fn derive(derivation: &Derivation<'_>) -> Each<32> {
        match *derivation {
            Derivation::Pbkdf2 { passwords, salts, iterations } => pbkdf2(passwords, salts, iterations),
            Derivation::ShaCrypt { first, passwords, salts, rounds } => {
                sha_crypt(first, (passwords, salts), rounds)
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn pbkdf2(passwords: &Each<32>, salts: &Each<16>, iterations: u32) -> Each<32> {
        let key: [Row; 8] = rows(passwords);
        let (inner, outer) = (padded(&key, 0x3636_3636), padded(&key, 0x5c5c_5c5c));
        let salt: [Row; 4] = rows(salts);
        // After a block with the key: the salt and the number of the block that is derived.
        let mut block = ended(&salt, 64 + 20);
        block[4] = all(1);
        block[5] = all(END);
        let of_inner = compress(&inner, &block);
        let mut last = compress(&outer, &ended(&of_inner, 64 + 32));
        let mut derived = last;
        for _ in 1..iterations {
            let of_inner = compress(&inner, &ended(&last, 64 + 32));
            last = compress(&outer, &ended(&of_inner, 64 + 32));
            for (row, new) in derived.iter_mut().zip(&last) {
                *row = _mm512_xor_si512(*row, *new);
            }
        }
        bytes(&derived)
    }

    /// The state after a block with the key and a filling.
    #[target_feature(enable = "avx512f")]
    fn padded(key: &[Row; 8], filling: u32) -> State {
        let mut block: Block = [all(filling); 16];
        for (row, word) in block.iter_mut().zip(key) {
            *row = _mm512_xor_si512(*row, *word);
        }
        compress(&initial(), &block)
    }

    /// A last block: words, the end, and how many bytes the whole message has.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn ended<const N: usize>(words: &[Row; N], length: u32) -> Block {
        let mut block: Block = [all(0); 16];
        block[..N].copy_from_slice(words);
        block[N] = all(END);
        block[15] = all(8 * length);
        block
    }

    #[target_feature(enable = "avx512f")]
    fn sha_crypt(first: &Each<32>, (passwords, salts): (&Each<32>, &Each<20>), rounds: usize) -> Each<32> {
        let (password, salt): ([Row; 8], [Row; 5]) = (rows(passwords), rows(salts));
        let mut last: State = rows(first);
        for round in 0..rounds {
            let salted: &[Row] = if round % 3 == 0 { &[] } else { &salt };
            let again: &[Row] = if round % 7 == 0 { &[] } else { &password };
            let odd = round % 2 == 1;
            let (head, tail): (&[Row], &[Row]) = if odd { (&password, &last) } else { (&last, &password) };
            // 16 to 29 words: two blocks in any case.
            let (mut message, mut length) = ([all(0); 32], 0);
            for part in [head, salted, again, tail] {
                message[length..length + part.len()].copy_from_slice(part);
                length += part.len();
            }
            message[length] = all(END);
            message[31] = all(u32::try_from(32 * length).unwrap_or(0));
            let (one, two) = message.split_at(16);
            let mut state = initial();
            for half in [one, two] {
                let mut block: Block = [all(0); 16];
                block.copy_from_slice(half);
                state = compress(&state, &block);
            }
            last = state;
        }
        bytes(&last)
    }

    /// FIPS 180-4, section 6.2.2.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn compress(state: &State, block: &Block) -> State {
        let mut words = *block;
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        for round in 0..64 {
            let at = round % 16;
            if round >= 16 {
                let (early, late) = (words[(round + 1) % 16], words[(round + 14) % 16]);
                let small = xor(
                    _mm512_ror_epi32::<7>(early),
                    _mm512_ror_epi32::<18>(early),
                    _mm512_srli_epi32::<3>(early),
                );
                let large = xor(
                    _mm512_ror_epi32::<17>(late),
                    _mm512_ror_epi32::<19>(late),
                    _mm512_srli_epi32::<10>(late),
                );
                words[at] = add(add(words[at], small), add(words[(round + 9) % 16], large));
            }
            let mixed = xor(_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e));
            // Truth tables: "e ? f : g", and "two of three".
            let chosen = _mm512_ternarylogic_epi32::<0xca>(e, f, g);
            let one = add(add(add(h, mixed), add(chosen, all(CONSTANTS[round]))), words[at]);
            let mixed = xor(_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a));
            let two = add(mixed, _mm512_ternarylogic_epi32::<0xe8>(a, b, c));
            (h, g, f, e, d, c, b, a) = (g, f, e, add(d, one), c, b, a, add(one, two));
        }
        let mut new = [a, b, c, d, e, f, g, h];
        for (row, old) in new.iter_mut().zip(state) {
            *row = add(*row, *old);
        }
        new
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn initial() -> State {
        let mut state = [all(0); 8];
        for (row, word) in state.iter_mut().zip(INITIAL) {
            *row = all(word);
        }
        state
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn all(word: u32) -> Row {
        _mm512_set1_epi32(word.cast_signed())
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn add(a: Row, b: Row) -> Row {
        _mm512_add_epi32(a, b)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn xor(a: Row, b: Row, c: Row) -> Row {
        _mm512_ternarylogic_epi32::<0x96>(a, b, c)
    }

    /// Words of messages as rows: the first `R`.
    #[target_feature(enable = "avx512f")]
    fn rows<const N: usize, const R: usize>(messages: &Each<N>) -> [Row; R] {
        let mut rows = [all(0); R];
        for (at, row) in rows.iter_mut().enumerate() {
            let of = |lane: usize| {
                let bytes = messages[lane].get(4 * at..4 * at + 4).and_then(|bytes| bytes.try_into().ok());
                i32::from_be_bytes(bytes.unwrap_or_default())
            };
            *row = _mm512_set_epi32(
                of(15),
                of(14),
                of(13),
                of(12),
                of(11),
                of(10),
                of(9),
                of(8),
                of(7),
                of(6),
                of(5),
                of(4),
                of(3),
                of(2),
                of(1),
                of(0),
            );
        }
        rows
    }

    /// Rows as the bytes of each message.
    #[target_feature(enable = "avx512f")]
    fn bytes(rows: &State) -> Each<32> {
        let mut messages = [[0; 32]; 16];
        for (at, row) in rows.iter().enumerate() {
            let quarters = [
                _mm512_extracti32x4_epi32::<0>(*row),
                _mm512_extracti32x4_epi32::<1>(*row),
                _mm512_extracti32x4_epi32::<2>(*row),
                _mm512_extracti32x4_epi32::<3>(*row),
            ];
            for (which, quarter) in quarters.into_iter().enumerate() {
                let words = [
                    _mm_extract_epi32::<0>(quarter),
                    _mm_extract_epi32::<1>(quarter),
                    _mm_extract_epi32::<2>(quarter),
                    _mm_extract_epi32::<3>(quarter),
                ];
                for (word, message) in words.iter().zip(&mut messages[4 * which..4 * which + 4]) {
                    message[4 * at..4 * at + 4].copy_from_slice(&word.to_be_bytes());
                }
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use aws_lc_rs::pbkdf2;

    use super::*;
    use crate::random::{Random as _, SeededRandom};

    fn drawn<const N: usize>(random: &SeededRandom) -> Each<N> {
        let mut each = [[0; N]; LANES];
        for bytes in &mut each {
            random.fill(bytes);
        }
        each
    }

    #[test]
    fn sixteen_keys_are_those_of_the_library() {
        let random = SeededRandom::new(11);
        for iterations in [1, 2, 3, 4096] {
            let (passwords, salts) = (drawn(&random), drawn(&random));
            let derivation = Derivation::Pbkdf2 { passwords: &passwords, salts: &salts, iterations };
            let Some(keys) = derive(&derivation) else {
                assert!(!is_here());
                return;
            };
            for ((password, salt), key) in passwords.iter().zip(&salts).zip(&keys) {
                let iterations = NonZeroU32::new(iterations).unwrap();
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::verify(algorithm, iterations, salt, password, key).unwrap();
            }
        }
    }
}
