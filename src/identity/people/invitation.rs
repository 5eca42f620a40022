//! An invitation: a contractor's one sign-in, vouched for by somebody of the house.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{CodeError, LockedOut, OneTimeCode, PasswordHash, user::lock_out};
use crate::{
    domain::{
        GroupName, INVITED_ROLES, InvitationId, NameError, Principal, PrincipalKind, PrincipalName, RoleName,
    },
    store::{Document, EntryKind},
};

/// How long an invitation that is over stays to be seen.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A one-time invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Identity; no secret.
    pub id: InvitationId,
    /// What the contractor is called: part of the principal's name.
    pub label: PrincipalName,
    /// Where mail reaches the contractor; may be empty.
    #[serde(default)]
    pub mail: String,
    /// The roles it is for, and no other.
    pub roles: BTreeSet<RoleName>,
    /// Groups the contractor belongs to.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// What for.
    pub purpose: String,
    /// Who vouches for the contractor.
    pub sponsor: PrincipalName,
    /// Where it may be claimed and used from; empty: from anywhere.
    #[serde(default)]
    pub cidrs: Vec<IpNet>,
    /// From when on it works.
    pub valid_from: Timestamp,
    /// Until when.
    pub valid_until: Timestamp,
    /// What is kept of the code.
    pub hash: PasswordHash,
    /// Wrong codes so far.
    #[serde(default)]
    pub failures: u32,
    /// Until when no code is looked at.
    #[serde(default)]
    pub locked_until: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was claimed.
    #[serde(default)]
    pub claimed_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default)]
    pub revoked_at: Option<Timestamp>,
}

impl Invitation {
    /// Whether it is its time, and nobody revoked it.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.valid_from <= now && now < self.valid_until
    }

    /// Counts an attempt to claim it before it is known how it goes.
    ///
    /// # Errors
    /// [`LockedOut`]: it is not even looked at, and not counted.
    pub fn attempt(mut self, now: Timestamp) -> Result<Self, LockedOut> {
        if let Some(until) = self.locked_until.filter(|until| *until > now) {
            return Err(LockedOut { until });
        }
        self.failures = self.failures.saturating_add(1);
        self.locked_until = lock_out(self.failures).and_then(|wait| now.checked_add(wait).ok());
        Ok(self)
    }

    /// Who claims it: a principal of its own, whose name nobody else can have.
    ///
    /// # Errors
    /// When the label is too long for a name.
    pub fn principal(&self) -> Result<Principal, NameError> {
        let roles: Vec<&str> = self.roles.iter().map(RoleName::as_str).collect();
        let attributes = [
            ("invitation", self.id.to_string()),
            ("sponsor", self.sponsor.to_string()),
            (INVITED_ROLES, roles.join(" ")),
            ("purpose", self.purpose.clone()),
        ];
        Ok(Principal {
            name: format!("contractor:{}/{}", self.label, self.id).parse()?,
            kind: PrincipalKind::Contractor,
            groups: self.groups.clone(),
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        })
    }
}

impl Document for Invitation {
    const KIND: EntryKind = EntryKind::Invitation;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("sponsor", self.sponsor.to_string())]
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.valid_until.checked_add(KEPT).ok()
    }
}

/// What a contractor is given: which invitation, and the secret that claims it.
#[derive(Debug, Clone)]
pub struct InvitationCode {
    /// Which.
    pub id: InvitationId,
    /// The secret.
    pub secret: OneTimeCode,
}

impl InvitationCode {
    /// The code, for the one reply it is in.
    pub fn expose(&self) -> String {
        format!("{}-{}", self.id, self.secret.expose())
    }
}

impl FromStr for InvitationCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let (id, secret) = text.trim().split_once('-').ok_or(CodeError)?;
        let id = id.to_ascii_lowercase().parse().map_err(|_| CodeError)?;
        Ok(Self { id, secret: secret.parse()? })
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invitations/{}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn a_code_is_read_back_and_anything_else_refused() {
        let id = InvitationId::new(Timestamp::from_second(1_800_000_000).unwrap(), 7);
        let code = InvitationCode { id, secret: OneTimeCode::generate(&SeededRandom::new(1)) };
        let text = code.expose();
        for typed in [text.clone(), format!(" {} ", text.to_uppercase())] {
            let read: InvitationCode = typed.parse().unwrap();
            assert_eq!((read.id, read.secret.expose()), (id, code.secret.expose()));
        }
        for bad in ["", "-", &text[..20], &text[..text.len() - 1], &text[1..], "é-é", &"a-".repeat(10_000)]
        {
            assert!(bad.parse::<InvitationCode>().is_err(), "{bad}");
        }
        assert!(!format!("{code:?}").contains(&code.secret.expose()));
    }
}
