//! Names of the accounts Mayfly creates on a target.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Engine, LeaseId, PrincipalName, RoleName};

/// Every account Mayfly creates begins with this mark.
const MARK: &str = "mf_";

/// The name of an account. That of one made for a lease is `mf_<role>_<principal>_<lease>`, cleaned to `a-z0-9` and cut to the engine's limit.
/// The lease part is never cut, so the name is unique by construction and maps back to its lease without the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountName(String);

impl AccountName {
    /// Composes the name of the account that serves `lease` on an engine.
    pub fn compose(engine: Engine, role: &RoleName, principal: &PrincipalName, lease: LeaseId) -> Self {
        let lease = lease.to_string();
        let room = engine.account_name_limit().saturating_sub(MARK.len() + 1 + lease.len());
        let (role, principal) = (clean(role.as_str()), clean(principal.as_str()));
        let (role, principal) = share(&role, &principal, room);
        let parts: Vec<&str> =
            [role, principal, &lease].into_iter().filter(|part| !part.is_empty()).collect();
        Self(format!("{MARK}{}", parts.join("_")))
    }

    /// The lease an account of this name serves; `None` when the name is not one of ours.
    pub fn lease_of(name: &str) -> Option<LeaseId> {
        name.strip_prefix(MARK)?.rsplit('_').next()?.parse().ok()
    }

    /// The name of an account as a target shows it; `None` when it is not one of ours.
    pub fn found(name: &str) -> Option<Self> {
        Self::lease_of(name).map(|_| Self(name.to_owned()))
    }

    /// The name of an account that was there before Mayfly; `None` when it could be taken for one of ours.
    pub(super) fn existing(name: &str) -> Option<Self> {
        let ours = name.get(..MARK.len()).is_some_and(|start| start.eq_ignore_ascii_case(MARK));
        (!ours).then(|| Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn clean(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Cuts two ASCII texts so that both and the `_` between them fit into `room`; what one leaves free, the other gets.
fn share<'a>(left: &'a str, right: &'a str, room: usize) -> (&'a str, &'a str) {
    let room = room.saturating_sub(1);
    let half = room.div_ceil(2);
    let left_len = left.len().min(half.max(room.saturating_sub(right.len())));
    let right_len = right.len().min(room.saturating_sub(left_len));
    (left.get(..left_len).unwrap_or(left), right.get(..right_len).unwrap_or(right))
}

/// Where a MySQL or MariaDB account may connect from: the host part of `'user'@'host'`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(String);

/// Why a host pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a host pattern: 1 to 255 of a-z, A-Z, 0-9, and . : - _ % / (as in \"10.0.0.%\" or \"%.example.com\")"
)]
pub struct HostPatternError;

impl HostPattern {
    /// From anywhere: `%`.
    pub fn any() -> Self {
        Self("%".to_owned())
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let accepted = |c: char| c.is_ascii_alphanumeric() || ".:-_%/".contains(c);
        if text.is_empty() || text.len() > 255 || !text.chars().all(accepted) {
            return Err(HostPatternError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<Self, HostPatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> String {
        pattern.0
    }
}

/// An account on a target, as far as one needs to know it to act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// MySQL and MariaDB: one account per pattern exists. Empty on PostgreSQL, which has no host part.
    pub hosts: Vec<HostPattern>,
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn lease() -> LeaseId {
        LeaseId::new(Timestamp::from_second(1_795_305_600).unwrap(), 42)
    }

    fn compose(engine: Engine, role: &str, principal: &str) -> AccountName {
        AccountName::compose(engine, &role.parse().unwrap(), &principal.parse().unwrap(), lease())
    }

    #[test]
    fn fits_every_engine_and_maps_back_to_the_lease() {
        let long = "x".repeat(63);
        for engine in [Engine::Postgres, Engine::Mysql, Engine::Mariadb] {
            for (role, principal) in [
                ("orders-read", "alice@example.com"),
                ("r", "p"),
                (&*long, &*long),
                ("r", &long),
                (&long, "p"),
            ] {
                let name = compose(engine, role, principal);
                assert!(name.as_str().len() <= engine.account_name_limit(), "{name}");
                assert_eq!(AccountName::lease_of(name.as_str()), Some(lease()), "{name}");
                assert!(
                    name.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                );
            }
        }
    }

    #[test]
    fn is_readable_and_uses_the_room_there_is() {
        let id = lease();
        assert_eq!(
            compose(Engine::Postgres, "orders-read", "Alice").as_str(),
            format!("mf_ordersread_alice_{id}")
        );
        assert_eq!(compose(Engine::Mysql, "orders-read", "alice").as_str(), format!("mf_orde_ali_{id}"));
        assert_eq!(compose(Engine::Mysql, "ro", "alice").as_str(), format!("mf_ro_alice_{id}"));
        assert_eq!(compose(Engine::Mysql, "orders", "al").as_str(), format!("mf_order_al_{id}"));
    }

    #[test]
    fn foreign_accounts_are_not_ours() {
        for name in [
            "postgres",
            "mf_",
            "mf_orders_alice",
            "xmf_a_b_06dp4f2h9c8x1k3m7q0r",
            "mf_a_b_06dp4f2h9c8x1k3m7q0",
        ] {
            assert_eq!(AccountName::lease_of(name), None, "{name}");
        }
    }

    #[test]
    fn host_patterns_are_checked() {
        for text in ["%", "10.0.0.%", "%.example.com", "192.168.0.0/255.255.0.0", "::1", "localhost"] {
            assert!(text.parse::<HostPattern>().is_ok(), "{text}");
        }
        for text in ["", "a'b", "a b", "a;b", "a\0", "ü", &"a".repeat(256)] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }
}
