//! PostgreSQL 13 and later.
//!
//! Statements, sessions, quoting and verifiers live here; what a lease is does not. Creating an account is one message
//! in one transaction. An account is told by its oid wherever its sessions or objects are looked for, because the oid
//! survives `SET ROLE` and the drop. The administration account is an ordinary role with `CREATEROLE`.
//!
//! `VALID UNTIL` is by the server's clock: its offset is measured on every connect, and anew once the measurement is a minute
//! old, and all expiries are corrected for it.

mod acting;
mod connect;
mod create;
mod cron;
mod deputies;
mod end;
mod errors;
mod examine;
mod existing;
mod found;
mod handed;
mod many;
mod objects;
mod own;
mod pool;
mod privileges;
mod put_right;
mod quote;
mod secrets;
mod subscriptions;
mod templates;
pub mod tls;
mod verifier;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use deadpool::managed::Object;
use jiff::Timestamp;
use tokio::{sync::Semaphore, time::timeout};

use self::{
    connect::{Connection, Connector, Release},
    deputies::Part,
    found::Seen,
    objects::Reach,
    pool::{Manager, Pool},
    secrets::Secrets,
};
use super::{
    ClockOffset, Elevated, Examination, ExistingState, Finding, Glance, HandedOut, LeasedAccount, NewAccount,
    PoolUse, Secret, ServerVersion, Session, SessionsEnded, Surroundings, Survey, Target, TargetError,
    TargetErrorKind, TargetSettings, Which, many::insist_on_a_batch,
};
use crate::domain::{Account, Drift, Engine, ExistingAccount, FoundAccount, ObjectCounts, Password, Role};

/// A PostgreSQL server that Mayfly administers.
pub struct Postgres {
    settings: Arc<TargetSettings>,
    secrets: Secrets,
    connector: Arc<Connector>,
    issuing: Pool,
    ending: Pool,
    /// Connections to databases other than the one for administration, as many again as `ending` has.
    visits: Semaphore,
}

impl Postgres {
    /// A target by its settings. Connects nowhere: a server that is down now can be up when it is needed.
    ///
    /// # Errors
    /// When a TLS file cannot be used.
    pub fn new(settings: TargetSettings, surroundings: Surroundings) -> Result<Self, TargetError> {
        let settings = Arc::new(settings);
        let Surroundings { clock, random, recognition, credentials } = surroundings;
        let connector = Arc::new(Connector::new(Arc::clone(&settings), clock, recognition, credentials)?);
        let bounds = &settings.pool;
        Ok(Self {
            issuing: Pool::new(&connector, bounds.issuing, bounds)?,
            ending: Pool::new(&connector, bounds.ending, bounds)?,
            visits: Semaphore::new(bounds.ending.max(1)),
            secrets: Secrets::new(random),
            connector,
            settings,
        })
    }

    /// A connection that acts as the deputy that holds an account, when one does.
    async fn lend_for(
        &self,
        pool: &Pool,
        account: LeasedAccount<'_>,
    ) -> Result<Object<Manager>, TargetError> {
        let mut connection = pool.get().await?;
        self.act_for(&mut connection, account).await;
        Ok(connection)
    }

    async fn act_for(&self, connection: &mut Connection, account: LeasedAccount<'_>) {
        if self.connector.has_deputies() {
            let holders = deputies::holders(connection, &[account.account.name.as_str()]).await;
            connection.act_as(holders.into_iter().find_map(|part| part.deputy));
        }
    }

    /// A connection to end several accounts with, and who holds them.
    async fn lend_for_many<'a>(
        &self,
        accounts: &[&'a str],
    ) -> Result<(Object<Manager>, Vec<Part<'a>>), TargetError> {
        let mut connection = self.ending.get().await?;
        let parts = if self.connector.has_deputies() {
            deputies::holders(&mut connection, accounts).await
        } else {
            vec![Part::ours(accounts)]
        };
        Ok((connection, parts))
    }

    fn version(release: &Release) -> ServerVersion {
        ServerVersion { engine: Engine::Postgres, version: release.text.clone() }
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[async_trait]
impl Target for Postgres {
    fn settings(&self) -> &TargetSettings {
        &self.settings
    }

    fn client_database(&self) -> Option<String> {
        Some(self.connector.database().to_owned())
    }

    fn clock_offset(&self) -> Option<ClockOffset> {
        self.connector.offset()
    }

    fn pools(&self) -> Vec<PoolUse> {
        vec![self.issuing.usage("issuing"), self.ending.usage("ending")]
    }

    async fn prepare(&self, role: &Role) -> Result<Secret, TargetError> {
        self.secrets.draw(role.scram_iterations).await
    }

    async fn create(&self, new: NewAccount<'_>, secret: &Secret) -> Result<(), TargetError> {
        let mut connection = self.issuing.get().await?;
        let expires_at = self.connector.on_target_clock(&mut connection, new.expires_at).await?;
        let creating = async {
            deputies::take_post(&mut connection, new.role, self.settings.pool.accounts_per_deputy).await;
            if connection.deputy().is_some() {
                self.connector.note_deputies();
            }
            create::create(&mut connection, new, secret, expires_at).await.map_err(TargetError::after_sending)
        };
        // Of however many statements it consists: what was not told of by then is taken to be undone (`longest_creation`).
        let bound = self.settings.pool.longest_statements();
        timeout(bound, creating).await.unwrap_or_else(|_| Err(late(bound)))
    }

    async fn replace_secret(&self, account: LeasedAccount<'_>, secret: &Secret) -> Result<(), TargetError> {
        let mut connection = self.lend_for(&self.issuing, account).await?;
        let done = create::replace_secret(&mut connection, account, secret).await;
        if again_by_ourselves(&mut connection, &done) {
            return create::replace_secret(&mut connection, account, secret).await;
        }
        done
    }

    async fn renew(&self, account: LeasedAccount<'_>, expires_at: Timestamp) -> Result<(), TargetError> {
        let mut connection = self.issuing.get().await?;
        let expires_at = self.connector.on_target_clock(&mut connection, expires_at).await?;
        self.act_for(&mut connection, account).await;
        let done = create::renew(&mut connection, account, expires_at).await;
        if again_by_ourselves(&mut connection, &done) {
            return create::renew(&mut connection, account, expires_at).await;
        }
        done
    }

    async fn disable(&self, account: LeasedAccount<'_>) -> Result<Survey, TargetError> {
        let mut connection = self.lend_for(&self.ending, account).await?;
        let name = account.account.name.as_str();
        let done = end::disable(&mut connection, name).await;
        if again_by_ourselves(&mut connection, &done) {
            end::disable(&mut connection, name).await
        } else {
            done
        }
    }

    async fn end_sessions(&self, account: LeasedAccount<'_>) -> Result<SessionsEnded, TargetError> {
        let mut connection = self.ending.get().await?;
        end::end_sessions(&mut connection, account.account.name.as_str()).await
    }

    async fn settle_objects(&self, account: LeasedAccount<'_>) -> Result<ObjectCounts, TargetError> {
        account.insist_on_ours()?;
        let reach = Reach {
            connector: &self.connector,
            pool: &self.ending,
            visits: &self.visits,
            bounds: &self.settings.pool,
        };
        Box::pin(objects::settle(&reach, account)).await
    }

    async fn remove(&self, account: LeasedAccount<'_>) -> Result<bool, TargetError> {
        account.insist_on_ours()?;
        let mut connection = self.lend_for(&self.ending, account).await?;
        let name = account.account.name.as_str();
        let done = end::remove(&mut connection, name).await;
        if again_by_ourselves(&mut connection, &done) {
            end::remove(&mut connection, name).await
        } else {
            done
        }
    }

    async fn disable_many(&self, accounts: &[LeasedAccount<'_>]) -> Result<Vec<Glance>, TargetError> {
        insist_on_a_batch(accounts)?;
        let names = names(accounts);
        let (mut connection, parts) = self.lend_for_many(&names).await?;
        many::disable(&mut connection, &names, &parts).await
    }

    async fn end_sessions_of_many(
        &self,
        accounts: &[LeasedAccount<'_>],
    ) -> Result<Vec<SessionsEnded>, TargetError> {
        insist_on_a_batch(accounts)?;
        let names = names(accounts);
        let (mut connection, parts) = self.lend_for_many(&names).await?;
        many::end_sessions(&mut connection, &names, &parts).await
    }

    async fn remove_many(&self, accounts: &[LeasedAccount<'_>]) -> Result<Vec<bool>, TargetError> {
        insist_on_a_batch(accounts)?;
        let names = names(accounts);
        let (mut connection, parts) = self.lend_for_many(&names).await?;
        many::remove(&mut connection, &names, &parts).await
    }

    async fn sessions(&self, account: &Account) -> Result<Vec<Session>, TargetError> {
        let mut connection = self.issuing.get().await?;
        end::sessions(&mut connection, account.name.as_str()).await
    }

    async fn accounts(&self, which: Which<'_>) -> Result<Vec<FoundAccount>, TargetError> {
        let mut connection = self.ending.get().await?;
        let seen = found::accounts(&mut connection, which).await?;
        let on_our_clock = |at| self.connector.on_our_clock(at);
        let accounts = seen.into_iter().map(|Seen { account, expires_at }| FoundAccount {
            expires_at: expires_at.map(on_our_clock),
            ..account
        });
        Ok(accounts.collect())
    }

    async fn put_right(
        &self,
        account: LeasedAccount<'_>,
        drift: &[Drift],
        expires_at: Timestamp,
    ) -> Result<(), TargetError> {
        let mut connection = self.ending.get().await?;
        let expires_at = self.connector.on_target_clock(&mut connection, expires_at).await?;
        put_right::put_right(&mut connection, account.account.name.as_str(), drift, expires_at).await
    }

    async fn existing(&self, account: &ExistingAccount) -> Result<Option<ExistingState>, TargetError> {
        let mut connection = self.issuing.get().await?;
        let state = existing::state(&mut connection, account.name()).await?;
        let on_our_clock = |at| self.connector.on_our_clock(at);
        Ok(state.map(|state| ExistingState { expires_at: state.expires_at.map(on_our_clock), ..state }))
    }

    async fn elevate(&self, elevated: Elevated<'_>) -> Result<(), TargetError> {
        let mut connection = self.issuing.get().await?;
        let done = existing::elevate(&mut connection, elevated.account.name(), elevated.groups).await;
        done.map_err(TargetError::after_sending)
    }

    async fn strip(&self, account: &ExistingAccount, groups: &[String]) -> Result<bool, TargetError> {
        let mut connection = self.ending.get().await?;
        existing::strip(&mut connection, account.name(), groups).await
    }

    async fn end_existing_sessions(&self, account: &ExistingAccount) -> Result<SessionsEnded, TargetError> {
        let mut connection = self.ending.get().await?;
        existing::end_sessions(&mut connection, account.name()).await
    }

    async fn check_out(&self, handed: HandedOut<'_>, secret: &Secret) -> Result<(), TargetError> {
        let mut connection = self.issuing.get().await?;
        let expires_at = self.connector.on_target_clock(&mut connection, handed.expires_at).await?;
        let done = handed::check_out(&mut connection, handed.account.name(), secret, expires_at).await;
        done.map_err(TargetError::after_sending)
    }

    async fn prolong(&self, handed: HandedOut<'_>) -> Result<(), TargetError> {
        let mut connection = self.issuing.get().await?;
        let expires_at = self.connector.on_target_clock(&mut connection, handed.expires_at).await?;
        handed::prolong(&mut connection, handed.account.name(), expires_at).await
    }

    async fn check_in(&self, account: &ExistingAccount) -> Result<bool, TargetError> {
        let mut connection = self.ending.get().await?;
        handed::check_in(&mut connection, account.name()).await
    }

    async fn change_own_password(&self, password: &Password) -> Result<(), TargetError> {
        let verifier = own::verifier(password, self.secrets.random()).await?;
        let mut connection = self.ending.get().await?;
        own::change_password(&mut connection, &verifier).await
    }

    async fn prove_own_password(&self, password: &Password) -> Result<(), TargetError> {
        own::prove_password(&self.connector, password).await
    }

    async fn ping(&self) -> Result<ServerVersion, TargetError> {
        let mut connection = self.ending.get().await?;
        connection
            .run("SELECT 1")
            .await
            .map_err(|failure| failure.while_doing("asking for a sign of life"))?;
        Ok(Self::version(connection.release()))
    }

    async fn examine(&self, roles: &[&Role]) -> Examination {
        let (mut connection, recognised) =
            match self.connector.connect_to_look(self.connector.database()).await {
                Ok(answer) => answer,
                Err(error) => {
                    return Examination { server: None, clock_offset: None, findings: vec![problem(error)] };
                }
            };
        let mut findings: Vec<Finding> = recognised.err().map(problem).into_iter().collect();
        let clock_offset = connection.offset();
        findings.extend(match examine::examine(&mut connection, roles, clock_offset).await {
            Ok(findings) => findings,
            Err(failure) => vec![problem(failure.while_doing("examining the server"))],
        });
        Examination { server: Some(Self::version(connection.release())), clock_offset, findings }
    }

    async fn installation_script(&self) -> Result<String, TargetError> {
        Ok(cron::script(self.connector.user(), self.connector.database())?)
    }
}

/// Whether a step that failed as a deputy can be taken by the administration account itself, as which the connection then acts.
fn again_by_ourselves<T>(connection: &mut Connection, done: &Result<T, TargetError>) -> bool {
    let failed = done.as_ref().is_err_and(|error| !error.outcome_is_unknown());
    let again = failed && connection.deputy().is_some() && connection.is_usable();
    connection.act_as(None);
    again
}

fn late(bound: Duration) -> TargetError {
    TargetError::new(TargetErrorKind::TimedOut, format!("the account was not created within {bound:?}"))
        .after_sending()
}

fn names<'a>(accounts: &[LeasedAccount<'a>]) -> Vec<&'a str> {
    accounts.iter().map(|leased| leased.account.name.as_str()).collect()
}

fn problem(error: TargetError) -> Finding {
    let mut finding = Finding::problem(error.to_string());
    finding.remedy = error.remedy;
    finding
}
