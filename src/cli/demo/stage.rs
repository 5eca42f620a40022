//! Where the story plays: a trial installation, a Mayfly in a process of its own, and calls to it.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    client::Client,
    transcript::{Setback, Told},
};
use crate::{
    api::proto,
    cli::{CliError, Connection, Credential, Exit, creds::Wish, trial, view},
    clock::Clock,
    domain::{Engine, Password},
    sandbox::{Installation, InstalledTarget},
};

/// How long Mayfly may take to start, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take, after a lease is due, until its account is verified gone.
const END_LIMIT: SignedDuration = SignedDuration::from_secs(15);
/// Between two looks at something that is on its way.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A lease with a client that can use it.
pub(super) struct Held {
    pub(super) lease: proto::Lease,
    pub(super) client: Client,
}

/// The stage.
pub(super) struct Stage<'a> {
    pub(super) installation: &'a mut Installation,
    pub(super) administrator: Connection,
    pub(super) application: Connection,
    pub(super) clock: Arc<dyn Clock>,
    program: PathBuf,
    application_token: PathBuf,
    /// Every password that was handed out.
    pub(super) passwords: Vec<Password>,
}

impl<'a> Stage<'a> {
    /// Starts Mayfly and makes a token for an application.
    pub(super) async fn open(
        installation: &'a mut Installation,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CliError> {
        let program =
            env::current_exe().map_err(|error| CliError::local("this program is not found", &error))?;
        let administrator = trial::connect(installation.listen(), &installation.administrator_token())?;
        start(installation, &program, &administrator).await?;
        let token = trial::application_token(&administrator).await?;
        let application_token =
            installation.write_private("app.token", &token).map_err(|error| trial::failed(&error))?;
        let application = trial::connect(installation.listen(), &application_token)?;
        let passwords = Vec::new();
        Ok(Self { installation, administrator, application, clock, program, application_token, passwords })
    }

    /// Starts Mayfly again. Lines to the one that died may not have noticed yet, so they are drawn anew.
    pub(super) async fn start(&mut self) -> Result<(), CliError> {
        let listen = self.installation.listen();
        self.administrator = trial::connect(listen, &self.installation.administrator_token())?;
        self.application = trial::connect(listen, &self.application_token)?;
        start(self.installation, &self.program, &self.administrator).await
    }

    pub(super) fn target(&self, engine: Engine) -> Result<&InstalledTarget, CliError> {
        let found = self.installation.targets().iter().find(|installed| installed.target.engine == engine);
        found.ok_or_else(|| CliError::new(Exit::Internal, format!("no {} was started", engine.title())))
    }

    /// Asks for a credential under the target's reading role.
    pub(super) async fn issue(&mut self, engine: Engine, ttl: Duration) -> Result<Held, CliError> {
        let role = format!("{}-read", self.target(engine)?.target.name());
        let wish =
            Wish { role, ttl: Some(ttl), purpose: "demo".to_owned(), ticket: String::new(), wait: false };
        let application = &self.application;
        let reply = application.leases().issue_lease(wish.request(application, "")).await;
        let reply = reply.map_err(|status| application.explain(&status))?.into_inner();
        let incomplete = || CliError::new(Exit::Internal, "the server's reply is incomplete");
        let credential = Credential::from_proto(reply.credential.ok_or_else(incomplete)?)?;
        self.passwords.push(credential.password.clone());
        let client = Client::new(credential, self.installation)?;
        Ok(Held { lease: reply.lease.ok_or_else(incomplete)?, client })
    }

    /// Waits until a lease of the application's has ended as `state`; returns it.
    pub(super) async fn ended(
        &self,
        name: &str,
        due: Timestamp,
        state: proto::LeaseState,
    ) -> Result<proto::Lease, Setback> {
        self.ended_as_seen_by(&self.application, name, due, state).await
    }

    /// Likewise, for a lease that somebody else sees.
    pub(super) async fn ended_as_seen_by(
        &self,
        line: &Connection,
        name: &str,
        due: Timestamp,
        state: proto::LeaseState,
    ) -> Result<proto::Lease, Setback> {
        let deadline = due.saturating_add(END_LIMIT).unwrap_or(due);
        loop {
            let lease = look(line, name).await?;
            if lease.state() == state {
                return Ok(lease);
            }
            if self.clock.now() > deadline {
                let expected = proto::Lease { state: state.into(), ..Default::default() };
                return Err(Setback::unexpected(
                    format!("the lease {} within 15 s", view::state_word(&expected)),
                    format!("it is {}", view::state_word(&lease)),
                ));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether the server itself has an account, asked as its superuser.
    pub(super) async fn has_account(&self, engine: Engine, account: &str) -> Result<bool, CliError> {
        let found = self.target(engine)?.server.has_account(account).await;
        found.map_err(|error| CliError::local("the server cannot be asked", &error))
    }

    /// The catalogue has forgotten the account.
    pub(super) async fn is_gone(&self, engine: Engine, account: &str) -> Told<()> {
        if self.has_account(engine, account).await? {
            return Err(Setback::unexpected("no such account any more", format!("{account} exists")));
        }
        Ok(((), format!("{} no longer lists it", catalogue(engine))))
    }
}

/// The lease as Mayfly sees it now.
async fn look(line: &Connection, name: &str) -> Result<proto::Lease, CliError> {
    let request = line.call(proto::GetLeaseRequest { name: name.to_owned() });
    let reply = line.leases().get_lease(request).await;
    Ok(reply.map_err(|status| line.explain(&status))?.into_inner().lease.unwrap_or_default())
}

/// Where an engine lists its accounts.
fn catalogue(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "pg_roles",
        Engine::Mysql | Engine::Mariadb => "mysql.user",
    }
}

/// A new login is refused, and for no other reason than that the account may not log in.
pub(super) async fn is_refused(client: &Client) -> Told<()> {
    match client.ask("SELECT 1").await? {
        Ok(_) => Err(Setback::unexpected("a refused login", "a login")),
        Err(complaint) if is_refusal(&complaint) => Ok(((), complaint)),
        Err(complaint) => Err(Setback::unexpected("a refused login", complaint)),
    }
}

pub(super) fn is_refusal(complaint: &str) -> bool {
    ["authentication failed", "not permitted to log in", "does not exist", "Access denied"]
        .iter()
        .any(|words| complaint.contains(words))
}

/// The moment a lease expires.
pub(super) fn expiry(lease: &proto::Lease) -> Result<Timestamp, Setback> {
    view::moment(lease.expire_time).ok_or_else(|| Setback::unexpected("an expiry", "none"))
}

async fn start(
    installation: &mut Installation,
    program: &std::path::Path,
    connection: &Connection,
) -> Result<(), CliError> {
    installation.serve(program).await.map_err(|error| trial::failed(&error))?;
    let ready = async {
        loop {
            let request = connection.call(proto::GetServerInfoRequest {});
            match connection.server().get_server_info(request).await {
                Ok(_) => return Ok(()),
                Err(_) if installation.has_ended() => {
                    return Err(CliError::new(Exit::Failure, "Mayfly ended while starting"));
                }
                Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    };
    match tokio::time::timeout(START_LIMIT, ready).await {
        Ok(ready) => ready,
        Err(_) => Err(CliError::new(Exit::Failure, "Mayfly does not answer after 30 s")),
    }
}
