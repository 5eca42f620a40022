//! More than can be done: who is let in, who waits, and who is told to come back.

use std::{sync::Arc, time::Duration};

use mayfly::{
    api::proto::{
        GetServerInfoRequest, IssueLeaseRequest, IssueLeaseResponse, ReleaseLeaseRequest, RenewLeaseRequest,
        WhoAmIRequest,
    },
    clock::SystemClock,
    domain::{LeaseLimits, StateName},
    target::{PoolSettings, Target},
};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::rig::{Api, settings, told, with};
use crate::support::{
    eventually,
    meddler::{Gate, Meddler, Moment, Step},
    world::{Database, World, databases, target_name},
};

/// What a call for a credential came to.
type Asked = JoinHandle<Result<IssueLeaseResponse, Status>>;

/// Two issues at once, and two that wait.
const BOUNDS: (usize, usize) = (2, 2);

/// A served world of which a test holds the creations.
struct Rig {
    api: Api,
    meddler: Arc<Meddler>,
}

impl Rig {
    async fn new(database: &Database) -> Self {
        let mut settings_of_target = database.settings("shop");
        settings_of_target.pool = PoolSettings {
            issuing: BOUNDS.0 / 2,
            queue: BOUNDS.1,
            turn: Duration::from_secs(60),
            ..PoolSettings::default()
        };
        let meddler = Meddler::new(World::target(settings_of_target, Arc::new(SystemClock)));
        let mut role = database.reading_role("shop-read", "shop");
        role.limits = LeaseLimits { per_principal: 100, total: 100 };
        role.scram_iterations = 64;
        let world = World::with(vec![Arc::clone(&meddler) as Arc<dyn Target>], vec![role]).await;
        Self { api: Api::serve(world, settings()).await, meddler }
    }

    async fn ask(&self, token: &str) -> Asked {
        let (mut client, token) = (self.api.leases().await, token.to_owned());
        tokio::spawn(async move {
            let message = IssueLeaseRequest { role: "shop-read".to_owned(), ..Default::default() };
            client.issue_lease(with(&token, message)).await.map(tonic::Response::into_inner)
        })
    }

    /// So many are under way, and so many wait.
    async fn crowd(&self, under_way: usize, waiting: usize) {
        let expected = (under_way, waiting);
        eventually(&format!("{under_way} under way, {waiting} waiting"), async || {
            let crowd = self.api.world.issuer.crowd(&target_name("shop"));
            ((crowd.under_way, crowd.waiting) == expected).then_some(())
        })
        .await;
    }

    /// As many as may be are under way, held at the target, and as many as may be wait: all asked for with one token.
    async fn flood(&self, token: &str) -> (Vec<Gate>, Vec<Asked>) {
        let (mut gates, mut asked) = (Vec::new(), Vec::new());
        for under_way in 1..=BOUNDS.0 {
            let gate = self.meddler.hold(Step::Create, Moment::Before);
            asked.push(self.ask(token).await);
            gate.reached().await;
            gates.push(gate);
            self.crowd(under_way, 0).await;
        }
        for waiting in 1..=BOUNDS.1 {
            asked.push(self.ask(token).await);
            self.crowd(BOUNDS.0, waiting).await;
        }
        (gates, asked)
    }

    async fn stop(self) {
        self.api.shutdown.cancel();
        self.api.serving.await.unwrap();
        self.api.world.stop().await;
    }
}

#[tokio::test]
async fn whoever_finds_the_queue_full_is_told_to_come_back_and_nothing_of_it_is_written() {
    for database in databases().await {
        let rig = Rig::new(&database).await;
        let fleet = rig.api.reader("fleet").await;
        let (gates, asked) = rig.flood(&fleet).await;
        let (leases, records) = (rig.api.world.leases().await.len(), rig.api.world.audit().await.len());
        for _ in 0..5 {
            let status = rig.ask(&fleet).await.await.unwrap().unwrap_err();
            assert_eq!(told(&status), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
            let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
            assert!(wait >= Duration::from_millis(100) && wait <= Duration::from_secs(10), "{wait:?}");
        }
        assert_eq!(rig.api.world.leases().await.len(), leases);
        assert_eq!(rig.api.world.audit().await.len(), records);
        gates.iter().for_each(Gate::open);
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
        rig.crowd(0, 0).await;
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_principal_with_one_call_is_next_however_many_another_has_waiting() {
    for database in databases().await {
        let rig = Rig::new(&database).await;
        let (fleet, app) = (rig.api.reader("fleet").await, rig.api.reader("app").await);
        let (gates, mut fleets) = rig.flood(&fleet).await;
        let apps = rig.ask(&app).await;
        // The last of the fleet's calls gave its place up for it.
        let displaced = fleets.pop().unwrap().await.unwrap().unwrap_err();
        assert_eq!(told(&displaced), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
        rig.crowd(BOUNDS.0, BOUNDS.1).await;
        // One turn of the fleet's, then the application's: the next place but one, though the fleet goes on asking.
        let held = rig.meddler.hold(Step::Create, Moment::Before);
        gates[0].open();
        held.reached().await;
        rig.crowd(BOUNDS.0, BOUNDS.1 - 1).await;
        let more = rig.ask(&fleet).await;
        rig.crowd(BOUNDS.0, BOUNDS.1).await;
        gates[1].open();
        apps.await.unwrap().unwrap();
        held.open();
        for asked in fleets.into_iter().chain([more]) {
            asked.await.unwrap().unwrap();
        }
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_caller_who_gives_up_frees_its_place_in_the_queue() {
    for database in databases().await {
        let rig = Rig::new(&database).await;
        let fleet = rig.api.reader("fleet").await;
        let (gates, mut asked) = rig.flood(&fleet).await;
        asked.pop().unwrap().abort();
        rig.crowd(BOUNDS.0, BOUNDS.1 - 1).await;
        asked.push(rig.ask(&fleet).await);
        rig.crowd(BOUNDS.0, BOUNDS.1).await;
        gates.iter().for_each(Gate::open);
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
        rig.stop().await;
    }
}

#[tokio::test]
async fn leases_are_renewed_released_and_ended_while_nothing_more_can_be_issued() {
    for database in databases().await {
        let rig = Rig::new(&database).await;
        let fleet = rig.api.reader("fleet").await;
        let mut leases = Vec::new();
        for _ in 0..3 {
            leases.push(rig.ask(&fleet).await.await.unwrap().unwrap().lease.unwrap().name);
        }
        let (gates, asked) = rig.flood(&fleet).await;
        let mut client = rig.api.leases().await;
        let name = leases.remove(0);
        let message = RenewLeaseRequest { name, ..Default::default() };
        // The one connection for issuing is in use; a renewal waits for it, and is not turned away.
        let renewal = tokio::spawn({
            let (mut client, fleet) = (client.clone(), fleet.clone());
            async move { client.renew_lease(with(&fleet, message)).await }
        });
        let message = ReleaseLeaseRequest { name: leases.remove(0), ..Default::default() };
        client.release_lease(with(&fleet, message)).await.unwrap();
        rig.api.server().await.who_am_i(with(&fleet, WhoAmIRequest {})).await.unwrap();
        rig.api.server().await.get_server_info(GetServerInfoRequest {}).await.unwrap();
        rig.crowd(BOUNDS.0, BOUNDS.1).await;
        gates.iter().for_each(Gate::open);
        renewal.await.unwrap().unwrap();
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
        rig.stop().await;
    }
}

#[tokio::test]
async fn what_expires_is_ended_while_nothing_more_can_be_issued() {
    for database in databases().await {
        let rig = Rig::new(&database).await;
        let fleet = rig.api.reader("fleet").await;
        rig.ask(&fleet).await.await.unwrap().unwrap();
        let id = rig.api.world.leases().await[0].id;
        let (gates, asked) = rig.flood(&fleet).await;
        rig.api.world.pass(301);
        rig.api.world.reaches(id, StateName::Expired).await;
        rig.crowd(BOUNDS.0, BOUNDS.1).await;
        gates.iter().for_each(Gate::open);
        for asked in asked {
            // What was held for so long is too old to be delivered, by the test's clock; what waited is not.
            let _ = asked.await.unwrap();
        }
        rig.stop().await;
    }
}
