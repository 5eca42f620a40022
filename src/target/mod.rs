//! The databases on which accounts are created and removed.
//!
//! One trait, [`Target`]; one folder an engine. A target knows SQL, connections and verifiers; it knows nothing of
//! leases' states, of the store or of who may ask. Every step is idempotent: done twice it has the effect of once, and
//! "already gone" is success. A new engine is one folder here and one line in [`connect`].

mod circuit;
mod credentials;
mod error;
mod existing;
mod finding;
mod health;
mod many;
pub mod mysql;
mod offset;
mod password;
pub mod postgres;
mod recognition;
mod settings;
mod stock;
mod wide;

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

pub use credentials::{AdministrationAccount, Candidate, Candidates, Configured, Credentials, Origin};
pub use error::{TargetError, TargetErrorKind};
pub use existing::ExistingState;
pub use finding::{Finding, Severity};
pub use health::{CircuitState, Health, HealthBoard, LeftAlone, Pass};
pub use many::{Glance, TOGETHER};
pub use offset::{ClockOffset, NOTABLE_OFFSET, OffsetGauge};
pub use password::{PASSWORD_LENGTH, generate_password};
pub use recognition::{AnyServer, Recognition, ServerIdentity};
pub use settings::{
    AuthPlugin, Expiry, OnDrift, PoolSettings, ReconcileSettings, TargetSettings, TlsMode, TlsSettings,
};

use crate::domain::{
    Account, AccountName, Drift, EndPlan, Engine, ExistingAccount, FoundAccount, InstanceId, Lease, LeaseId,
    LeaseKind, Mark, ObjectCounts, Password, PrincipalRef, Role, TargetName,
};

/// A fresh password and what the target will know of it. Made ahead of the account, off the async threads.
#[derive(Debug, Clone)]
pub struct Secret {
    /// For the requester only.
    pub password: Password,
    /// For the target. Not usable to log in, yet not for logs either.
    pub verifier: Verifier,
}

/// What a target stores of a password, in the engine's own text form.
#[derive(Clone)]
pub struct Verifier(String);

impl Verifier {
    /// Wraps an engine's verifier.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text for the engine.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier([redacted])")
    }
}

/// An account to create.
#[derive(Debug, Clone, Copy)]
pub struct NewAccount<'a> {
    /// The installation that creates it, for its mark.
    pub instance: InstanceId,
    /// The account.
    pub account: &'a Account,
    /// The role it is issued under.
    pub role: &'a Role,
    /// The lease it serves, for the account's comment and for statement templates.
    pub lease: LeaseId,
    /// Who asked, likewise.
    pub principal: &'a PrincipalRef,
    /// When the database itself must refuse it, on Mayfly's clock; the target corrects for its own clock's offset.
    pub expires_at: Timestamp,
}

impl NewAccount<'_> {
    /// The mark the account is to carry.
    pub fn mark(&self) -> Mark {
        Mark {
            instance: Some(self.instance),
            lease: self.lease,
            role: self.role.name.clone(),
            requester: self.principal.clone(),
        }
    }
}

/// Which accounts to look at, of those whose name is one of ours ([`AccountName::lease_of`]).
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// All, in the byte order of their names, a page at a time.
    After {
        /// Only names above this one; `None`: from the first.
        name: Option<&'a str>,
        /// At most this many.
        limit: u32,
    },
    /// Those of these names that exist.
    Named(&'a [&'a AccountName]),
}

/// An existing account to act on.
#[derive(Debug, Clone, Copy)]
pub struct LeasedAccount<'a> {
    /// The account.
    pub account: &'a Account,
    /// The lease it serves.
    pub lease: LeaseId,
    /// The role's name it was issued under, for statement templates.
    pub role: &'a str,
    /// Who asked, likewise.
    pub principal: &'a PrincipalRef,
    /// How it ends (and renews): the role's rules as they were at issue.
    pub plan: &'a EndPlan,
}

impl<'a> LeasedAccount<'a> {
    /// The account that was made for a lease; `None`: its account was there before, and is not to be ended with it.
    pub fn of(lease: &'a Lease) -> Option<Self> {
        let made = lease.kind == LeaseKind::Ephemeral;
        let leased = Self {
            account: &lease.account,
            lease: lease.id,
            role: lease.role.as_str(),
            principal: &lease.principal,
            plan: &lease.end_plan,
        };
        (made && leased.is_ours()).then_some(leased)
    }

    /// Whether the account's name is one that Mayfly gives. No target drops any other, or what it owns.
    pub fn is_ours(&self) -> bool {
        AccountName::lease_of(self.account.name.as_str()).is_some()
    }

    /// Refuses to drop what Mayfly did not make.
    fn insist_on_ours(&self) -> Result<(), TargetError> {
        if self.is_ours() {
            return Ok(());
        }
        let message = "the account is not one that Mayfly made: neither it nor what it owns is dropped";
        Err(TargetError::new(TargetErrorKind::Refused, message))
    }
}

/// An existing account that is handed to the holder of a lease.
#[derive(Debug, Clone, Copy)]
pub struct HandedOut<'a> {
    /// The account.
    pub account: &'a ExistingAccount,
    /// The lease it is handed out for.
    pub lease: LeaseId,
    /// When the database itself must refuse it, on Mayfly's clock; the target corrects for its own clock's offset.
    pub expires_at: Timestamp,
}

/// Groups that an existing account is given for a lease.
#[derive(Debug, Clone, Copy)]
pub struct Elevated<'a> {
    /// The account.
    pub account: &'a ExistingAccount,
    /// The lease they are given for.
    pub lease: LeaseId,
    /// The groups; the account did not have them before.
    pub groups: &'a [String],
    /// When the server takes them away, where it can, unless another lease holds them longer; on Mayfly's clock.
    pub expires_at: Timestamp,
    /// Whether the server then ends the account's sessions as well.
    pub ends_sessions: bool,
    /// Whether the server must be able to do so.
    pub expiry: Expiry,
}

/// What a target sees of an account right after disabling it: enough to skip the steps that have nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// The account exists.
    pub present: bool,
    /// Sessions it has open.
    pub sessions: u32,
    /// It owns, defines or was granted something that must be dealt with before it can be dropped.
    pub has_objects: bool,
}

/// One pass of ending sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionsEnded {
    /// Sessions told to end in this pass.
    pub ended: u32,
    /// Sessions still seen after it.
    pub remaining: u32,
}

/// A live session of a leased account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The server's process or connection identifier.
    pub id: u64,
    /// Where it comes from; `None` over a local socket, or when the server does not say.
    pub client: Option<IpAddr>,
    /// The database it is in.
    pub database: Option<String>,
    /// When it began, by the target's clock.
    pub started_at: Option<Timestamp>,
    /// What it is doing, in the engine's words (`active`, `idle`, `Sleep`, …).
    pub activity: Option<String>,
}

/// How much of a pool is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Which: `issuing` or `ending`.
    pub pool: &'static str,
    /// Connections it may have.
    pub size: usize,
    /// Connections lent right now.
    pub in_use: usize,
    /// Those who wait for one.
    pub waiting: usize,
}

/// What answers at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion {
    /// What it really is; must agree with what was configured.
    pub engine: Engine,
    /// As the server says it, such as `15.18` or `10.11.19-MariaDB`.
    pub version: String,
}

/// What `mayfly doctor` finds out about a target.
#[derive(Debug, Clone)]
pub struct Examination {
    /// What answers; `None` when nothing does (then a finding says why).
    pub server: Option<ServerVersion>,
    /// The target's clock minus ours.
    pub clock_offset: Option<SignedDuration>,
    /// What is well, what is not, and what to do about it.
    pub findings: Vec<Finding>,
}

/// One database server that Mayfly administers.
///
/// Each method bounds its own time (connection wait, statement time) by the target's settings.
///
/// # Errors
/// Every method fails with a [`TargetError`] whose kind says whether trying again can help.
#[async_trait]
pub trait Target: Send + Sync {
    /// How it was configured.
    fn settings(&self) -> &TargetSettings;

    /// Its name.
    fn name(&self) -> &TargetName {
        &self.settings().name
    }

    /// The engine it was configured as.
    fn engine(&self) -> Engine {
        self.settings().engine
    }

    /// Where clients connect, in order of preference: host and port.
    fn client_addresses(&self) -> Vec<(String, u16)> {
        let settings = self.settings();
        if settings.client_hosts.is_empty() { settings.hosts.clone() } else { settings.client_hosts.clone() }
    }

    /// The database clients are pointed at when the role names none.
    fn client_database(&self) -> Option<String> {
        self.settings().database.clone()
    }

    /// How its clock differs from ours, as last measured; `None`: not measured yet.
    fn clock_offset(&self) -> Option<ClockOffset> {
        None
    }

    /// Its connections, pool by pool.
    fn pools(&self) -> Vec<PoolUse> {
        Vec::new()
    }

    /// Draws a password and computes its verifier, off the async threads.
    async fn prepare(&self, role: &Role) -> Result<Secret, TargetError>;

    /// Creates the account: login, verifier, expiry, limits, settings, memberships, mark; then the role's own `create`
    /// statements. All or nothing where the engine allows; elsewhere what was created is removed before it fails. Uses the
    /// issuing pool; one round trip where the engine allows.
    async fn create(&self, new: NewAccount<'_>, secret: &Secret) -> Result<(), TargetError>;

    /// Sets a fresh password on an existing account (a reply that was lost is asked for again).
    async fn replace_secret(&self, account: LeasedAccount<'_>, secret: &Secret) -> Result<(), TargetError>;

    /// Moves the expiry on the target; then the role's own `renew` statements.
    async fn renew(&self, account: LeasedAccount<'_>, expires_at: Timestamp) -> Result<(), TargetError>;

    /// First step of ending: no new login, committed. Says what is left to do. Uses the ending pool, like all that follow.
    async fn disable(&self, account: LeasedAccount<'_>) -> Result<Survey, TargetError>;

    /// Second step: ends live sessions and looks again. Called until none remains.
    async fn end_sessions(&self, account: LeasedAccount<'_>) -> Result<SessionsEnded, TargetError>;

    /// Third step: the role's own `end` statements, then the objects of the account in every database, by its rule.
    /// With `keep`, takes every membership away and reports what is kept.
    async fn settle_objects(&self, account: LeasedAccount<'_>) -> Result<ObjectCounts, TargetError>;

    /// Fourth step: drops the account (success when it is gone already) and verifies that neither it nor a session of it is
    /// there any more. `true`: verified gone.
    async fn remove(&self, account: LeasedAccount<'_>) -> Result<bool, TargetError>;

    /// [`Target::disable`] for many accounts, [`TOGETHER`] at most: none of them lets anybody in any more, committed. Says what is seen
    /// of each, in their order. An engine that has no way to do so does nothing and finds everything [`Glance::Laden`].
    ///
    /// A failure says nothing of any of them, here as in the two that follow: each is then ended on its own.
    async fn disable_many(&self, accounts: &[LeasedAccount<'_>]) -> Result<Vec<Glance>, TargetError> {
        Ok(vec![Glance::Laden; accounts.len()])
    }

    /// [`Target::end_sessions`] for accounts that were disabled together.
    async fn end_sessions_of_many(
        &self,
        accounts: &[LeasedAccount<'_>],
    ) -> Result<Vec<SessionsEnded>, TargetError> {
        let mut ended = Vec::with_capacity(accounts.len());
        for account in accounts {
            ended.push(self.end_sessions(*account).await?);
        }
        Ok(ended)
    }

    /// [`Target::remove`] for accounts that were disabled together and were seen to be [`Glance::Bare`] or [`Glance::Absent`] then.
    /// `true`: verified gone. Whichever is not is to be ended on its own.
    async fn remove_many(&self, accounts: &[LeasedAccount<'_>]) -> Result<Vec<bool>, TargetError> {
        Ok(vec![false; accounts.len()])
    }

    /// The account's live sessions. Uses the issuing pool: looking must not crowd out ending.
    async fn sessions(&self, account: &Account) -> Result<Vec<Session>, TargetError>;

    /// Accounts as they stand, whoever created them: their marks tell. Changes nothing. Uses the ending pool.
    async fn accounts(&self, which: Which<'_>) -> Result<Vec<FoundAccount>, TargetError>;

    /// Whether an account's expiry is kept on the target itself, so that it can be compared.
    fn keeps_expiry(&self) -> bool {
        true
    }

    /// Undoes drift on the account of a live lease, as far as it lets the holder do more than agreed or keeps him from what was
    /// agreed. `expires_at` is what the lease says, on Mayfly's clock.
    async fn put_right(
        &self,
        account: LeasedAccount<'_>,
        drift: &[Drift],
        expires_at: Timestamp,
    ) -> Result<(), TargetError>;

    /// An account that was there before Mayfly; `None`: it does not exist. Changes nothing. Uses the issuing pool.
    async fn existing(&self, account: &ExistingAccount) -> Result<Option<ExistingState>, TargetError>;

    /// Makes an existing account a member of groups. What it is a member of stays; done twice it has the effect of once. Uses the
    /// issuing pool.
    async fn elevate(&self, elevated: Elevated<'_>) -> Result<(), TargetError>;

    /// Moves the expiry of what an account was given for a lease, where the server keeps one. Uses the issuing pool.
    async fn keep_until(
        &self,
        account: &ExistingAccount,
        lease: LeaseId,
        expires_at: Timestamp,
    ) -> Result<(), TargetError> {
        let _ = (account, lease, expires_at);
        Ok(())
    }

    /// The server is to hold no groups for a lease any more; what it holds for others stays, and so does what the account has. Uses
    /// the ending pool.
    async fn let_go(&self, account: &ExistingAccount, lease: LeaseId) -> Result<(), TargetError> {
        let _ = (account, lease);
        Ok(())
    }

    /// Takes groups from an existing account and verifies that; the account, what it owns and its other groups stay. A group that it
    /// is no member of, or that does not exist, is success. The server holds them for no lease any more. `false`: there is no such account. Uses the ending pool, like what follows.
    async fn strip(&self, account: &ExistingAccount, groups: &[String]) -> Result<bool, TargetError>;

    /// Ends the live sessions of an existing account and looks again. Called until none remains that was there at the first call:
    /// the account may log in meanwhile.
    async fn end_existing_sessions(&self, account: &ExistingAccount) -> Result<SessionsEnded, TargetError>;

    /// Hands an existing account to a holder: the secret becomes the only way to log in, the account is enabled, and the server refuses
    /// it after the expiry. Refuses accounts that are barred ([`ExistingState::barred`]). Sessions that are open stay; done twice it has
    /// the effect of once. Uses the issuing pool.
    async fn check_out(&self, handed: HandedOut<'_>, secret: &Secret) -> Result<(), TargetError>;

    /// Moves the expiry of an account that is checked out. Uses the issuing pool.
    async fn prolong(&self, handed: HandedOut<'_>) -> Result<(), TargetError>;

    /// Takes an existing account back: it cannot log in any more, and no password that anybody was told is its password any more, should
    /// somebody enable it. The account, what it owns and what it is a member of stay, and so do its sessions, which are ended next.
    /// `false`: there is no such account. Uses the ending pool.
    async fn check_in(&self, account: &ExistingAccount) -> Result<bool, TargetError>;

    /// Gives the administration account itself another password: by its verifier, like every other. Existing connections stay
    /// usable. Uses the ending pool.
    async fn change_own_password(&self, password: &Password) -> Result<(), TargetError>;

    /// Logs the administration account in with a password, apart from every pool. Once the server has let it in, new
    /// connections begin with this password.
    async fn prove_own_password(&self, password: &Password) -> Result<(), TargetError>;

    /// Whether it answers, and as what.
    async fn ping(&self) -> Result<ServerVersion, TargetError>;

    /// Examines everything the given roles will need, without changing anything: version, privileges, clock, group roles, and
    /// that the role objects are reassigned to exists, cannot log in and has no privilege beyond owning.
    async fn examine(&self, roles: &[&Role]) -> Examination;

    /// Installs or upgrades what the server needs so that accounts expire with nobody there, with the administration account's
    /// own rights. Says what it did, a sentence each; nothing: there was nothing to do.
    async fn install(&self) -> Result<Vec<String>, TargetError> {
        Ok(Vec::new())
    }

    /// The same as SQL for an administrator of the server to run, grants for the administration account included; changes
    /// nothing. Empty: the engine needs nothing.
    async fn installation_script(&self) -> Result<String, TargetError> {
        Ok(String::new())
    }
}

/// A target by its settings. Connects nowhere: a server that is down now can be up when it is needed.
///
/// # Errors
/// When a file of its TLS settings cannot be used.
pub fn connect(settings: TargetSettings, surroundings: Surroundings) -> Result<Arc<dyn Target>, TargetError> {
    match settings.engine {
        Engine::Postgres => Ok(Arc::new(postgres::Postgres::new(settings, surroundings)?)),
        Engine::Mysql | Engine::Mariadb => Ok(Arc::new(mysql::Mysql::new(settings, surroundings)?)),
    }
}

/// Everything a target needs of its surroundings.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn crate::clock::Clock>,
    /// Chance, for passwords and salts.
    pub random: Arc<dyn crate::random::Random>,
    /// Whether a server that answers is the one it should be; asked on every new connection, before anything else.
    pub recognition: Arc<dyn Recognition>,
    /// What the administration account logs in with.
    pub credentials: Arc<dyn Credentials>,
}

impl Surroundings {
    /// Surroundings in which any server is taken for the right one, and the configured password for the only one.
    pub fn new(clock: Arc<dyn crate::clock::Clock>, random: Arc<dyn crate::random::Random>) -> Self {
        Self { clock, random, recognition: Arc::new(AnyServer), credentials: Arc::new(Configured) }
    }
}
