//! Accounts of people, as administrators see and change them.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{Departure, RETRIES};
use crate::{
    audit::Draft,
    domain::{GroupName, PrincipalName},
    identity::{
        Caller,
        people::{Enrolment, OneTimeCode, User},
    },
    issuer::{Issuer, Refusal, RefusalKind},
    policy,
    store::{Changes, Committed, Listing, document, documents},
};

/// How long somebody has to set the first password unless said otherwise.
const ENROLMENT_LIFE: Duration = Duration::from_secs(3 * 24 * 3600);

/// The longest that can be.
const LONGEST_ENROLMENT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Groups an account may have.
const GROUPS_LIMIT: usize = 64;

/// Characters of a person's name, and of a mail address.
const TEXT_LIMIT: usize = 200;

/// An account to make.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The principal's name.
    pub name: PrincipalName,
    /// The person's name; may be empty.
    pub display_name: String,
    /// Where mail reaches the person; may be empty.
    pub mail: String,
    /// Groups.
    pub groups: BTreeSet<GroupName>,
    /// How long the code for setting a password works; `None`: three days.
    pub life: Option<Duration>,
}

/// An account whose person may set a password, with the code that is shown once.
#[derive(Debug)]
pub struct Enrolling {
    /// The account.
    pub user: User,
    /// The code.
    pub code: OneTimeCode,
}

impl User {
    /// Its resource name.
    pub fn resource(&self) -> String {
        format!("users/{}", self.name)
    }
}

impl Issuer {
    /// Makes an account.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, a bad field, there is one of that name, store unavailable.
    pub async fn add_user(&self, caller: &Caller, new: NewUser) -> Result<Enrolling, Refusal> {
        let what = "user.created";
        self.authorise(caller, policy::Action::Administer, what, format!("users/{}", new.name)).await?;
        check(&new)?;
        let now = self.clock.now();
        let (code, enrolment) = self.new_enrolment(new.life, now).await?;
        let user = User {
            name: new.name,
            display_name: new.display_name,
            mail: new.mail,
            groups: new.groups,
            generation: self.random.bits(),
            password: None,
            enrolment: Some(enrolment),
            second_factor: None,
            offer: None,
            recovery: Vec::new(),
            failures: 0,
            locked_until: None,
            disabled_at: None,
            created_at: now,
            signed_in_at: None,
        };
        let draft = Draft::new(now, caller.actor(), what, user.resource()).with("groups", join(&user.groups));
        match Changes::new().insert(&user)?.record(draft).commit(&*self.store).await? {
            Committed::Yes => Ok(Enrolling { user, code }),
            Committed::Conflict => {
                let message = format!("there is a user {} already", user.name);
                Err(self
                    .refuse(caller, what, user.resource(), Refusal::new(RefusalKind::Exists, message))
                    .await)
            }
        }
    }

    /// Accounts, in descending order of their names, below `before`.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, store unavailable.
    pub async fn users(
        &self,
        caller: &Caller,
        before: Option<&PrincipalName>,
        limit: u32,
    ) -> Result<Vec<User>, Refusal> {
        self.authorise(caller, policy::Action::Administer, "user.listed", "users/-".to_owned()).await?;
        let listing = Listing { by: None, before: before.map(PrincipalName::as_str), limit };
        let found = documents::<User>(&*self.store, listing).await?;
        Ok(found.into_iter().map(|kept| kept.document).collect())
    }

    /// One account: one's own, or, for administrators, anybody's.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such user, store unavailable.
    pub async fn user(&self, caller: &Caller, name: &PrincipalName) -> Result<User, Refusal> {
        if *name != caller.principal.name {
            let resource = format!("users/{name}");
            self.authorise(caller, policy::Action::Administer, "user.shown", resource).await?;
        }
        let kept = document::<User>(&*self.store, name.as_str()).await?;
        kept.map(|kept| kept.document).ok_or_else(|| unknown(name))
    }

    /// Disables an account, or enables it. Its sessions end with the former, at once, and so does what its person asked for, was
    /// granted and has on targets; should Mayfly be interrupted, soon after.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such user, store unavailable.
    pub async fn disable_user(
        &self,
        caller: &Caller,
        name: &PrincipalName,
        disabled: bool,
    ) -> Result<User, Refusal> {
        let what = if disabled { "user.disabled" } else { "user.enabled" };
        let (now, generation) = (self.clock.now(), self.random.bits());
        let change = |user: User| match (disabled, user.disabled_at) {
            (true, None) => User { disabled_at: Some(now), generation, ..user },
            (false, Some(_)) => User { disabled_at: None, ..user.succeeded() },
            _ => user,
        };
        self.change_user(caller, name, what, change, |draft| draft).await
    }

    /// Gives an account other groups. They count at once, for its sessions as well.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such user, too many groups, store unavailable.
    pub async fn set_groups(
        &self,
        caller: &Caller,
        name: &PrincipalName,
        groups: BTreeSet<GroupName>,
    ) -> Result<User, Refusal> {
        if groups.len() > GROUPS_LIMIT {
            return Err(too_many_groups());
        }
        let (told, change) = (join(&groups), |user: User| User { groups: groups.clone(), ..user });
        self.change_user(caller, name, "user.groups_changed", change, |draft| {
            draft.with("groups", told.clone())
        })
        .await
    }

    /// Takes an account's password away, and with `second_factor` its second factor too; a code lets the person set a new one.
    /// Its sessions end.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such user, store unavailable.
    pub async fn reset_user(
        &self,
        caller: &Caller,
        name: &PrincipalName,
        second_factor: bool,
        life: Option<Duration>,
    ) -> Result<Enrolling, Refusal> {
        let what = "user.reset";
        self.authorise(caller, policy::Action::Administer, what, format!("users/{name}")).await?;
        check_life(life)?;
        let (code, enrolment) = self.new_enrolment(life, self.clock.now()).await?;
        let generation = self.random.bits();
        let change = |user: User| {
            let enrolment = Some(enrolment.clone());
            let user = User { password: None, enrolment, generation, ..user.succeeded() };
            if !second_factor {
                return user;
            }
            User { second_factor: None, offer: None, recovery: Vec::new(), ..user }
        };
        let tell = |draft: Draft| draft.with("second_factor", if second_factor { "removed" } else { "kept" });
        let user = self.change_user(caller, name, what, change, tell).await?;
        Ok(Enrolling { user, code })
    }

    /// Removes an account. All ends with it that ends when it is disabled.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such user, store unavailable.
    pub async fn remove_user(&self, caller: &Caller, name: &PrincipalName) -> Result<User, Refusal> {
        let what = "user.removed";
        self.authorise(caller, policy::Action::Administer, what, format!("users/{name}")).await?;
        for _ in 0..RETRIES {
            let kept = document::<User>(&*self.store, name.as_str()).await?.ok_or_else(|| unknown(name))?;
            let now = self.clock.now();
            let draft = Draft::new(now, caller.actor(), what, kept.document.resource());
            let departure = departure(name, now, "removed");
            let changes = self.departing(&departure, Changes::new().remove(&kept).record(draft)).await?;
            if changes.commit(&*self.store).await? == Committed::Yes {
                self.see_off(name, &caller.actor()).await;
                return Ok(kept.document);
            }
        }
        Err(Issuer::contended())
    }

    async fn change_user(
        &self,
        caller: &Caller,
        name: &PrincipalName,
        what: &'static str,
        change: impl Fn(User) -> User,
        tell: impl Fn(Draft) -> Draft,
    ) -> Result<User, Refusal> {
        self.authorise(caller, policy::Action::Administer, what, format!("users/{name}")).await?;
        for _ in 0..RETRIES {
            let kept = document::<User>(&*self.store, name.as_str()).await?.ok_or_else(|| unknown(name))?;
            let changed = change(kept.document.clone());
            let now = self.clock.now();
            let draft = tell(Draft::new(now, caller.actor(), what, changed.resource()));
            let mut changes = Changes::new().replace(&changed, kept.revision)?.record(draft);
            let departs = changed.disabled_at.is_some() && kept.document.disabled_at.is_none();
            if departs {
                changes = self.departing(&departure(name, now, "disabled"), changes).await?;
            }
            if changes.commit(&*self.store).await? == Committed::Yes {
                if departs {
                    self.see_off(name, &caller.actor()).await;
                }
                return Ok(changed);
            }
        }
        Err(Issuer::contended())
    }

    async fn new_enrolment(
        &self,
        life: Option<Duration>,
        now: Timestamp,
    ) -> Result<(OneTimeCode, Enrolment), Refusal> {
        let code = OneTimeCode::generate(&*self.random);
        let hash = self.people.hasher.hash(&code.as_password(), &*self.random).await?;
        let life = SignedDuration::try_from(life.unwrap_or(ENROLMENT_LIFE)).unwrap_or(SignedDuration::ZERO);
        let expires_at = now.checked_add(life).unwrap_or(now);
        Ok((code, Enrolment { hash, expires_at }))
    }
}

fn departure(name: &PrincipalName, at: Timestamp, how: &str) -> Departure {
    Departure { principal: name.clone(), at, why: format!("the account {name} was {how}") }
}

fn unknown(name: &PrincipalName) -> Refusal {
    Refusal::not_found(format!("there is no user {name}"))
}

fn join(groups: &BTreeSet<GroupName>) -> String {
    groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join(" ")
}

fn too_many_groups() -> Refusal {
    Refusal::invalid("groups", format!("a user has at most {GROUPS_LIMIT} groups"))
}

fn check_life(life: Option<Duration>) -> Result<(), Refusal> {
    if life.is_some_and(|life| life < Duration::from_secs(60) || life > LONGEST_ENROLMENT) {
        return Err(Refusal::invalid("ttl", "a code for setting a password works for one minute to 30 days"));
    }
    Ok(())
}

fn check(new: &NewUser) -> Result<(), Refusal> {
    if new.groups.len() > GROUPS_LIMIT {
        return Err(too_many_groups());
    }
    for (field, text) in [("display_name", &new.display_name), ("mail", &new.mail)] {
        if text.chars().count() > TEXT_LIMIT || text.chars().any(char::is_control) {
            let message = format!("has at most {TEXT_LIMIT} characters, on one line");
            return Err(Refusal::invalid(field, message));
        }
    }
    if !new.mail.is_empty() && (!new.mail.contains('@') || new.mail.contains(char::is_whitespace)) {
        return Err(Refusal::invalid("mail", "is no mail address"));
    }
    check_life(new.life)
}
