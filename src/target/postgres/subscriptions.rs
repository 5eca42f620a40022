//! Subscriptions an account owns: shared by all databases, and yet only to be touched from their own.
//!
//! Neither `DROP OWNED` nor `REASSIGN OWNED` settles them. One is dropped without asking its publisher, which may be away:
//! its replication slot there stays, and is named in the log.

use deadpool::managed::Object;

use super::{
    connect::{ADMIN_OPTION_SINCE, text},
    errors::Failure,
    objects::{DOING, Reach, visit},
    pool::Manager,
    quote::{self, QuoteError},
};
use crate::{
    domain::OwnedObjects,
    target::{LeasedAccount, TargetError, TargetErrorKind},
};

struct Subscription {
    database: String,
    name: String,
    /// Where it reads from, on its publisher.
    slot: Option<String>,
}

/// Hands on or drops each, by the account's rule; `keep` was dealt with before.
pub(super) async fn settle(
    reach: &Reach<'_>,
    administration: &mut Object<Manager>,
    account: &LeasedAccount<'_>,
    oid: u32,
) -> Result<(), TargetError> {
    let owned = owned(administration, oid).await.map_err(|failure| failure.while_doing(DOING))?;
    for subscription in &owned {
        let statements = match &account.plan.owned_objects {
            OwnedObjects::Reassign(owner) if administration.release().number >= ADMIN_OPTION_SINCE => {
                let (name, owner) = (quote::identifier(&subscription.name)?, quote::identifier(owner)?);
                format!("ALTER SUBSCRIPTION {name} OWNER TO {owner}")
            }
            OwnedObjects::Reassign(_) => return Err(unassignable(account, subscription)?),
            OwnedObjects::Drop | OwnedObjects::Keep => dropping(subscription)?,
        };
        visit(reach, administration, account, &subscription.database, &statements).await?;
        if let (OwnedObjects::Drop, Some(slot)) = (&account.plan.owned_objects, &subscription.slot) {
            tracing::warn!(
                account = account.account.name.as_str(),
                subscription = subscription.name,
                slot,
                "a subscription was dropped; its replication slot may be left on its publisher, where it holds write-ahead log"
            );
        }
    }
    Ok(())
}

async fn owned(connection: &mut Object<Manager>, oid: u32) -> Result<Vec<Subscription>, Failure> {
    let rows = connection
        .run(&format!(
            "SELECT d.datname, s.subname, s.subslotname FROM pg_subscription s \
             JOIN pg_database d ON d.oid = s.subdbid WHERE s.subowner = {oid} ORDER BY 1, 2"
        ))
        .await?;
    let read = |row| Some(Subscription { database: text(row, 0)?, name: text(row, 1)?, slot: text(row, 2) });
    Ok(rows.iter().filter_map(read).collect())
}

/// Without its slot a subscription is dropped within a transaction, and its publisher is not asked.
fn dropping(subscription: &Subscription) -> Result<String, QuoteError> {
    let name = quote::identifier(&subscription.name)?;
    Ok(format!(
        "ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE); DROP SUBSCRIPTION {name}"
    ))
}

/// Up to 15 only a superuser may own a subscription, and nothing is handed to one.
fn unassignable(account: &LeasedAccount<'_>, subscription: &Subscription) -> Result<TargetError, QuoteError> {
    let Subscription { database, name, .. } = subscription;
    let message = format!(
        "the subscription {name:?} of {} in database {database:?} can be handed to a superuser only, in this release",
        account.account.name
    );
    let name = quote::identifier(name)?;
    let remedy = format!("-- in database {database:?}\nALTER SUBSCRIPTION {name} OWNER TO CURRENT_USER;");
    Ok(TargetError::new(TargetErrorKind::Refused, message).mended_by(remedy))
}
