//! MySQL 8.0.21 and later, MariaDB 10.6 and later.
//!
//! One driver, two flavours: what differs between them is decided where a statement is composed, by [`Flavour`]. Every
//! statement is quoted by [`quote`] and nowhere else; every connection has its `sql_mode` pinned, so that a quoted text
//! means the same whatever the server's default. Neither flavour can let an account expire by itself: see [`switch`].
//! No state of leases and no rule of who may ask enters here.

mod census;
mod connect;
mod create;
mod elevated;
mod end;
mod errors;
mod examine;
mod existing;
mod expiry;
mod flavour;
mod found;
mod grants;
mod handed;
mod handing;
mod identity;
mod link;
mod many;
mod objects;
mod own;
mod pool;
mod privileges;
mod quote;
mod redefine;
mod sessions;
mod switch;
mod template;
mod tls;
mod turns;
mod verifier;

pub use switch::STATEMENTS as SWITCH_STATEMENTS;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use self::{
    census::Census, connect::Connector, flavour::Flavour, link::within, pool::Pool, switch::Keeper,
    turns::Turns, verifier::Secrets,
};
use super::{
    ClockOffset, Elevated, Examination, ExistingState, Expiry, Glance, HandedOut, LeasedAccount, NewAccount,
    PoolUse, Secret, ServerVersion, Session, SessionsEnded, Surroundings, Survey, Target, TargetError,
    TargetSettings, Which, many::insist_on_a_batch,
};
use crate::domain::{Account, Drift, ExistingAccount, FoundAccount, LeaseId, ObjectCounts, Password, Role};

/// A MySQL or MariaDB server.
pub struct Mysql {
    settings: TargetSettings,
    flavour: Flavour,
    surroundings: Surroundings,
    secrets: Secrets,
    issuing: Pool,
    ending: Pool,
    census: Census,
    dropping: Turns,
}

impl Mysql {
    /// Prepares a target; nothing is connected to yet.
    ///
    /// # Errors
    /// When a file of the TLS settings cannot be used, or the engine is not one of the two.
    pub fn new(settings: TargetSettings, surroundings: Surroundings) -> Result<Self, TargetError> {
        let flavour = Flavour::of(settings.engine)?;
        let connector = Arc::new(Connector::new(&settings, flavour, &surroundings)?);
        let pool = |size| Pool::new(Arc::clone(&connector), Arc::clone(&surroundings.clock), size);
        let (issuing, ending) = (pool(settings.pool.issuing), pool(settings.pool.ending));
        let secrets = Secrets::new(flavour, settings.auth_plugin, &surroundings.random);
        let (census, dropping) = (Census::default(), Turns::new());
        Ok(Self { settings, flavour, surroundings, secrets, issuing, ending, census, dropping })
    }

    /// Drops accounts by one statement.
    async fn remove_at_once(&self, accounts: &[&Account]) -> Result<Vec<bool>, TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, many::remove(&mut link, accounts)).await;
        link.release(outcome)
    }

    /// Who sees to the expiry of accounts here.
    fn keeper(&self) -> Keeper<'_> {
        Keeper { expiry: self.settings.expiry, target: &self.settings.name }
    }
}

#[async_trait]
impl Target for Mysql {
    fn settings(&self) -> &TargetSettings {
        &self.settings
    }

    fn pools(&self) -> Vec<PoolUse> {
        vec![self.issuing.usage("issuing"), self.ending.usage("ending")]
    }

    async fn prepare(&self, _role: &Role) -> Result<Secret, TargetError> {
        self.secrets.draw().await
    }

    async fn create(&self, new: NewAccount<'_>, secret: &Secret) -> Result<(), TargetError> {
        let plan = create::Plan::new(self.flavour, self.settings.auth_plugin, new, secret)?;
        let mut link = self.issuing.acquire().await?;
        let limit = self.settings.pool.statement;
        let required = switch::required(&mut link, self.keeper(), switch::MARKS);
        let registry = match within(limit, required).await {
            Ok(registry) => registry,
            refused => return link.release(refused).map(drop),
        };
        let outcome = within(limit, plan.run(&mut link, registry)).await;
        link.release(outcome.map_err(TargetError::after_sending))
    }

    async fn replace_secret(&self, account: LeasedAccount<'_>, secret: &Secret) -> Result<(), TargetError> {
        let mut link = self.issuing.acquire().await?;
        let plugin = self.settings.auth_plugin;
        let outcome =
            within(self.settings.pool.statement, create::replace_secret(&mut link, account, secret, plugin));
        let outcome = outcome.await;
        link.release(outcome)
    }

    async fn renew(&self, account: LeasedAccount<'_>, expires_at: Timestamp) -> Result<(), TargetError> {
        let mut link = self.issuing.acquire().await?;
        let outcome = expiry::renew(&mut link, account, expires_at, self.keeper());
        let outcome = within(self.settings.pool.statement, outcome).await;
        link.release(outcome)
    }

    async fn disable(&self, account: LeasedAccount<'_>) -> Result<Survey, TargetError> {
        let limit = self.settings.pool.statement;
        let mut link = self.ending.acquire().await?;
        let outcome = within(limit, end::disable(&mut link, account.account)).await;
        let (present, sessions) = link.release(outcome)?;
        // A session may still define something before it is ended.
        let has_objects =
            sessions > 0 || within(limit, self.census.counts(account.account, &self.ending)).await?;
        Ok(Survey { present, sessions, has_objects })
    }

    async fn end_sessions(&self, account: LeasedAccount<'_>) -> Result<SessionsEnded, TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, sessions::end(&mut link, account.account)).await;
        link.release(outcome)
    }

    async fn settle_objects(&self, account: LeasedAccount<'_>) -> Result<ObjectCounts, TargetError> {
        account.insist_on_ours()?;
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, objects::settle(&mut link, account)).await;
        link.release(outcome)
    }

    async fn remove(&self, account: LeasedAccount<'_>) -> Result<bool, TargetError> {
        account.insist_on_ours()?;
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, end::remove(&mut link, account.account)).await;
        link.release(outcome)
    }

    async fn disable_many(&self, accounts: &[LeasedAccount<'_>]) -> Result<Vec<Glance>, TargetError> {
        insist_on_a_batch(accounts)?;
        let (limit, accounts) = (self.settings.pool.statement, each(accounts));
        let mut link = self.ending.acquire().await?;
        let outcome = within(limit, many::disable(&mut link, &accounts)).await;
        let mut glances = link.release(outcome)?;
        if glances.contains(&Glance::Bare) {
            let definers = within(limit, self.census.counted(&accounts, &self.ending)).await?;
            many::load(&mut glances, &definers);
        }
        Ok(glances)
    }

    async fn end_sessions_of_many(
        &self,
        accounts: &[LeasedAccount<'_>],
    ) -> Result<Vec<SessionsEnded>, TargetError> {
        insist_on_a_batch(accounts)?;
        let accounts = each(accounts);
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, sessions::end_all(&mut link, &accounts)).await;
        link.release(outcome)
    }

    async fn remove_many(&self, accounts: &[LeasedAccount<'_>]) -> Result<Vec<bool>, TargetError> {
        insist_on_a_batch(accounts)?;
        let (accounts, mut gone) = (each(accounts), Vec::with_capacity(accounts.len()));
        let dropper = self.dropping.begin();
        while let Some(rest) = accounts.get(gone.len()..).filter(|rest| !rest.is_empty()) {
            let turn = dropper.turn(&self.issuing.usage("issuing")).await;
            let part = rest.get(..turn.at_once()).unwrap_or(rest);
            match self.remove_at_once(part).await {
                Ok(removed) => gone.extend(removed),
                Err(error) if gone.is_empty() => return Err(error),
                // Of those before it is known that they are gone.
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "some of many accounts were not dropped together"
                    );
                    gone.resize(accounts.len(), false);
                }
            }
        }
        Ok(gone)
    }

    async fn sessions(&self, account: &Account) -> Result<Vec<Session>, TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, sessions::list(&mut link, account)).await;
        link.release(outcome)
    }

    async fn accounts(&self, which: Which<'_>) -> Result<Vec<FoundAccount>, TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, async {
            let registry = switch::registry(&mut link, self.keeper()).await?;
            found::list(&mut link, which, registry).await
        });
        let outcome = outcome.await;
        link.release(outcome)
    }

    fn clock_offset(&self) -> Option<ClockOffset> {
        self.ending.connector().offset.last()
    }

    fn keeps_expiry(&self) -> bool {
        self.settings.expiry == Expiry::Server
    }

    async fn put_right(
        &self,
        account: LeasedAccount<'_>,
        drift: &[Drift],
        expires_at: Timestamp,
    ) -> Result<(), TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = found::put_right(&mut link, account, drift, expires_at, self.keeper());
        let outcome = within(self.settings.pool.statement, outcome).await;
        link.release(outcome)
    }

    async fn existing(&self, account: &ExistingAccount) -> Result<Option<ExistingState>, TargetError> {
        let mut link = self.issuing.acquire().await?;
        let outcome = within(self.settings.pool.statement, handed::state(&mut link, account)).await;
        link.release(outcome)
    }

    async fn elevate(&self, elevated: Elevated<'_>) -> Result<(), TargetError> {
        let mut link = self.issuing.acquire().await?;
        // Who agrees for the whole target that nothing expires by itself need not do so for each role.
        let expiry = if self.settings.expiry == Expiry::Issuer { Expiry::Issuer } else { elevated.expiry };
        let outcome = elevated::elevate(&mut link, Elevated { expiry, ..elevated }, &self.settings.name);
        let outcome = within(self.settings.pool.statement, outcome).await;
        link.release(outcome.map_err(TargetError::after_sending))
    }

    async fn keep_until(
        &self,
        account: &ExistingAccount,
        lease: LeaseId,
        expires_at: Timestamp,
    ) -> Result<(), TargetError> {
        let mut link = self.issuing.acquire().await?;
        let outcome = elevated::keep_until(&mut link, account, lease, expires_at);
        let outcome = within(self.settings.pool.statement, outcome).await;
        link.release(outcome)
    }

    async fn let_go(&self, account: &ExistingAccount, lease: LeaseId) -> Result<(), TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, elevated::let_go(&mut link, account, lease)).await;
        link.release(outcome)
    }

    async fn strip(&self, account: &ExistingAccount, groups: &[String]) -> Result<bool, TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, elevated::strip(&mut link, account, groups)).await;
        link.release(outcome)
    }

    async fn end_existing_sessions(&self, account: &ExistingAccount) -> Result<SessionsEnded, TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, existing::end_sessions(&mut link, account)).await;
        link.release(outcome)
    }

    async fn check_out(&self, handed: HandedOut<'_>, secret: &Secret) -> Result<(), TargetError> {
        let mut link = self.issuing.acquire().await?;
        let with = (secret, self.settings.auth_plugin);
        let outcome = handed::check_out(&mut link, handed, with, self.keeper());
        let outcome = within(self.settings.pool.statement, outcome).await;
        link.release(outcome.map_err(TargetError::after_sending))
    }

    async fn prolong(&self, handed: HandedOut<'_>) -> Result<(), TargetError> {
        let mut link = self.issuing.acquire().await?;
        let outcome = handed::prolong(&mut link, handed, self.keeper());
        let outcome = within(self.settings.pool.statement, outcome).await;
        link.release(outcome)
    }

    async fn check_in(&self, account: &ExistingAccount) -> Result<bool, TargetError> {
        let plugin = self.settings.auth_plugin;
        let nobodys = self.secrets.draw().await?;
        let mut link = self.ending.acquire().await?;
        let outcome = handed::check_in(&mut link, account, (&nobodys, plugin));
        let outcome = within(self.settings.pool.statement, outcome).await;
        link.release(outcome)
    }

    async fn change_own_password(&self, password: &Password) -> Result<(), TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = own::change_password(&mut link, password, &self.surroundings);
        let outcome = within(self.settings.pool.statement, outcome).await;
        link.release(outcome)
    }

    async fn prove_own_password(&self, password: &Password) -> Result<(), TargetError> {
        own::prove_password(self.ending.connector(), password).await
    }

    async fn ping(&self) -> Result<ServerVersion, TargetError> {
        let mut link = self.issuing.acquire().await?;
        let outcome = within(self.settings.pool.statement, link.ping()).await;
        let version = ServerVersion { engine: self.settings.engine, version: link.server().version.clone() };
        link.release(outcome).map(|()| version)
    }

    async fn examine(&self, roles: &[&Role]) -> Examination {
        examine::examine(self, roles).await
    }

    async fn install(&self) -> Result<Vec<String>, TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, switch::install(&mut link)).await;
        link.release(outcome)
    }

    async fn installation_script(&self) -> Result<String, TargetError> {
        let mut link = self.ending.acquire().await?;
        let outcome = within(self.settings.pool.statement, switch::script(&mut link)).await;
        link.release(outcome)
    }
}

fn each<'a>(accounts: &[LeasedAccount<'a>]) -> Vec<&'a Account> {
    accounts.iter().map(|leased| leased.account).collect()
}
