//! The mark an account carries on its target: whose it is, so that nobody else's is ever touched.

use std::{fmt, str::FromStr};

use super::{InstanceId, LeaseId, PrincipalRef, RoleName};

/// What Mayfly writes on an account it creates, where the engine has a place for it: the installation, the lease, the role
/// and the requester.
///
/// As text: `mayfly instance=… lease=… role=… requester=<kind>:<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The installation that created the account; `None`: one from before installations were told apart.
    pub instance: Option<InstanceId>,
    /// The lease it serves.
    pub lease: LeaseId,
    /// The role it was issued under.
    pub role: RoleName,
    /// Who asked.
    pub requester: PrincipalRef,
}

/// A text that is no mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a mark of Mayfly")]
pub struct MarkError;

impl Mark {
    /// Whether an installation may touch the account: it created it.
    pub fn is_of(&self, instance: InstanceId) -> bool {
        self.instance == Some(instance)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mayfly")?;
        if let Some(instance) = self.instance {
            write!(f, " instance={instance}")?;
        }
        let PrincipalRef { kind, name } = &self.requester;
        write!(f, " lease={} role={} requester={kind}:{name}", self.lease, self.role)
    }
}

impl FromStr for Mark {
    type Err = MarkError;

    fn from_str(text: &str) -> Result<Self, MarkError> {
        let mut words = text.split(' ');
        if words.next() != Some("mayfly") {
            return Err(MarkError);
        }
        let (mut instance, mut lease, mut role, mut requester) = (None, None, None, None);
        for word in words {
            let (key, value) = word.split_once('=').ok_or(MarkError)?;
            match key {
                "instance" => instance = Some(value.parse().map_err(|_| MarkError)?),
                "lease" => lease = Some(value.parse().map_err(|_| MarkError)?),
                "role" => role = Some(value.parse().map_err(|_| MarkError)?),
                "requester" => requester = Some(principal(value)?),
                _ => return Err(MarkError),
            }
        }
        let (Some(lease), Some(role), Some(requester)) = (lease, role, requester) else {
            return Err(MarkError);
        };
        Ok(Self { instance, lease, role, requester })
    }
}

fn principal(text: &str) -> Result<PrincipalRef, MarkError> {
    let (kind, name) = text.split_once(':').ok_or(MarkError)?;
    Ok(PrincipalRef {
        kind: kind.parse().map_err(|_| MarkError)?,
        name: name.parse().map_err(|_| MarkError)?,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::PrincipalKind;

    fn mark(instance: Option<InstanceId>) -> Mark {
        let at = Timestamp::from_second(1_795_305_600).unwrap();
        Mark {
            instance,
            lease: LeaseId::new(at, 42),
            role: "orders-read".parse().unwrap(),
            requester: PrincipalRef {
                kind: PrincipalKind::Workload,
                name: "ci:orders@example.com".parse().unwrap(),
            },
        }
    }

    #[test]
    fn is_read_back_as_it_was_written() {
        let instance: InstanceId = "0123456789abcdef0123".parse().unwrap();
        for mark in [mark(Some(instance)), mark(None)] {
            assert_eq!(mark.to_string().parse::<Mark>().unwrap(), mark, "{mark}");
        }
        assert!(mark(Some(instance)).is_of(instance));
        assert!(!mark(None).is_of(instance));
        assert!(!mark(Some("1123456789abcdef0123".parse().unwrap())).is_of(instance));
    }

    #[test]
    fn other_texts_are_no_marks() {
        let instance: InstanceId = "0123456789abcdef0123".parse().unwrap();
        let good = mark(Some(instance)).to_string();
        for text in [
            "",
            "mayfly",
            "the account of mayfly",
            &good.replace("mayfly ", "notmayfly "),
            &good.replace("lease=", "leases="),
            &good.replace("requester=workload", "requester=robot"),
            &format!("{good} more=words"),
            &format!("{good} words"),
        ] {
            assert_eq!(text.parse::<Mark>(), Err(MarkError), "{text:?}");
        }
    }
}
