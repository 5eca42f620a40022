//! Undoing what was done to an account behind our back.

use jiff::Timestamp;

use super::{
    connect::{ADMIN_OPTION_SINCE, Connection, role_is_missing, text},
    end,
    errors::Failure,
    found::{ADMIN_OPTION_ON, ATTRIBUTES},
    privileges,
    quote::{self, QuoteError},
};
use crate::{
    domain::Drift,
    target::{TargetError, TargetErrorKind},
};

const DOING: &str = "putting an account right";

/// Membership of an account in a group, by somebody's grant. From 16 on there can be several, one a grantor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) group: String,
    pub(super) grantor: String,
}

impl Membership {
    /// The statement that takes it (or, with `ADMIN OPTION FOR`, the right to hand it on) away, and what the account did
    /// with it. Up to 15 there is one grant whoever made it; later, each is revoked as its grantor made it.
    pub(super) fn revocation(&self, what: &str, account: &str, release: u32) -> Result<String, QuoteError> {
        let group = quote::identifier(&self.group)?;
        let grantor = if release >= ADMIN_OPTION_SINCE {
            format!(" GRANTED BY {}", quote::identifier(&self.grantor)?)
        } else {
            String::new()
        };
        Ok(format!("REVOKE {what}{group} FROM {account}{grantor} CASCADE"))
    }
}

/// The memberships of an account, by group and grantor.
pub(super) async fn memberships(connection: &mut Connection, oid: u32) -> Result<Vec<Membership>, Failure> {
    let rows = connection
        .run(&format!(
            "SELECT g.rolname, pg_get_userbyid(m.grantor) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
             WHERE m.member = {oid} ORDER BY 1, 2"
        ))
        .await?;
    let read = |row| Some(Membership { group: text(row, 0)?, grantor: text(row, 1)? });
    Ok(rows.iter().filter_map(read).collect())
}

/// Undoes drift in one transaction; then, when it had let the holder do more than agreed, ends the account's sessions:
/// one that has become another role (`SET ROLE`) stays it for as long as it lasts. `expires_at` is by the target's clock.
pub(super) async fn put_right(
    connection: &mut Connection,
    account: &str,
    drift: &[Drift],
    expires_at: Timestamp,
) -> Result<(), TargetError> {
    let oid = end::oid(connection, account).await.map_err(|failure| failure.while_doing(DOING))?;
    let Some(oid) = oid else { return Err(missing(account)) };
    let held = memberships(connection, oid).await.map_err(|failure| failure.while_doing(DOING))?;
    let statements = statements(account, drift, &held, connection.release().number, expires_at)?;
    if !statements.is_empty() {
        let outcome = connection.run(&statements.join(";\n")).await;
        if let Err(failure) = outcome {
            return Err(explain(connection, account, drift, &statements, failure).await);
        }
    }
    if drift.iter().any(gave_rights) && end::end_sessions(connection, account).await?.remaining > 0 {
        let message =
            format!("sessions of the account {account} that may still use what it was given do not end");
        return Err(TargetError::new(TargetErrorKind::Busy, message));
    }
    Ok(())
}

fn gave_rights(drift: &Drift) -> bool {
    matches!(drift, Drift::JoinedGroup(_) | Drift::GainedPower(_) | Drift::LoginEnabled)
}

fn missing(account: &str) -> TargetError {
    TargetError::new(TargetErrorKind::Missing, format!("the account {account} does not exist"))
}

/// The statements that undo drift. Done twice they have the effect of once.
fn statements(
    account: &str,
    drift: &[Drift],
    held: &[Membership],
    release: u32,
    expires_at: Timestamp,
) -> Result<Vec<String>, TargetError> {
    let name = quote::identifier(account)?;
    let (mut attributes, mut statements) = (Vec::new(), Vec::new());
    let expiry = format!("VALID UNTIL {}", quote::timestamp(expires_at));
    let revoke = |group: &str, what: &str| {
        let grants = held.iter().filter(move |membership| membership.group == group);
        grants.map(|grant| grant.revocation(what, &name, release)).collect::<Result<Vec<_>, _>>()
    };
    for drift in drift {
        match drift {
            Drift::LivesLonger { .. } | Drift::EndsEarlier { .. } => attributes.push(expiry.clone()),
            // Of an account that may not log in the expiry is not compared: it is set along with it.
            Drift::LoginDisabled => attributes.extend(["LOGIN".to_owned(), expiry.clone()]),
            Drift::LoginEnabled => attributes.extend(["NOLOGIN".to_owned(), "PASSWORD NULL".to_owned()]),
            Drift::GainedPower(power) => match power.strip_prefix(ADMIN_OPTION_ON) {
                Some(group) => statements.extend(revoke(group, "ADMIN OPTION FOR ")?),
                None => attributes.push(withdrawal(power)?),
            },
            Drift::JoinedGroup(_) | Drift::LeftGroup(_) | Drift::GainedHost(_) => {}
        }
    }
    for drift in drift {
        match drift {
            Drift::JoinedGroup(group) => statements.extend(revoke(group, "")?),
            Drift::LeftGroup(group) => {
                statements.push(format!("GRANT {} TO {name}", quote::identifier(group)?));
            }
            _ => {}
        }
    }
    attributes.sort_unstable();
    attributes.dedup();
    if !attributes.is_empty() {
        statements.insert(0, format!("ALTER ROLE {name} {}", attributes.join(" ")));
    }
    Ok(statements)
}

/// The option that takes an attribute away.
fn withdrawal(power: &str) -> Result<String, TargetError> {
    if ATTRIBUTES.contains(&power) {
        return Ok(format!("NO{power}"));
    }
    Err(TargetError::new(TargetErrorKind::Refused, "the account was given something that is not known here"))
}

/// What the server refuses us, an administrator of the server can do: the very same statements.
async fn explain(
    connection: &mut Connection,
    account: &str,
    drift: &[Drift],
    statements: &[String],
    failure: Failure,
) -> TargetError {
    if role_is_missing(&failure) {
        if matches!(end::oid(connection, account).await, Ok(None)) {
            return missing(account).caused_by(failure);
        }
        let groups: Vec<&str> = drift
            .iter()
            .filter_map(|drift| match drift {
                Drift::LeftGroup(group) => Some(group.as_str()),
                _ => None,
            })
            .collect();
        let needs = privileges::Needs { groups: &groups, owners: &[] };
        let remedy = privileges::remedy(connection, needs).await;
        let mut error = failure.while_doing(DOING);
        error.remedy = remedy;
        return error;
    }
    let mut error = failure.while_doing(DOING);
    if error.kind == TargetErrorKind::Denied {
        let what: Vec<String> = drift.iter().map(ToString::to_string).collect();
        error.message = format!(
            "the account {account} ({}) can be put right by an administrator of the server only: {}",
            what.join("; "),
            error.message
        );
        error.remedy =
            Some(statements.iter().map(|statement| format!("{statement};")).collect::<Vec<_>>().join("\n"));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements_for(drift: &[Drift], release: u32) -> Vec<String> {
        let held = [("owner", "postgres"), ("read", "mayfly"), ("read", "postgres")];
        let held = held.map(|(group, grantor)| Membership { group: group.into(), grantor: grantor.into() });
        statements("mf_x", drift, &held, release, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn each_drift_has_its_opposite() {
        let epoch = "VALID UNTIL '1970-01-01 00:00:00.000000+00'";
        let one = |drift: Drift| statements_for(&[drift], 180_000);
        assert_eq!(one(Drift::LivesLonger { until: None }), [format!("ALTER ROLE \"mf_x\" {epoch}")]);
        assert_eq!(one(Drift::LoginDisabled), [format!("ALTER ROLE \"mf_x\" LOGIN {epoch}")]);
        assert_eq!(one(Drift::LoginEnabled), ["ALTER ROLE \"mf_x\" NOLOGIN PASSWORD NULL"]);
        assert_eq!(one(Drift::LeftGroup("a\"b".into())), ["GRANT \"a\"\"b\" TO \"mf_x\""]);
        assert_eq!(one(Drift::GainedPower("CREATEDB".into())), ["ALTER ROLE \"mf_x\" NOCREATEDB"]);
        assert!(
            statements("mf_x", &[Drift::GainedPower("X; DROP".into())], &[], 0, Timestamp::UNIX_EPOCH)
                .is_err()
        );
    }

    #[test]
    fn every_grant_is_revoked_as_its_grantor_made_it() {
        let drift = [Drift::JoinedGroup("owner".into()), Drift::GainedPower("ADMIN OPTION ON read".into())];
        assert_eq!(
            statements_for(&drift, 160_000),
            [
                "REVOKE ADMIN OPTION FOR \"read\" FROM \"mf_x\" GRANTED BY \"mayfly\" CASCADE",
                "REVOKE ADMIN OPTION FOR \"read\" FROM \"mf_x\" GRANTED BY \"postgres\" CASCADE",
                "REVOKE \"owner\" FROM \"mf_x\" GRANTED BY \"postgres\" CASCADE",
            ]
        );
        assert_eq!(statements_for(&drift[..1], 150_000), ["REVOKE \"owner\" FROM \"mf_x\" CASCADE"]);
    }

    #[test]
    fn nothing_is_said_twice() {
        let drift = [Drift::LivesLonger { until: None }, Drift::LoginDisabled];
        let one = statements_for(&drift, 150_000);
        assert_eq!(one.len(), 1);
        assert_eq!(one.concat().matches("VALID UNTIL").count(), 1);
    }
}
