//! What is asked.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::domain::{Principal, PrincipalName, RequestTerms, Role, RoleName, Ttl};

/// Who wants something, and what is known of the moment.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// Where the call comes from.
    pub address: Option<IpAddr>,
    /// When a second factor was last given.
    pub second_factor_at: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// What somebody asks for, with what else is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The role.
    pub role: &'a Role,
    /// The terms.
    pub terms: &'a RequestTerms,
    /// Leases the requester holds under the role.
    pub live_leases: u32,
    /// The requester never had a lease or grant under the role before; `None`: not known.
    pub first_use: Option<bool>,
    /// Roles under which the requester has a live lease or grant, this one included or not: some must not be held together.
    pub live_roles: &'a [RoleName],
}

/// What a principal wants to do.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Obtain access under a role. Whether that takes reviews is for [`Policies::admit`](super::Policies::admit).
    Issue {
        /// The role.
        role: &'a Role,
        /// For how long.
        ttl: Ttl,
    },
    /// See a lease.
    View {
        /// Whose lease.
        owner: &'a PrincipalName,
    },
    /// Renew a lease.
    Renew {
        /// Whose lease.
        owner: &'a PrincipalName,
    },
    /// End a lease as its holder.
    Release {
        /// Whose lease.
        owner: &'a PrincipalName,
    },
    /// End leases by authority.
    Revoke,
    /// Read the audit log.
    ViewAudit,
    /// See and examine targets, manage tokens and users.
    Administer,
    /// Lock and unlock principals, roles and targets.
    Lock,
    /// Invite contractors.
    Invite,
}
