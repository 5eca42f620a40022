//! A caller over gRPC, and what it holds: a credential is promised to work until a moment, unless its end was asked for.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use mayfly::{
    api::proto::{
        self, GetLeaseRequest, IssueLeaseRequest, LeaseFilter, LeaseState, ListLeasesRequest,
        ReleaseLeaseRequest, RenewLeaseRequest, RevokeLeaseRequest, RevokeLeasesRequest,
        lease_service_client::LeaseServiceClient,
    },
    clock::{Clock as _, SystemClock},
    domain::{Engine, Password},
};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::support::world::{Database, Login};

/// No call takes nearly as long; one whose server was killed under it ends by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// The engines count an expiry in whole seconds.
const GRAIN: SignedDuration = SignedDuration::from_secs(2);

/// A caller: the administrator.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Where the server is.
    pub(crate) address: String,
    pub(crate) channel: Channel,
    client: LeaseServiceClient<Channel>,
    bearer: MetadataValue<Ascii>,
}

/// A credential that was delivered.
pub(crate) struct Held {
    pub(crate) lease: String,
    pub(crate) account: String,
    /// Under which idempotency key it was asked for.
    pub(crate) key: String,
    /// For how many seconds.
    pub(crate) ttl: u32,
    password: Password,
    /// It works until then, or longer.
    pub(crate) promised: Timestamp,
    /// Its end was asked for; whether that was heard is not known.
    pub(crate) end_asked: bool,
    /// Its end was acknowledged.
    pub(crate) end_told: bool,
    /// A fresh password was asked for and not delivered: this one may or may not work.
    pub(crate) in_doubt: bool,
    session: Option<Login>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} promised until {} end_asked={} end_told={} in_doubt={} session={}",
            self.lease,
            self.account,
            self.promised,
            self.end_asked,
            self.end_told,
            self.in_doubt,
            self.session.is_some()
        )
    }
}

/// The moment of a protocol timestamp.
fn moment(time: Option<prost_types::Timestamp>) -> Timestamp {
    let time = time.unwrap();
    Timestamp::new(time.seconds, time.nanos).unwrap()
}

fn seconds(ttl: u32) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::from(ttl), nanos: 0 }
}

/// Whether an account may exist in this state.
pub(crate) fn is_live(state: LeaseState) -> bool {
    matches!(state, LeaseState::Provisioning | LeaseState::Active | LeaseState::Ending)
}

impl Held {
    pub(super) fn of(reply: proto::IssueLeaseResponse, key: &str, ttl: u32) -> Self {
        let (lease, credential) = (reply.lease.unwrap(), reply.credential.unwrap());
        Self {
            lease: lease.name,
            account: credential.username,
            key: key.to_owned(),
            ttl,
            password: Password::new(credential.password),
            promised: moment(lease.expire_time),
            end_asked: false,
            end_told: false,
            in_doubt: false,
            session: None,
        }
    }

    /// Whether it must work now and for a while yet.
    pub(crate) fn must_work(&self) -> bool {
        let soon = SystemClock.now().saturating_add(GRAIN).unwrap();
        !self.end_asked && !self.in_doubt && soon < self.promised
    }

    /// Whether its password must log in.
    pub(crate) async fn log_in(&self, database: &Database) -> Result<Login, String> {
        database.login(&self.account, &self.password).await
    }

    /// Asserts that it is of no use any more.
    pub(crate) async fn assert_over(&mut self, database: &Database) {
        assert!(self.log_in(database).await.is_err(), "ended, and logs in: {self:?}");
        assert_ne!(self.session_answers().await, Some(true), "ended, with a session: {self:?}");
    }

    /// Asks for a fresh password, which takes the place of this one.
    pub(crate) async fn ask_again(&mut self, caller: &Caller, role: &str) -> Result<(), Status> {
        self.in_doubt = true;
        let again = caller.issue(role, self.ttl, &self.key).await?;
        assert_eq!(again.lease, self.lease, "one key, two leases");
        assert!(again.promised >= self.promised, "shortened: {self:?} is {again:?}");
        let (session, end_asked, end_told) = (self.session.take(), self.end_asked, self.end_told);
        *self = Self { end_asked, end_told, session, ..again };
        Ok(())
    }

    /// Whether it has a session open.
    pub(crate) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Opens a session that owns something, so that every step of ending has something to do.
    pub(crate) async fn settle_in(&mut self, database: &Database) -> Result<(), String> {
        let mut session = self.log_in(database).await?;
        let create = match database.engine {
            Engine::Postgres => format!("CREATE TABLE drafts.{} (id int)", self.account),
            _ => format!("CREATE PROCEDURE {}() SELECT 1", self.account),
        };
        session.ask(&create).await?;
        self.session = Some(session);
        Ok(())
    }

    /// Whether the session it opened answers; `None` when it opened none.
    pub(crate) async fn session_answers(&mut self) -> Option<bool> {
        Some(self.session.as_mut()?.ask("SELECT 1").await.is_ok())
    }

    /// Asserts that it logs in and reads, for as long as it must; a busy server may turn it away once or twice.
    pub(crate) async fn assert_logs_in(&self, database: &Database) {
        let mut refusals = Vec::new();
        while self.must_work() && refusals.len() < 5 {
            let read = async { self.log_in(database).await?.ask("SELECT item FROM orders").await };
            match read.await {
                Ok(_) => return,
                Err(error) => refusals.push(error),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!self.must_work(), "lost: {self:?}: {refusals:?}");
    }

    /// Asserts what was promised: while it must work, its lease says so and its password logs in. What the books say is a
    /// promise, too.
    pub(crate) async fn assert_kept(&mut self, lease: &proto::Lease, database: &Database) {
        let state = lease.state();
        if !self.must_work() {
            return;
        }
        assert_eq!(state, LeaseState::Active, "lost: {self:?} is {lease:?}");
        assert!(moment(lease.expire_time) >= self.promised, "shortened: {self:?} is {lease:?}");
        self.promised = moment(lease.expire_time);
        self.assert_logs_in(database).await;
        if self.session_answers().await == Some(false) {
            assert!(!self.must_work(), "lost: the session of {self:?}");
        }
    }
}

impl Caller {
    pub(crate) fn new(address: &str, token: &str) -> Self {
        let channel = Endpoint::from_shared(address.to_owned()).unwrap().connect_lazy();
        Self {
            address: address.to_owned(),
            client: LeaseServiceClient::new(channel.clone()),
            channel,
            bearer: format!("Bearer {token}").parse().unwrap(),
        }
    }

    /// A call of its own.
    pub(crate) fn with<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }

    /// Issues under a role.
    pub(crate) async fn issue(&self, role: &str, ttl: u32, key: &str) -> Result<Held, Status> {
        let request = self.with(IssueLeaseRequest {
            role: role.to_owned(),
            ttl: Some(seconds(ttl)),
            purpose: String::new(),
            idempotency_key: key.to_owned(),
        });
        answer(self.client.clone().issue_lease(request)).await.map(|reply| Held::of(reply, key, ttl))
    }

    /// Moves an expiry; what is promised moves only once that was told.
    pub(crate) async fn renew(&self, held: &mut Held, ttl: u32) -> Result<(), Status> {
        let request = self.with(RenewLeaseRequest { name: held.lease.clone(), ttl: Some(seconds(ttl)) });
        let reply = answer(self.client.clone().renew_lease(request)).await?;
        let promised = moment(reply.lease.unwrap().expire_time);
        assert!(promised >= held.promised, "shortened: {held:?} by a renewal to {promised}");
        held.promised = promised;
        Ok(())
    }

    /// Ends a lease as its holder.
    pub(crate) async fn release(&self, held: &mut Held, wait: bool) -> Result<(), Status> {
        held.end_asked = true;
        let request = self.with(ReleaseLeaseRequest { name: held.lease.clone(), wait });
        answer(self.client.clone().release_lease(request)).await?;
        held.end_told = true;
        Ok(())
    }

    /// Ends a lease by authority.
    pub(crate) async fn revoke(&self, held: &mut Held, wait: bool) -> Result<(), Status> {
        held.end_asked = true;
        let reason = "a test of crashes".to_owned();
        let request = self.with(RevokeLeaseRequest { name: held.lease.clone(), reason, wait });
        answer(self.client.clone().revoke_lease(request)).await?;
        held.end_told = true;
        Ok(())
    }

    /// Ends every lease on the target that installations with one only have.
    pub(crate) async fn revoke_all(&self) -> Result<u32, Status> {
        self.revoke_on("target").await
    }

    /// Ends every lease on a target.
    pub(crate) async fn revoke_on(&self, target: &str) -> Result<u32, Status> {
        let filter = LeaseFilter { target: target.to_owned(), ..LeaseFilter::default() };
        let request =
            self.with(RevokeLeasesRequest { filter: Some(filter), reason: "all of them".to_owned() });
        Ok(answer(self.client.clone().revoke_leases(request)).await?.revoked_count)
    }

    /// A lease as it is.
    pub(crate) async fn lease(&self, name: &str) -> Result<proto::Lease, Status> {
        let request = self.with(GetLeaseRequest { name: name.to_owned() });
        Ok(answer(self.client.clone().get_lease(request)).await?.lease.unwrap())
    }

    /// All leases in some states (none: in any).
    pub(crate) async fn leases(&self, states: &[LeaseState]) -> Result<Vec<proto::Lease>, Status> {
        let states: Vec<i32> = states.iter().map(|state| *state as i32).collect();
        let (mut leases, mut page_token) = (Vec::new(), String::new());
        loop {
            let filter = Some(LeaseFilter { states: states.clone(), ..LeaseFilter::default() });
            let request = self.with(ListLeasesRequest { page_size: 500, page_token, filter });
            let page = answer(self.client.clone().list_leases(request)).await?;
            leases.extend(page.leases);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(leases);
            }
        }
    }
}

/// What a call comes to, within reasonable time.
pub(crate) async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answered) => answered.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the test waited long enough")),
    }
}

/// The reason a program is told when it is refused.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
