//! Accounts that were on a target before Mayfly came, and stay when it goes.

use std::fmt;

use super::{Account, AccountName, HostPattern};

/// Bytes a name may have at most, whatever the engine.
const LONGEST: usize = 80;

/// An account that Mayfly neither created nor may ever drop: what creates and drops takes no such thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExistingAccount {
    name: AccountName,
    hosts: Vec<HostPattern>,
}

/// Why a text names no existing account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExistingAccountError {
    /// Nothing, too much, or what no name has.
    #[error("an account's name is 1 to {LONGEST} bytes without control characters")]
    Form,
    /// The name of an account that Mayfly makes.
    #[error("an account whose name begins with mf_ is one that Mayfly makes and drops; name one of your own")]
    Ours,
}

impl ExistingAccount {
    /// An account by its name, and on MySQL and MariaDB the host part.
    ///
    /// # Errors
    /// When it could be taken for an account that Mayfly makes, or no account has such a name.
    pub fn new(name: &str, hosts: Vec<HostPattern>) -> Result<Self, ExistingAccountError> {
        if name.is_empty() || name.len() > LONGEST || name.chars().any(char::is_control) {
            return Err(ExistingAccountError::Form);
        }
        match AccountName::existing(name) {
            Some(name) => Ok(Self { name, hosts }),
            None => Err(ExistingAccountError::Ours),
        }
    }

    /// The account of a lease; `None`: it is one that Mayfly made.
    pub fn of(account: &Account) -> Option<Self> {
        Self::new(account.name.as_str(), account.hosts.clone()).ok()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Where it may connect from; empty on PostgreSQL.
    pub fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }

    /// As a lease has it.
    pub fn account(&self) -> Account {
        Account { name: self.name.clone(), hosts: self.hosts.clone() }
    }
}

/// `name`, or `name@host`.
impl fmt::Display for ExistingAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&str> = self.hosts.iter().map(HostPattern::as_str).collect();
        let at = if hosts.is_empty() { "" } else { "@" };
        write!(f, "{}{at}{}", self.name, hosts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_an_account_of_mayflys_is_refused() {
        for name in ["mf_", "mf_orders_alice_06dp4f2h9c8x1k3m7q0r", "mf_x", "MF_x"] {
            assert_eq!(ExistingAccount::new(name, Vec::new()), Err(ExistingAccountError::Ours), "{name}");
        }
        for name in ["", "a\0b", "a\nb", &"x".repeat(81)] {
            assert_eq!(ExistingAccount::new(name, Vec::new()), Err(ExistingAccountError::Form), "{name:?}");
        }
        for name in ["alice", "xmf_", r#"a"; DROP ROLE "b"#, "m'f_"] {
            assert_eq!(ExistingAccount::new(name, Vec::new()).unwrap().name(), name);
        }
    }

    #[test]
    fn it_reads_as_people_write_it() {
        let account = ExistingAccount::new("alice", vec![HostPattern::any()]).unwrap();
        assert_eq!(account.to_string(), "alice@%");
        assert_eq!(ExistingAccount::of(&account.account()), Some(account));
    }
}
