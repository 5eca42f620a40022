//! Accounts as they stand on a target, and how that differs from what their leases say.

use jiff::{SignedDuration, Timestamp};

use super::{Account, AccountName, HostPattern, LeaseId, Mark};

/// How far an expiry on the target may lie from the lease's without being drift: clocks are measured, not equal.
pub const EXPIRY_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// An account whose name is one of ours, as a target shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAccount {
    /// Its name and, on MySQL and MariaDB, all hosts it exists for, sorted.
    pub account: Account,
    /// Its mark; `None`: it has none, or none that can be read.
    pub mark: Option<Mark>,
    /// Whether it may log in, as far as being locked goes (on any host); its expiry is told apart.
    pub may_log_in: bool,
    /// When the target itself refuses it, on our clock; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Database group roles it is a direct member of, sorted.
    pub member_of: Vec<String>,
    /// What it may do that no leased account may, in the engine's words (`SUPERUSER`, `CREATEROLE`, `GRANT OPTION`, …), sorted.
    pub powers: Vec<String>,
}

impl FoundAccount {
    /// The lease its name tells.
    pub fn lease(&self) -> Option<LeaseId> {
        AccountName::lease_of(self.account.name.as_str())
    }
}

/// What an account should be like while its lease stands as it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<'a> {
    /// The account of the lease.
    pub account: &'a Account,
    /// When it expires; `None`: it must not be able to log in at all.
    pub expires_at: Option<Timestamp>,
    /// The groups it is in; none when it must not be able to log in.
    pub member_of: &'a [String],
}

/// One way in which an account differs from what its lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// The target would let it in for longer than agreed; `None`: for ever.
    LivesLonger {
        /// Until when, on our clock.
        until: Option<Timestamp>,
    },
    /// The target lets it in for less long than agreed.
    EndsEarlier {
        /// Until when, on our clock.
        until: Timestamp,
    },
    /// It may log in although it must not.
    LoginEnabled,
    /// It may not log in although it should.
    LoginDisabled,
    /// It is a member of a group it was not put into.
    JoinedGroup(String),
    /// It is no longer a member of a group it was put into.
    LeftGroup(String),
    /// It was given what no leased account is given.
    GainedPower(String),
    /// It exists for a host it was not created for (MySQL and MariaDB).
    GainedHost(String),
}

impl Drift {
    /// Whether it lets the holder do more than was agreed. The rest only does harm to the holder.
    pub fn widens(&self) -> bool {
        match self {
            Drift::LivesLonger { .. }
            | Drift::LoginEnabled
            | Drift::JoinedGroup(_)
            | Drift::GainedPower(_)
            | Drift::GainedHost(_) => true,
            Drift::EndsEarlier { .. } | Drift::LoginDisabled | Drift::LeftGroup(_) => false,
        }
    }
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Drift::LivesLonger { until: Some(until) } => write!(f, "expires later than agreed, at {until}"),
            Drift::LivesLonger { until: None } => f.write_str("never expires on the target"),
            Drift::EndsEarlier { until } => write!(f, "expires earlier than agreed, at {until}"),
            Drift::LoginEnabled => f.write_str("may log in, which it must not any more"),
            Drift::LoginDisabled => f.write_str("may not log in"),
            Drift::JoinedGroup(group) => write!(f, "became a member of {group}"),
            Drift::LeftGroup(group) => write!(f, "is no longer a member of {group}"),
            Drift::GainedPower(power) => write!(f, "was given {power}"),
            Drift::GainedHost(host) => write!(f, "exists for the host {host} as well"),
        }
    }
}

/// How an account differs from what is expected of it; empty: not at all. An expiry is compared only where the target keeps one
/// (`keeps_expiry`).
pub fn drift(expected: &Expected<'_>, found: &FoundAccount, keeps_expiry: bool) -> Vec<Drift> {
    let mut drift = Vec::new();
    match expected.expires_at {
        None if found.may_log_in => drift.push(Drift::LoginEnabled),
        Some(_) if !found.may_log_in => drift.push(Drift::LoginDisabled),
        Some(agreed) if keeps_expiry => drift.extend(expiry_drift(agreed, found.expires_at)),
        None | Some(_) => {}
    }
    let joined = found.member_of.iter().filter(|group| !expected.member_of.contains(group));
    drift.extend(joined.cloned().map(Drift::JoinedGroup));
    let left = expected.member_of.iter().filter(|group| !found.member_of.contains(group));
    drift.extend(left.cloned().map(Drift::LeftGroup));
    drift.extend(found.powers.iter().cloned().map(Drift::GainedPower));
    // Servers keep hosts in lower case.
    let agreed = |host: &&HostPattern| {
        expected.account.hosts.iter().any(|agreed| agreed.as_str().eq_ignore_ascii_case(host.as_str()))
    };
    let hosts = found.account.hosts.iter().filter(|host| !agreed(host));
    drift.extend(hosts.map(|host| Drift::GainedHost(host.as_str().to_owned())));
    drift
}

fn expiry_drift(agreed: Timestamp, found: Option<Timestamp>) -> Option<Drift> {
    let Some(until) = found else { return Some(Drift::LivesLonger { until: None }) };
    let difference = until.duration_since(agreed);
    if difference > EXPIRY_TOLERANCE {
        Some(Drift::LivesLonger { until: Some(until) })
    } else if difference < -EXPIRY_TOLERANCE {
        Some(Drift::EndsEarlier { until })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Engine, HostPattern};

    fn account(hosts: &[&str]) -> Account {
        let lease = LeaseId::new(Timestamp::from_second(1_795_305_600).unwrap(), 42);
        let hosts = hosts.iter().map(|host| host.parse::<HostPattern>().unwrap()).collect();
        let name = AccountName::compose(Engine::Mysql, &"r".parse().unwrap(), &"p".parse().unwrap(), lease);
        Account { name, hosts }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_305_600 + second).unwrap()
    }

    fn found(account: &Account) -> FoundAccount {
        FoundAccount {
            account: account.clone(),
            mark: None,
            may_log_in: true,
            expires_at: Some(at(3600)),
            member_of: vec!["reader".to_owned()],
            powers: Vec::new(),
        }
    }

    #[test]
    fn an_account_as_agreed_has_not_drifted() {
        let (account, groups) = (account(&["%"]), ["reader".to_owned()]);
        let expected = Expected { account: &account, expires_at: Some(at(3600)), member_of: &groups };
        assert_eq!(drift(&expected, &found(&account), true), []);
        let nearly = FoundAccount { expires_at: Some(at(3600 + 60)), ..found(&account) };
        assert_eq!(drift(&expected, &nearly, true), []);
    }

    #[test]
    fn every_way_to_drift_is_named() {
        let (agreed, groups) = (account(&["10.%"]), ["reader".to_owned()]);
        let expected = Expected { account: &agreed, expires_at: Some(at(3600)), member_of: &groups };
        let altered = FoundAccount {
            expires_at: None,
            member_of: vec!["owner".to_owned()],
            powers: vec!["SUPERUSER".to_owned()],
            ..found(&account(&["%", "10.%"]))
        };
        assert_eq!(
            drift(&expected, &altered, true),
            [
                Drift::LivesLonger { until: None },
                Drift::JoinedGroup("owner".to_owned()),
                Drift::LeftGroup("reader".to_owned()),
                Drift::GainedPower("SUPERUSER".to_owned()),
                Drift::GainedHost("%".to_owned()),
            ]
        );
        let with = |expires_at, may_log_in| FoundAccount { may_log_in, expires_at, ..found(&agreed) };
        let one = |found: FoundAccount| drift(&expected, &found, true);
        assert_eq!(one(with(Some(at(3661)), true)), [Drift::LivesLonger { until: Some(at(3661)) }]);
        assert_eq!(one(with(Some(at(3539)), true)), [Drift::EndsEarlier { until: at(3539) }]);
        assert_eq!(one(with(Some(at(3600)), false)), [Drift::LoginDisabled]);
        assert_eq!(drift(&expected, &with(None, true), false), []);
    }

    #[test]
    fn a_kept_account_must_not_log_in_and_be_in_no_group() {
        let agreed = account(&[]);
        let expected = Expected { account: &agreed, expires_at: None, member_of: &[] };
        let disabled = FoundAccount { may_log_in: false, member_of: Vec::new(), ..found(&agreed) };
        assert_eq!(drift(&expected, &disabled, true), []);
        let shouted = Account { hosts: vec!["DB.Example.com".parse().unwrap()], ..agreed.clone() };
        let stored = Account { hosts: vec!["db.example.com".parse().unwrap()], ..agreed.clone() };
        let expected_there = Expected { account: &shouted, ..expected.clone() };
        let there = FoundAccount { account: stored, ..disabled.clone() };
        assert_eq!(drift(&expected_there, &there, true), [], "servers keep hosts in lower case");
        let enabled = drift(&expected, &found(&agreed), true);
        assert_eq!(enabled, [Drift::LoginEnabled, Drift::JoinedGroup("reader".to_owned())]);
        assert!(enabled.iter().all(Drift::widens));
    }
}
