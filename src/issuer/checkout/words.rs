//! What those are told who ask for an account that somebody else holds.

use jiff::Timestamp;

use crate::{
    domain::{Lease, LeaseState, PrincipalName},
    identity::Caller,
    policy,
};

/// How an account stands, for somebody who asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// Nobody holds it; who waited longest is given a moment to ask again.
    Kept,
    /// It is being handed out.
    Beginning,
    /// Somebody holds it.
    Held {
        /// By whom.
        by: &'a PrincipalName,
        /// Until when.
        until: Timestamp,
    },
    /// It is being taken back.
    Ending,
}

impl<'a> Standing<'a> {
    /// By the lease it is held for.
    pub(super) fn of(holder: Option<&'a Lease>) -> Self {
        let Some(lease) = holder else { return Standing::Kept };
        match lease.state {
            LeaseState::Provisioning { .. } => Standing::Beginning,
            LeaseState::Active { expires_at } => {
                Standing::Held { by: &lease.principal.name, until: expires_at }
            }
            LeaseState::Ending { .. } | LeaseState::Ended { .. } => Standing::Ending,
        }
    }

    /// Until when it is held, as far as that is known.
    pub(super) fn until(self) -> Option<Timestamp> {
        match self {
            Standing::Held { until, .. } => Some(until),
            Standing::Kept | Standing::Beginning | Standing::Ending => None,
        }
    }

    /// In words. By whom it is held is for administrators, and for the holder.
    pub(super) fn words(self, account: &str, caller: &Caller) -> String {
        match self {
            Standing::Kept => format!("the account {account} is kept for who waits longest"),
            Standing::Beginning => format!("the account {account} is being handed to somebody else"),
            Standing::Held { by, until } if *by == caller.principal.name => {
                format!("you hold the account {account} already, until {until:.0}")
            }
            Standing::Held { by, until } if policy::is_administrator(&caller.principal) => {
                format!("the account {account} is held by {by} until {until:.0}")
            }
            Standing::Held { until, .. } => format!("the account {account} is held until {until:.0}"),
            Standing::Ending => format!("the account {account} is being taken back"),
        }
    }
}

/// `1st`, `2nd`, `11th`.
pub(super) fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (1, hundred) if hundred != 11 => "st",
        (2, hundred) if hundred != 12 => "nd",
        (3, hundred) if hundred != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// A number of those who wait, as part of a sentence.
pub(super) fn waiting(number: usize) -> String {
    match number {
        0 => "nobody waits for it".to_owned(),
        1 => "1 waits for it".to_owned(),
        more => format!("{more} wait for it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{ADMINISTRATORS, Principal, PrincipalKind, TokenId},
        identity::Credential,
    };

    fn caller(name: &str, groups: &[&str]) -> Caller {
        Caller {
            principal: Principal {
                name: name.parse().unwrap(),
                kind: PrincipalKind::Human,
                groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
                attributes: [].into(),
            },
            second_factor_at: None,
            credential: Credential::Token(TokenId::new(Timestamp::UNIX_EPOCH, 0)),
            address: None,
        }
    }

    #[test]
    fn numbers_are_counted_as_people_do() {
        for (number, expected) in [
            (1, "1st"),
            (2, "2nd"),
            (3, "3rd"),
            (4, "4th"),
            (11, "11th"),
            (12, "12th"),
            (13, "13th"),
            (21, "21st"),
            (112, "112th"),
        ] {
            assert_eq!(ordinal(number), expected);
        }
    }

    #[test]
    fn who_holds_it_is_told_to_administrators_only() {
        let (bob, until) = ("bob".parse().unwrap(), Timestamp::from_second(1_795_305_600).unwrap());
        let held = Standing::Held { by: &bob, until };
        for (caller, expected) in [
            (caller("alice", &[]), "the account app is held until 2026-11-22T00:00:00Z"),
            (caller("root", &[ADMINISTRATORS]), "the account app is held by bob until 2026-11-22T00:00:00Z"),
            (caller("bob", &[]), "you hold the account app already, until 2026-11-22T00:00:00Z"),
        ] {
            assert_eq!(held.words("app", &caller), expected);
        }
    }
}
