//! One history: what happens to the world happens to the books, and they agree.

use std::{collections::VecDeque, time::Duration};

use jiff::SignedDuration;
use mayfly::{
    clock::Clock as _,
    domain::{LeaseLimits, Role},
};

use super::{
    super::step,
    Lived,
    act::{Act, Cut, PEOPLE, SUBJECTS, Step},
    books::{BY_RULE, Books, Given, LONGEST, QUORUM, REVIEWED, SECOND, micros},
    call::{Call, Outcome},
    laws,
    life::Life,
    seen::Seen,
};
use crate::support::{slate::assert_books, world::Database};

/// How often it is looked whether the world is as the books say, and how long in between.
const LOOKS: u32 = 4_000;
const BETWEEN: Duration = Duration::from_millis(3);

/// Steps that are told of when something is wrong.
const REMEMBERED: usize = 12;

pub(super) struct History {
    database: Database,
    roles: Vec<Role>,
    life: Option<Life>,
    pub(super) books: Books,
    lived: Lived,
    lately: VecDeque<String>,
}

fn roles(database: &Database) -> Vec<Role> {
    let mut reviewed = database.reading_role(REVIEWED, "shop");
    reviewed.scram_iterations = 64;
    reviewed.limits = LeaseLimits { per_principal: 100, total: 100 };
    let by_rule = Role { name: BY_RULE.parse().unwrap(), ..reviewed.clone() };
    reviewed.approval = vec![step("owners", &["group:owners"], u32::try_from(QUORUM).unwrap())];
    vec![reviewed, by_rule]
}

impl History {
    pub(super) async fn begin(database: &Database) -> Self {
        let roles = roles(database);
        let life = Some(Life::begin(database, roles.clone(), None).await);
        let (books, lived, lately) = (Books::default(), Lived::default(), VecDeque::new());
        let mut history = Self { database: database.clone(), roles, life, books, lived, lately };
        history.books.now = history.now();
        history
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    pub(super) fn now(&self) -> i64 {
        self.life().world().clock.now().as_microsecond()
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.life().world().clock.advance(SignedDuration::from_secs(seconds));
        self.keep_time();
    }

    fn keep_time(&mut self) {
        self.books.now = self.now();
        self.books.tick();
    }

    /// One step more.
    pub(super) async fn goes_on(&mut self, step: Step) {
        self.lately.push_back(format!("{step:?}"));
        if self.lately.len() > REMEMBERED {
            self.lately.pop_front();
        }
        self.lived.steps += 1;
        match step {
            Step::Restart => {
                let remains = self.life.take().unwrap().stops().await;
                self.life = Some(Life::begin(&self.database, self.roles.clone(), Some(remains)).await);
            }
            Step::Whole(act) => {
                let Some(call) = self.call(act) else { return };
                let outcome = self.life().does(self.made(call)).await;
                self.judge(call, outcome);
            }
            Step::Cut(act, cut) => {
                let Some(call) = self.call(act) else { return };
                self.crash(call, cut).await;
            }
        }
        self.settle().await;
    }

    fn made(&self, call: Call) -> impl Future<Output = Outcome> + Send + use<> {
        let world = self.life().world();
        call.made(world.issuer.clone(), world.clock.clone())
    }

    /// What is called for; `None`: there is nothing to do it to.
    fn call(&self, act: Act) -> Option<Call> {
        let Books { asked, given, leased, .. } = &self.books;
        let request = |which: usize| which.checked_rem(asked.len()).map(|at| (at, &asked[at]));
        let grant = |which: usize| which.checked_rem(given.len()).map(|at| (at, &given[at]));
        let lease = |which: usize| which.checked_rem(leased.len()).map(|at| (at, &leased[at]));
        Some(match act {
            Act::Ask { who, ttl, after, parallel } => {
                let start = after.map(|after| self.books.now + micros(after));
                Call::Ask { who, ttl, start, parallel }
            }
            Act::Review { which, who, voice } => {
                // Mostly one that waits.
                let waiting = asked.iter().rposition(|asked| asked.stage == "pending");
                let at = waiting.filter(|_| which % 5 > 0).or_else(|| which.checked_rem(asked.len()))?;
                // And mostly by somebody whose voice counts.
                let fresh =
                    PEOPLE.iter().find(|who| asked[at].who != **who && !asked[at].voices.contains(*who));
                let who = fresh.filter(|_| which % 3 > 0).copied().unwrap_or(who);
                Call::Review { at, id: asked[at].id, who, voice }
            }
            Act::Cancel(which) => {
                request(which).map(|(at, it)| Call::Cancel { at, id: it.id, who: it.who })?
            }
            Act::Claim { which, times } => {
                let live = given.iter().rposition(Given::is_live);
                let at = live.filter(|_| which % 5 > 0).or_else(|| which.checked_rem(given.len()))?;
                Call::Claim { at, id: given[at].id, who: given[at].holder, times }
            }
            Act::Issue { who, ttl } => Call::Issue { who, ttl },
            Act::Renew { which, ttl } => {
                lease(which).map(|(at, it)| Call::Renew { at, id: it.id, who: it.holder, ttl })?
            }
            Act::Release(which) => {
                lease(which).map(|(at, it)| Call::Release { at, id: it.id, who: it.holder })?
            }
            Act::Extend { which, ttl } => {
                let running = given.iter().rposition(|given| given.stage == "active");
                let at = running.filter(|_| which % 5 > 0).or_else(|| which.checked_rem(given.len()))?;
                Call::Extend { at, id: given[at].id, who: given[at].holder, ttl }
            }
            Act::Revoke(which) => grant(which).map(|(at, it)| Call::Revoke { at, id: it.id })?,
            Act::Lock { subject, life } => Call::Lock { subject, life },
            Act::Unlock(which) => {
                let locked = which.checked_rem(self.books.locks.len());
                let subject = locked.and_then(|at| self.books.locks.keys().nth(at).copied());
                Call::Unlock(subject.unwrap_or(SUBJECTS[0]))
            }
            Act::Pass(seconds) => Call::Pass(seconds),
        })
    }

    /// Dies in the middle of a call, and begins again on what is left.
    async fn crash(&mut self, call: Call, cut: Cut) {
        self.lived.crashes += 1;
        let made = self.made(call);
        let remains = self.life.take().unwrap().dies_at(cut, async move { drop(made.await) }).await;
        self.life = Some(Life::begin(&self.database, self.roles.clone(), Some(remains)).await);
        let seen = Seen::of(self.life().world()).await;
        self.learn(call, &seen);
        self.keep_time();
    }

    /// Waits until everything is as the books say; then the laws hold.
    async fn settle(&mut self) {
        for look in 1..=LOOKS {
            self.keep_time();
            let seen = Seen::of(self.life().world()).await;
            let wrong = seen.differs_from(&self.books);
            if wrong.is_empty() {
                return laws::hold(&seen);
            }
            assert!(look < LOOKS, "{wrong:#?}");
            for lease in seen.leases.values() {
                self.life().world().pass_to_next_attempt(lease);
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// Nothing lives for ever: in the end nothing is left but the records.
    pub(super) async fn comes_to_its_end(mut self) -> Lived {
        self.accounts_are_those_of_live_leases().await;
        self.pass(3 * 24 * LONGEST / SECOND);
        self.settle().await;
        assert!(self.books.leased.iter().all(|lease| !lease.live));
        self.accounts_are_those_of_live_leases().await;
        self.everything_is_on_record().await;
        let Books { asked, given, leased, .. } = &self.books;
        let lived = Lived { requests: asked.len(), grants: given.len(), leases: leased.len(), ..self.lived };
        self.life.take().unwrap().stops().await;
        lived
    }

    async fn accounts_are_those_of_live_leases(&self) {
        let server = self.database.server.unwrap();
        for lease in Seen::of(self.life().world()).await.leases.values() {
            let (name, live) = (lease.account.name.as_str(), lease.state.name().is_live());
            assert_eq!(self.database.has_account(server, name).await, live, "{lease:?}");
        }
    }

    /// No change without its record, and no record without its change, whatever was cut short.
    async fn everything_is_on_record(&self) {
        let world = self.life().world();
        assert_books(world).await;
        let (log, seen) = (world.audit().await, Seen::of(world).await);
        let told = |action: &str| {
            let done = |record: &&mayfly::audit::Record| {
                record.action == action && record.outcome == mayfly::audit::AuditOutcome::Done
            };
            log.iter().filter(done).count()
        };
        let reviews: usize = seen.requests.values().map(|request| request.reviews.len()).sum();
        assert_eq!(told("request.created"), seen.requests.len());
        assert_eq!(told("review.recorded"), reviews);
        assert_eq!(told("grant.opened"), seen.grants.len());
        assert_eq!(told("lease.requested"), seen.leases.len());
        let in_state = |state: &str| seen.requests.values().filter(|it| it.state.as_str() == state).count();
        for state in ["approved", "denied", "cancelled", "expired"] {
            assert_eq!(told(&format!("request.{state}")), in_state(state), "{state}");
        }
        let revoked = seen.grants.values().filter(|it| it.state.as_str() == "revoked").count();
        assert_eq!(told("grant.revoked"), revoked);
        assert_eq!(told("grant.ended"), seen.grants.len() - revoked);
    }
}

impl Drop for History {
    #[expect(clippy::print_stdout, reason = "what a failure is found out by")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("model: its last steps were\n  {}", self.lately.make_contiguous().join("\n  "));
        }
    }
}
