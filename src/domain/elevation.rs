//! Which groups an existing account was given, and by which leases: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Account, ExistingAccount, LeaseId, TargetName};

/// What Mayfly has to do with an account's groups. It is kept also while there is nothing: its changes are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elevation {
    /// The target.
    pub target: TargetName,
    /// The account there.
    pub account: Account,
    /// The groups.
    pub groups: BTreeMap<String, Held>,
}

/// Who holds a group for an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The account had it before Mayfly came: it is neither given nor taken away.
    pub had_before: bool,
    /// The leases it is held for. None, of a group that was given: it is being taken away.
    pub leases: BTreeSet<LeaseId>,
    /// The leases that held it last, until it is taken away.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub leaving: BTreeSet<LeaseId>,
}

impl Elevation {
    /// Of an account that nothing was given to yet.
    pub fn new(target: TargetName, account: &ExistingAccount) -> Self {
        Self { target, account: account.account(), groups: BTreeMap::new() }
    }

    /// What an account's is known by.
    pub fn id_of(target: &TargetName, account: &ExistingAccount) -> String {
        format!("{target}/{account}")
    }

    /// Holds groups for a lease. `has` is what the account is a member of as it stands.
    pub fn hold(&mut self, lease: LeaseId, groups: &[String], has: &BTreeSet<String>) {
        for group in groups {
            let new = || Held { had_before: has.contains(group), ..Held::default() };
            self.groups.entry(group.clone()).or_insert_with(new).leases.insert(lease);
        }
    }

    /// Holds nothing for a lease any more. Whether that changed anything.
    pub fn let_go(&mut self, lease: LeaseId) -> bool {
        let before = self.groups.clone();
        self.groups.retain(|_, held| {
            if held.leases.remove(&lease) && !held.had_before {
                held.leaving.insert(lease);
            }
            !(held.had_before && held.leases.is_empty())
        });
        self.groups != before
    }

    /// Notes groups that an account may have been given although no lease holds them: they are to be taken away.
    pub fn note_stray(&mut self, groups: &[String]) {
        for group in groups {
            self.groups.entry(group.clone()).or_default();
        }
    }

    /// The groups that the account is to have because of leases.
    pub fn given(&self) -> Vec<String> {
        self.names(|held| !held.had_before && !held.leases.is_empty())
    }

    /// Those of them that it is to have because of this lease.
    pub fn given_to(&self, lease: LeaseId) -> Vec<String> {
        self.names(|held| !held.had_before && held.leases.contains(&lease))
    }

    /// The groups that are to be taken away.
    pub fn surrendered(&self) -> Vec<String> {
        self.names(|held| !held.had_before && held.leases.is_empty())
    }

    /// What was to be taken away was.
    pub fn forget_surrendered(&mut self) {
        self.groups.retain(|_, held| held.had_before || !held.leases.is_empty());
        self.groups.values_mut().for_each(|held| held.leaving.clear());
    }

    /// The leases that hold anything, or did last.
    pub fn leases(&self) -> BTreeSet<LeaseId> {
        self.groups.values().flat_map(|held| held.leases.union(&held.leaving).copied()).collect()
    }

    fn names(&self, which: impl Fn(&Held) -> bool) -> Vec<String> {
        self.groups.iter().filter(|(_, held)| which(held)).map(|(group, _)| group.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn lease(number: u64) -> LeaseId {
        LeaseId::new(Timestamp::UNIX_EPOCH, number)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn elevation() -> Elevation {
        let account = ExistingAccount::new("alice", Vec::new()).unwrap();
        Elevation::new("shop".parse().unwrap(), &account)
    }

    #[test]
    fn one_that_ends_takes_nothing_from_another() {
        let mut elevation = elevation();
        elevation.hold(lease(1), &names(&["read", "write"]), &BTreeSet::new());
        elevation.hold(lease(2), &names(&["read"]), &names(&["read", "write"]).into_iter().collect());
        assert_eq!(elevation.given(), ["read", "write"]);
        assert!(elevation.let_go(lease(1)));
        assert!(!elevation.let_go(lease(1)));
        assert_eq!((elevation.given(), elevation.surrendered()), (names(&["read"]), names(&["write"])));
        elevation.forget_surrendered();
        assert!(elevation.let_go(lease(2)));
        assert_eq!((elevation.given(), elevation.surrendered()), (names(&[]), names(&["read"])));
        elevation.forget_surrendered();
        assert!(elevation.groups.is_empty());
    }

    #[test]
    fn what_the_account_had_before_is_neither_given_nor_taken() {
        let mut elevation = elevation();
        elevation.hold(lease(1), &names(&["read", "write"]), &["read".to_owned()].into());
        assert_eq!(elevation.given_to(lease(1)), ["write"]);
        elevation.let_go(lease(1));
        assert_eq!(elevation.surrendered(), ["write"]);
        assert!(!elevation.groups.contains_key("read"));
    }

    #[test]
    fn a_group_that_is_held_again_while_it_is_taken_away_was_given() {
        let mut elevation = elevation();
        elevation.hold(lease(1), &names(&["read"]), &BTreeSet::new());
        elevation.let_go(lease(1));
        // It is still there; yet it is ours.
        elevation.hold(lease(2), &names(&["read"]), &["read".to_owned()].into());
        assert_eq!((elevation.given(), elevation.surrendered()), (names(&["read"]), names(&[])));
    }

    #[test]
    fn it_survives_the_store() {
        let mut elevation = elevation();
        elevation.hold(lease(1), &names(&["read"]), &BTreeSet::new());
        let text = serde_json::to_string(&elevation).unwrap();
        assert_eq!(serde_json::from_str::<Elevation>(&text).unwrap(), elevation);
    }
}
