//! The questions this program answers.

use super::Outcome;

/// A question, and the first word of the names of its figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// How fast credentials are issued.
    Issuing,
    /// What many live accounts cost.
    Growth,
    /// Thousands of leases that expire in the same second.
    Storm,
    /// A store with a million leases.
    Leases,
    /// What it takes when there is nothing to do.
    Idle,
    /// More than it can do.
    Load,
}

impl Section {
    /// All, in the order they are measured.
    pub(crate) const ALL: [Self; 6] =
        [Self::Issuing, Self::Growth, Self::Storm, Self::Leases, Self::Idle, Self::Load];

    /// Its name on the command line and in figures.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Issuing => "issuing",
            Self::Growth => "growth",
            Self::Storm => "storm",
            Self::Leases => "leases",
            Self::Idle => "idle",
            Self::Load => "load",
        }
    }

    /// The one that is called so.
    pub(crate) fn named(name: &str) -> Outcome<Self> {
        let found = Self::ALL.into_iter().find(|section| section.as_str() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("there is no section {name}: there are {names}").into()
        })
    }
}
