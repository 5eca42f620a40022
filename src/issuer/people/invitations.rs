//! Invitations: made, seen, revoked, and claimed once.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use super::{Begun, Departure, RETRIES};
use crate::{
    audit::{Actor, Draft},
    domain::{ADMINISTRATORS, GroupName, InvitationId, Password, PrincipalKind, PrincipalName, RoleName},
    identity::{
        Caller,
        people::{Invitation, InvitationCode, OneTimeCode, Origin, Session},
    },
    issuer::{Issuer, Refusal, RefusalKind},
    policy,
    store::{Changes, Committed, Kept, Listing, document, documents, due_documents},
};

/// How long an invitation works unless said otherwise.
const WINDOW: Duration = Duration::from_secs(24 * 3600);

/// The longest it can.
const LONGEST_WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);

/// How far ahead it can begin.
const FURTHEST_START: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Roles, groups and networks an invitation may have of each.
const LIST_LIMIT: usize = 16;

/// Bytes of a contractor's name: it has to fit into a principal's.
const LABEL_LIMIT: usize = 120;

/// Characters of a purpose, and of a mail address.
const TEXT_LIMIT: usize = 300;

/// Invitations of one sponsor that are kept at once.
const KEPT_AT_ONCE: u32 = 200;

/// Invitations forgotten along with a new one.
const PRUNED: u32 = 16;

/// An invitation to make. Its sponsor is who makes it.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// What the contractor is called.
    pub label: PrincipalName,
    /// Where mail reaches the contractor; may be empty.
    pub mail: String,
    /// The roles it is for.
    pub roles: BTreeSet<RoleName>,
    /// Groups the contractor belongs to.
    pub groups: BTreeSet<GroupName>,
    /// What for.
    pub purpose: String,
    /// Where it may be claimed and used from; empty: from anywhere.
    pub cidrs: Vec<IpNet>,
    /// From when on it works; `None`: from now on.
    pub start: Option<Timestamp>,
    /// How long it works from then on; `None`: a day.
    pub window: Option<Duration>,
}

/// An invitation just made, with the code that is shown once.
#[derive(Debug)]
pub struct Invited {
    /// As kept.
    pub invitation: Invitation,
    /// The code.
    pub code: InvitationCode,
}

impl Refusal {
    /// One answer for whatever is wrong with a code.
    fn invitation() -> Self {
        Self::new(
            RefusalKind::SignInRefused,
            "the invitation is refused: the code is wrong or was used, or it is not for this time or this place",
        )
    }
}

impl Issuer {
    /// Invites a contractor.
    ///
    /// # Errors
    /// [`Refusal`]: policy says no, a bad field, a group the sponsor is not in, an unknown role, too many, store unavailable.
    pub async fn invite(&self, caller: &Caller, new: NewInvitation) -> Result<Invited, Refusal> {
        let (what, anyone) = ("invitation.created", "invitations/-");
        let by = self.authorise(caller, policy::Action::Invite, what, anyone.to_owned()).await?;
        if caller.principal.kind == PrincipalKind::Contractor {
            // Else an invitation, and whoever got one, would outlast its window, by a chain of others.
            let refusal = Refusal::denied("a contractor vouches for nobody: ask your sponsor");
            return Err(self.refuse(caller, what, anyone, refusal).await);
        }
        self.prune_invitations().await?;
        let now = self.clock.now();
        let (valid_from, valid_until) = self.check_invitation(&new, now)?;
        if let Some(group) = new.groups.iter().find(|group| !may_pass_on(caller, group)) {
            let message = format!(
                "you cannot put a contractor into the group {group}: a sponsor passes on groups of his own, and nobody {ADMINISTRATORS}"
            );
            return Err(self.refuse(caller, what, anyone, Refusal::denied(message)).await);
        }
        let sponsor = &caller.principal.name;
        let listing = Listing { by: Some(("sponsor", sponsor.as_str())), before: None, limit: KEPT_AT_ONCE };
        if documents::<Invitation>(&*self.store, listing).await?.len() >= KEPT_AT_ONCE as usize {
            let message = format!("you have {KEPT_AT_ONCE} invitations, and no more are kept at once");
            return Err(self
                .refuse(caller, what, anyone, Refusal::new(RefusalKind::LimitReached, message))
                .await);
        }
        let secret = OneTimeCode::generate(&*self.random);
        let hash = self.people.hasher.hash(&secret.as_password(), &*self.random).await?;
        let invitation = Invitation {
            id: InvitationId::new(now, self.random.bits()),
            label: new.label,
            mail: new.mail,
            roles: new.roles,
            groups: new.groups,
            purpose: new.purpose,
            sponsor: sponsor.clone(),
            cidrs: new.cidrs,
            valid_from,
            valid_until,
            hash,
            failures: 0,
            locked_until: None,
            created_at: now,
            claimed_at: None,
            revoked_at: None,
        };
        invitation.principal().map_err(|error| Refusal::invalid("contractor", error.to_string()))?;
        let draft = created(&invitation, caller).with("allowed_by", by);
        match Changes::new().insert(&invitation)?.record(draft).commit(&*self.store).await? {
            Committed::Yes => {
                let code = InvitationCode { id: invitation.id, secret };
                Ok(Invited { invitation, code })
            }
            Committed::Conflict => Err(Issuer::contended()),
        }
    }

    fn check_invitation(
        &self,
        new: &NewInvitation,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), Refusal> {
        check(new)?;
        let catalogue = self.catalogue.current();
        if let Some(unknown) = new.roles.iter().find(|role| !catalogue.roles.contains_key(*role)) {
            return Err(Refusal::not_found(format!("there is no role {unknown}")));
        }
        let start = new.start.unwrap_or(now).max(now);
        if start.duration_since(now) > FURTHEST_START {
            return Err(Refusal::invalid("start_time", "an invitation begins within 90 days"));
        }
        let window = new.window.unwrap_or(WINDOW);
        if window < Duration::from_secs(60) || window > LONGEST_WINDOW {
            return Err(Refusal::invalid("window", "an invitation works for one minute to 30 days"));
        }
        let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::ZERO);
        Ok((start, start.checked_add(window).unwrap_or(start)))
    }

    /// Invitations, newest first, below `before`: one's own, or, for administrators, everybody's.
    ///
    /// # Errors
    /// [`Refusal`]: everybody's asked for by somebody who may not, store unavailable.
    pub async fn invitations(
        &self,
        caller: &Caller,
        everybody: bool,
        before: Option<InvitationId>,
        limit: u32,
    ) -> Result<Vec<Invitation>, Refusal> {
        if everybody {
            let resource = "invitations/-".to_owned();
            self.authorise(caller, policy::Action::Administer, "invitation.listed", resource).await?;
        }
        let before = before.map(|before| before.to_string());
        let by = (!everybody).then_some(("sponsor", caller.principal.name.as_str()));
        let listing = Listing { by, before: before.as_deref(), limit };
        let found = documents::<Invitation>(&*self.store, listing).await?;
        Ok(found.into_iter().map(|kept| kept.document).collect())
    }

    /// Revokes an invitation: its code, and the session it was claimed for, are worth nothing from now on, and what was asked for,
    /// granted and issued in that session ends. For its sponsor, and for administrators. Revoking twice is no error.
    ///
    /// # Errors
    /// [`Refusal`]: no such invitation, or not for this caller; store unavailable.
    pub async fn revoke_invitation(&self, caller: &Caller, id: InvitationId) -> Result<Invitation, Refusal> {
        let what = "invitation.revoked";
        for _ in 0..RETRIES {
            let kept = document::<Invitation>(&*self.store, &id.to_string()).await?;
            if kept.as_ref().is_none_or(|kept| kept.document.sponsor != caller.principal.name) {
                let resource = format!("invitations/{id}");
                self.authorise(caller, policy::Action::Administer, what, resource).await?;
            }
            let Some(kept) = kept else {
                return Err(Refusal::not_found(format!("there is no invitation {id}")));
            };
            if kept.document.revoked_at.is_some() {
                return Ok(kept.document);
            }
            let now = self.clock.now();
            let revoked = Invitation { revoked_at: Some(now), ..kept.document };
            let draft = Draft::new(now, caller.actor(), what, revoked.to_string());
            let principal = revoked.principal().map_err(Refusal::internal)?.name;
            let departure = Departure { principal, at: now, why: "the invitation was revoked".to_owned() };
            let changes = Changes::new().replace(&revoked, kept.revision)?.record(draft);
            let changes = self.departing(&departure, changes).await?;
            if changes.commit(&*self.store).await? == Committed::Yes {
                self.see_off(&departure.principal, &caller.actor()).await;
                return Ok(revoked);
            }
        }
        Err(Issuer::contended())
    }

    /// Claims an invitation: a session that lasts as long as it, and speaks for the contractor. Once.
    ///
    /// # Errors
    /// [`Refusal`]: one and the same for whatever is wrong; store unavailable.
    pub async fn claim_invitation(&self, code: &Password, address: Option<IpAddr>) -> Result<Begun, Refusal> {
        let code = code.expose().parse::<InvitationCode>().ok();
        let counted = match &code {
            Some(code) => self.count_claim(code.id).await?,
            None => None,
        };
        if counted.is_none() {
            self.count_stray().await?;
        }
        let typed =
            code.as_ref().map_or_else(|| Password::new(String::new()), |code| code.secret.as_password());
        let right = self.matches(&typed, counted.as_ref().map(|invitation| &invitation.hash)).await?;
        let Some(counted) = counted.as_ref().filter(|_| right) else {
            return Err(self
                .refuse_claim(counted.as_ref(), "the code is wrong, or nothing is open to it", address)
                .await);
        };
        for _ in 0..RETRIES {
            let now = self.clock.now();
            let kept = document::<Invitation>(&*self.store, &counted.id.to_string()).await?;
            let Some(kept) = kept.filter(|kept| kept.document.hash == counted.hash) else {
                return Err(self.refuse_claim(Some(counted), "it is gone", address).await);
            };
            if let Some(why) = unclaimable(&kept.document, now, address) {
                return Err(self.refuse_claim(Some(counted), why, address).await);
            }
            if let Some(begun) = self.begin_invited(kept, now, address).await? {
                return Ok(begun);
            }
        }
        Err(Issuer::contended())
    }

    /// `None`: somebody changed the invitation meanwhile.
    async fn begin_invited(
        &self,
        kept: Kept<Invitation>,
        now: Timestamp,
        address: Option<IpAddr>,
    ) -> Result<Option<Begun>, Refusal> {
        let invitation = kept.document;
        let principal = invitation.principal().map_err(Refusal::internal)?;
        let origin = Origin::Invitation { invitation: invitation.id };
        let mut begun = self.new_session(principal, origin, now);
        let window = invitation.valid_until.duration_since(now);
        // It cannot be claimed again, so it must not end for want of calls.
        begun.session = Session {
            expires_at: invitation.valid_until,
            idle_seconds: u64::try_from(window.as_secs()).unwrap_or_default().saturating_add(1),
            cidrs: invitation.cidrs.clone(),
            ..begun.session
        };
        let actor = Actor::principal(&begun.session.principal.reference(), address);
        let draft = Draft::new(now, actor, "invitation.claimed", invitation.to_string())
            .with("session", begun.session.name())
            .with("sponsor", invitation.sponsor.as_str())
            .with("expires_at", invitation.valid_until.to_string());
        let claimed = Invitation { claimed_at: Some(now), ..invitation };
        let changes = Changes::new().replace(&claimed, kept.revision)?.insert(&begun.session)?.record(draft);
        Ok((changes.commit(&*self.store).await? == Committed::Yes).then_some(begun))
    }

    /// Counts an attempt on an invitation that could be claimed; returns the invitation as it was before.
    async fn count_claim(&self, id: InvitationId) -> Result<Option<Invitation>, Refusal> {
        for _ in 0..RETRIES {
            let Some(kept) = document::<Invitation>(&*self.store, &id.to_string()).await? else {
                return Ok(None);
            };
            let before = kept.document;
            let Ok(counted) = before.clone().attempt(self.clock.now()) else { return Ok(None) };
            let changes = Changes::new().replace(&counted, kept.revision)?;
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(Some(before));
            }
        }
        Err(Issuer::contended())
    }

    async fn refuse_claim(
        &self,
        invitation: Option<&Invitation>,
        why: &'static str,
        address: Option<IpAddr>,
    ) -> Refusal {
        let resource = invitation.map_or("invitations/-".to_owned(), ToString::to_string);
        let actor = Actor::Unauthenticated { address };
        let draft = Draft::new(self.clock.now(), actor, "invitation.claimed", resource).refused(why);
        match self.store.record(draft).await {
            Ok(()) => Refusal::invitation(),
            Err(error) => error.into(),
        }
    }

    /// Forgets invitations that have been over for long.
    async fn prune_invitations(&self) -> Result<(), Refusal> {
        let now = self.clock.now();
        for kept in due_documents::<Invitation>(&*self.store, now, PRUNED).await? {
            let draft = Draft::new(now, Actor::System, "invitation.forgotten", kept.document.to_string());
            // On a conflict somebody else forgets it.
            let _ = Changes::new().remove(&kept).record(draft).commit(&*self.store).await?;
        }
        Ok(())
    }
}

/// Why an invitation whose code is right cannot be claimed now and from there.
fn unclaimable(invitation: &Invitation, now: Timestamp, address: Option<IpAddr>) -> Option<&'static str> {
    let inside = |address: IpAddr| invitation.cidrs.iter().any(|cidr| cidr.contains(&address.to_canonical()));
    if invitation.claimed_at.is_some() {
        Some("it was claimed before")
    } else if invitation.revoked_at.is_some() {
        Some("it was revoked")
    } else if !invitation.is_open(now) {
        Some("it is not its time")
    } else if !invitation.cidrs.is_empty() && !address.is_some_and(inside) {
        Some("it may not be claimed from this address")
    } else {
        None
    }
}

/// A sponsor passes on groups of his own; nobody passes on that of administrators.
fn may_pass_on(caller: &Caller, group: &GroupName) -> bool {
    let is_administrator = policy::is_administrator(&caller.principal);
    group.as_str() != ADMINISTRATORS && (is_administrator || caller.principal.groups.contains(group))
}

fn created(invitation: &Invitation, caller: &Caller) -> Draft {
    let join = |items: Vec<String>| items.join(" ");
    Draft::new(invitation.created_at, caller.actor(), "invitation.created", invitation.to_string())
        .with("contractor", invitation.label.as_str())
        .with("roles", join(invitation.roles.iter().map(ToString::to_string).collect()))
        .with("groups", join(invitation.groups.iter().map(ToString::to_string).collect()))
        .with("cidrs", join(invitation.cidrs.iter().map(ToString::to_string).collect()))
        .with("purpose", invitation.purpose.as_str())
        .with("valid_from", invitation.valid_from.to_string())
        .with("valid_until", invitation.valid_until.to_string())
}

fn check(new: &NewInvitation) -> Result<(), Refusal> {
    if new.roles.is_empty() {
        return Err(Refusal::invalid("roles", "an invitation is for at least one role"));
    }
    for (field, length) in
        [("roles", new.roles.len()), ("groups", new.groups.len()), ("cidrs", new.cidrs.len())]
    {
        if length > LIST_LIMIT {
            return Err(Refusal::invalid(field, format!("an invitation has at most {LIST_LIMIT} of these")));
        }
    }
    if new.label.as_str().len() > LABEL_LIMIT {
        return Err(Refusal::invalid("contractor", format!("is longer than {LABEL_LIMIT} bytes")));
    }
    for (field, text) in [("purpose", &new.purpose), ("mail", &new.mail)] {
        if text.chars().count() > TEXT_LIMIT || text.chars().any(char::is_control) {
            let message = format!("has at most {TEXT_LIMIT} characters, on one line");
            return Err(Refusal::invalid(field, message));
        }
    }
    if new.purpose.trim().is_empty() {
        return Err(Refusal::invalid("purpose", "says what the contractor needs access for"));
    }
    Ok(())
}
