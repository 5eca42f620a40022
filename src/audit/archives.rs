//! The archived beginnings of chains, read from files, that a store's own records continue.

use super::{ChainVerifier, ChainsError, ChainsVerifier};

/// Chains whose archived records were verified, to be gone on with.
#[derive(Debug, Default)]
pub struct Archives(Vec<ChainVerifier>);

impl Archives {
    /// Those of some chains. The records of each have been taken, in order.
    pub fn of(chains: Vec<ChainVerifier>) -> Self {
        Self(chains)
    }

    /// What is archived of a chain, or the beginning of one of which nothing is. A chain without a name goes on with an archive that
    /// names none.
    pub fn take(&mut self, name: Option<&str>) -> ChainVerifier {
        let position = self.0.iter().position(|chain| chain.name() == name);
        // A store of a single process does not name its chain; nor do its archives, when they are of before others were moved there.
        let nameless = || self.0.iter().position(|chain| chain.name().is_none());
        match position.or_else(nameless) {
            Some(position) => self.0.swap_remove(position).named(name),
            None => ChainVerifier::new(name.map(str::to_owned)),
        }
    }

    /// Has archives of chains verified that are nowhere else.
    ///
    /// # Errors
    /// When something is wrong with one of them.
    pub fn add_rest(self, all: &mut ChainsVerifier) -> Result<(), ChainsError> {
        self.0.into_iter().try_for_each(|chain| all.add(chain))
    }
}
