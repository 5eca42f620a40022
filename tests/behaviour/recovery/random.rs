//! Any history of calls, passing time and restarts leaves the world as a small model of it says.

use std::{collections::BTreeMap, sync::Arc};

use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::{Engine, LeaseId, LeaseLimits, LeaseState, Role, StateName},
    issuer::RefusalKind,
    store::LeaseStore as _,
    target::Target,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::support::{
    slate::assert_books,
    world::{Database, World, caller, databases, request, ttl},
};

#[derive(Debug, Clone)]
enum Act {
    Issue(u64),
    Renew(usize, u64),
    Release(usize),
    Revoke(usize),
    Pass(i64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (10_u64..400).prop_map(Act::Issue),
        3 => (any::<usize>(), 10_u64..700).prop_map(|(which, ttl)| Act::Renew(which, ttl)),
        1 => any::<usize>().prop_map(Act::Release),
        1 => any::<usize>().prop_map(Act::Revoke),
        4 => (1_i64..150).prop_map(Act::Pass),
        1 => Just(Act::Restart),
    ]
}

/// What ought to be: when each lease expires, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives { until: i64, at_most: i64 },
    Ended(StateName),
}

/// As many leases as may live at once.
const LIMIT: usize = 5;

struct History {
    world: World,
    target: Arc<dyn Target>,
    role: Role,
    fates: BTreeMap<LeaseId, Fate>,
    order: Vec<LeaseId>,
}

impl History {
    async fn begin(database: &Database) -> Self {
        let target = World::target(database.settings("shop"), Arc::new(SystemClock));
        let mut role = database.reading_role("shop-read", "shop");
        role.limits = LeaseLimits { per_principal: 5, total: 5 };
        role.ttl = mayfly::domain::TtlBounds::new(ttl(300), ttl(600)).unwrap();
        role.scram_iterations = 64;
        let world = World::with(vec![Arc::clone(&target)], vec![role.clone()]).await;
        Self { world, target, role, fates: BTreeMap::new(), order: Vec::new() }
    }

    fn now(&self) -> i64 {
        self.world.clock.now().as_microsecond() / 1_000_000
    }

    fn pick(&self, which: usize) -> Option<LeaseId> {
        let count = self.order.len();
        (count > 0).then(|| self.order.get(which % count).copied()).flatten()
    }

    fn living(&self) -> usize {
        self.fates.values().filter(|fate| matches!(fate, Fate::Lives { .. })).count()
    }

    async fn happens(mut self, act: Act) -> Self {
        let app = caller("app", &["readers"]);
        match act {
            Act::Issue(seconds) => {
                let mut asked = request("shop-read");
                asked.ttl = Some(ttl(seconds));
                let outcome = self.world.issuer.issue(&app, asked).await;
                if self.living() < LIMIT {
                    let id = outcome.unwrap().lease.id;
                    let until = self.now() + i64::try_from(seconds).unwrap();
                    self.fates.insert(id, Fate::Lives { until, at_most: self.now() + 600 });
                    self.order.push(id);
                } else {
                    assert_eq!(outcome.unwrap_err().kind, RefusalKind::LimitReached);
                }
            }
            Act::Renew(which, seconds) => {
                let Some(id) = self.pick(which) else { return self };
                let outcome = self.world.issuer.renew(&app, id, Some(ttl(seconds))).await;
                let asked = self.now() + i64::try_from(seconds).unwrap();
                match self.fates.get_mut(&id).unwrap() {
                    Fate::Ended(_) => assert_eq!(outcome.unwrap_err().kind, RefusalKind::Ended),
                    Fate::Lives { at_most, .. } if asked > *at_most => {
                        assert_eq!(outcome.unwrap_err().kind, RefusalKind::Invalid("ttl"));
                    }
                    Fate::Lives { until, .. } => {
                        outcome.unwrap();
                        *until = asked.max(*until);
                    }
                }
            }
            Act::Release(which) => {
                let Some(id) = self.pick(which) else { return self };
                self.world.issuer.release(&app, id).await.unwrap();
                self.ends(id, StateName::Released);
            }
            Act::Revoke(which) => {
                let Some(id) = self.pick(which) else { return self };
                let admin = caller("root", &["administrators"]);
                self.world.issuer.revoke(&admin, id, String::new()).await.unwrap();
                self.ends(id, StateName::Revoked);
            }
            Act::Pass(seconds) => {
                self.world.pass(seconds);
                let now = self.now();
                for fate in self.fates.values_mut() {
                    if matches!(fate, Fate::Lives { until, .. } if *until <= now) {
                        *fate = Fate::Ended(StateName::Expired);
                    }
                }
            }
            Act::Restart => {
                let (directory, clock) = self.world.stop().await;
                let (target, role) = (Arc::clone(&self.target), self.role.clone());
                self.world = World::at(directory, clock, vec![target], vec![role]).await;
            }
        }
        self.settle().await;
        self
    }

    fn ends(&mut self, id: LeaseId, state: StateName) {
        let fate = self.fates.get_mut(&id).unwrap();
        if matches!(fate, Fate::Lives { .. }) {
            *fate = Fate::Ended(state);
        }
    }

    /// What is to end has ended, as it was to.
    async fn settle(&self) {
        for (id, fate) in &self.fates {
            if let Fate::Ended(state) = fate {
                self.world.reaches(*id, *state).await;
            }
        }
    }

    async fn agrees_with(&self, database: &Database) {
        let query = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'mf\\_%'";
        let accounts = database.ask_superuser(database.server.unwrap(), query).await;
        for lease in self.world.leases().await {
            let present = accounts.iter().any(|name| name == lease.account.name.as_str());
            match (self.fates.get(&lease.id).unwrap(), &lease.state) {
                (Fate::Lives { until, .. }, LeaseState::Active { expires_at }) => {
                    assert_eq!(expires_at.as_microsecond() / 1_000_000, *until);
                    assert!(present, "{lease:?}");
                }
                (Fate::Ended(state), _) => {
                    assert_eq!(lease.state.name(), *state);
                    assert!(!present, "{lease:?}");
                }
                (fate, state) => panic!("{fate:?}, but {state:?}"),
            }
        }
        let count = u32::try_from(self.living()).unwrap();
        let (role, app) = ("shop-read".parse().unwrap(), "app".parse().unwrap());
        assert_eq!(self.world.store.live_under_role(&role, &app).await.unwrap(), (count, count));
        let by_target: Vec<u64> =
            self.world.store.live_by_target().await.unwrap().into_iter().map(|(_, live)| live).collect();
        assert_eq!(by_target.iter().sum::<u64>(), u64::from(count));
        assert_books(&self.world).await;
    }
}

#[test]
fn any_history_ends_as_it_should() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let Some(database) =
        runtime.block_on(databases()).into_iter().find(|database| database.engine == Engine::Postgres)
    else {
        return;
    };
    let config = Config { cases: 6, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner
        .run(&proptest::collection::vec(act(), 5..40), |acts| {
            runtime.block_on(async {
                let mut history = History::begin(&database).await;
                for act in acts {
                    history = history.happens(act).await;
                }
                history.agrees_with(&database).await;
                history.world.stop().await;
            });
            Ok(())
        })
        .unwrap();
}
