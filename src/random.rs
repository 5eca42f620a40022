//! Chance as a parameter: everything that draws randomness takes a [`Random`].

use std::sync::{Mutex, PoisonError};

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

/// A source of randomness.
pub trait Random: Send + Sync {
    /// Fills a buffer.
    fn fill(&self, buffer: &mut [u8]);

    /// A number below `bound`, uniformly (no modulo bias); 0 when `bound` is 0.
    fn below(&self, bound: u32) -> u32;

    /// 64 random bits.
    fn bits(&self) -> u64 {
        let mut buffer = [0; 8];
        self.fill(&mut buffer);
        u64::from_le_bytes(buffer)
    }
}

/// The operating system's randomness, through a `ChaCha` generator per thread that is reseeded from it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

#[expect(clippy::disallowed_methods, reason = "the one place where ambient randomness enters")]
impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        rand::rng().fill_bytes(buffer);
    }

    fn below(&self, bound: u32) -> u32 {
        if bound == 0 { 0 } else { rand::rng().random_range(0..bound) }
    }
}

/// A reproducible sequence, for tests and simulations. Never for secrets in service.
#[derive(Debug)]
pub struct SeededRandom(Mutex<StdRng>);

impl SeededRandom {
    /// The sequence that belongs to a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buffer);
    }

    fn below(&self, bound: u32) -> u32 {
        if bound == 0 {
            0
        } else {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..bound)
        }
    }
}
