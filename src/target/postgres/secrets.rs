//! Passwords with their verifiers, of as many iterations as a role asks for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use zeroize::Zeroizing;

use super::verifier;
use crate::{
    domain::Password,
    random::Random,
    target::{
        Secret, TargetError, Verifier, generate_password,
        stock::{Maker, Stock},
        wide::LANES,
    },
};

/// Up to here a verifier takes less time (a few microseconds) than handing the work to another thread does.
const BRIEF: u32 = 16;

/// Numbers of iterations that there is a stock of; of further ones there are none when more come.
const KINDS: usize = 16;

/// Where secrets come from.
pub(super) struct Secrets {
    random: Arc<dyn Random>,
    stocks: Mutex<BTreeMap<u32, Arc<Stock>>>,
}

impl Secrets {
    pub(super) fn new(random: Arc<dyn Random>) -> Self {
        Self { random, stocks: Mutex::default() }
    }

    /// What they are drawn with.
    pub(super) fn random(&self) -> Arc<dyn Random> {
        Arc::clone(&self.random)
    }

    /// A fresh password and its verifier of so many iterations.
    pub(super) async fn draw(&self, iterations: u32) -> Result<Secret, TargetError> {
        if iterations <= BRIEF {
            return Ok(draw(&*self.random, iterations));
        }
        self.stock(iterations).take().await
    }

    fn stock(&self, iterations: u32) -> Arc<Stock> {
        let mut stocks = self.stocks.lock().unwrap_or_else(PoisonError::into_inner);
        if stocks.len() >= KINDS && !stocks.contains_key(&iterations) {
            stocks.clear();
        }
        let make = || Stock::new(Scram { random: Arc::clone(&self.random), iterations });
        Arc::clone(stocks.entry(iterations).or_insert_with(make))
    }
}

/// Draws a password and computes its verifier.
fn draw(random: &dyn Random, iterations: u32) -> Secret {
    let password = generate_password(random);
    let verifier = verifier::scram_sha_256(password.expose(), iterations, random);
    Secret { password, verifier: Verifier::new(verifier) }
}

/// Makes secrets of so many iterations.
struct Scram {
    random: Arc<dyn Random>,
    iterations: u32,
}

impl Maker for Scram {
    fn one(&self) -> Result<Secret, TargetError> {
        Ok(draw(&*self.random, self.iterations))
    }

    fn sixteen(&self) -> Option<Vec<Secret>> {
        let passwords: Vec<Password> = (0..LANES).map(|_| generate_password(&*self.random)).collect();
        let mut bytes = Zeroizing::new([[0; 32]; LANES]);
        for (bytes, password) in bytes.iter_mut().zip(&passwords) {
            *bytes = password.expose().as_bytes().try_into().ok()?;
        }
        let verifiers = verifier::scram_sha_256_of_each(&bytes, self.iterations, &*self.random)?;
        let secret = |(password, verifier)| Secret { password, verifier: Verifier::new(verifier) };
        Some(passwords.into_iter().zip(verifiers).map(secret).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random::SeededRandom, target::wide};

    #[test]
    fn sixteen_verifiers_are_each_that_of_its_password() {
        for iterations in [17, 4096] {
            let maker = Scram { random: Arc::new(SeededRandom::new(5)), iterations };
            let Some(secrets) = maker.sixteen() else {
                assert!(!wide::is_here());
                return;
            };
            assert_eq!(secrets.len(), LANES);
            for secret in &secrets {
                let again = verifier::again(secret.password.expose(), secret.verifier.as_str());
                assert_eq!(again, secret.verifier.as_str());
            }
            let salt = |secret: &Secret| secret.verifier.as_str().split('$').nth(1).map(str::to_owned);
            let salts: std::collections::BTreeSet<_> = secrets.iter().map(salt).collect();
            assert_eq!(salts.len(), LANES, "a salt is there twice");
        }
    }
}
