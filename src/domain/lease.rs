//! Leases: exactly one provisioned access, with an expiry.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Account, GrantId, IllegalTransition, LeaseEvent, LeaseId, LeaseState, OwnedObjects, PrincipalRef, Role,
    RoleName, TargetName, Template, Ttl,
};

/// What kind of access a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseKind {
    /// An account created for the lease and dropped at its end.
    Ephemeral,
    /// An existing account that is given groups for the period, and loses exactly those again.
    Elevation,
    /// An existing account that is handed to one holder at a time, with a fresh password, and locked at the end.
    Checkout,
}

impl LeaseKind {
    /// As stored, and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            LeaseKind::Ephemeral => "ephemeral",
            LeaseKind::Elevation => "elevation",
            LeaseKind::Checkout => "checkout",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        [LeaseKind::Ephemeral, LeaseKind::Elevation, LeaseKind::Checkout]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// What was asked for and allowed; it does not change while the lease lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTerms {
    /// The time to live it was issued with.
    pub ttl: Ttl,
    /// No renewal reaches beyond this.
    pub renewable_until: Timestamp,
    /// What the requester gave as purpose; may be empty.
    pub purpose: String,
    /// Why it was allowed: the rule or approval, by name.
    pub allowed_by: String,
    /// The grant it was issued under; `None`: it was allowed by rule, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
}

/// How to end the lease: the role's rules as they were when it was issued, so that a later change of the role, or its
/// removal, cannot leave an account behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndPlan {
    /// What happens to objects the account owns.
    pub owned_objects: OwnedObjects,
    /// Database group roles it was given.
    pub member_of: Vec<String>,
    /// Statements to run when its expiry moves.
    pub renew: Vec<Template>,
    /// Statements to run once its sessions are ended.
    pub end: Vec<Template>,
    /// Whether sessions of an existing account end when something is taken from it. Those of an account that was made for the
    /// lease always do.
    #[serde(default = "by_default")]
    pub end_sessions: bool,
}

fn by_default() -> bool {
    true
}

impl EndPlan {
    /// The plan a role has today.
    pub fn of(role: &Role) -> Self {
        Self {
            owned_objects: role.owned_objects.clone(),
            member_of: role.member_of.clone(),
            renew: role.statements.renew.clone(),
            end: role.statements.end.clone(),
            end_sessions: role.access.ends_sessions(),
        }
    }
}

/// One provisioned access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Identity; also in the account's name.
    pub id: LeaseId,
    /// Kind.
    pub kind: LeaseKind,
    /// The role it was issued under.
    pub role: RoleName,
    /// The target it is on.
    pub target: TargetName,
    /// Whose it is.
    pub principal: PrincipalRef,
    /// The account on the target.
    pub account: Account,
    /// What was agreed.
    pub terms: LeaseTerms,
    /// How to end it.
    pub end_plan: EndPlan,
    /// The caller's idempotency key, if it gave one.
    pub idempotency_key: Option<String>,
    /// When intent became durable.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Where it stands.
    pub state: LeaseState,
}

impl Lease {
    /// The lease after an event at a moment.
    ///
    /// # Errors
    /// When the event does not apply to its state.
    pub fn after(self, event: LeaseEvent, at: Timestamp) -> Result<Lease, IllegalTransition> {
        let reappeared = matches!(event, LeaseEvent::Reappeared { .. });
        let state = self.state.after(event)?;
        // Since a lease that failed freed its key, another may have it by now.
        let idempotency_key = self.idempotency_key.filter(|_| !reappeared);
        Ok(Lease { state, updated_at: at, idempotency_key, ..self })
    }

    /// When it expires or expired by the clock; `None` before it is active and once it is ending.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self.state {
            LeaseState::Active { expires_at } => Some(expires_at),
            _ => None,
        }
    }

    /// Its resource name: `leases/<id>`.
    pub fn resource_name(&self) -> String {
        format!("leases/{}", self.id)
    }
}
