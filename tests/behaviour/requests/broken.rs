//! Break-glass: at once for whom policy lets it, and looked at afterwards by somebody else.

use std::time::Duration;

use mayfly::{
    clock::Clock as _,
    domain::{GrantState, Request, RequestState, StateName},
    identity::Caller,
    issuer::{BreakGlass, BreakGlassSettings, Issued, Refusal, RefusalKind, RequestSettings},
    policy::{Policies, Rules, Source},
};

use super::{database, reviewed, world};
use crate::support::world::{Database, World, caller, ttl};

/// Those on call may, whatever the role says.
const GLASS: &str = "@id(\"test.glass\")\npermit (principal in Group::\"on-call\", action == Action::\"break_glass\", resource);";

async fn glass() -> World {
    glass_on(&database().await).await
}

async fn glass_on(database: &Database) -> World {
    let world = world(database, reviewed(database)).await;
    let sources = vec![Source { name: "glass.cedar".into(), text: GLASS.into() }];
    world.policies.replace(Policies::new(Rules { sources, ..Rules::default() }).unwrap());
    world
}

impl World {
    /// Somebody on call, who gave a second factor so many seconds ago.
    fn on_call(&self, name: &str, ago: i64) -> Caller {
        let given = self.clock.now() - jiff::SignedDuration::from_secs(ago);
        Caller { second_factor_at: Some(given), ..caller(name, &["on-call"]) }
    }

    async fn break_glass(&self, who: &Caller, wanted: BreakGlass) -> Result<(Request, Issued), Refusal> {
        self.issuer.break_glass(who, wanted).await
    }
}

fn wanted() -> BreakGlass {
    BreakGlass {
        role: "shop-read".parse().unwrap(),
        ttl: None,
        reason: "orders are stuck".into(),
        ticket: None,
    }
}

fn root() -> Caller {
    caller("root", &["administrators"])
}

#[tokio::test]
async fn access_comes_at_once_is_short_and_on_record() {
    let database = database().await;
    let world = glass_on(&database).await;
    let alice = world.on_call("alice", 10);
    let (request, issued) = world.break_glass(&alice, wanted()).await.unwrap();
    let RequestState::Approved { grant, .. } = request.state else { panic!("{:?}", request.state) };
    let grant = world.grant(grant).await;
    assert!(grant.break_glass && matches!(grant.state, GrantState::Active { .. }), "{grant:?}");
    assert_eq!(issued.lease.terms.grant, Some(grant.id));
    database.login(issued.lease.account.name.as_str(), &issued.password).await.unwrap();
    let log = world.audit().await;
    let used = log.iter().find(|record| record.action == "break_glass.used").unwrap();
    assert_eq!(used.details["justification"], "orders are stuck");
    assert!(!used.details["second_factor"].is_empty());
    world.pass(300);
    assert_eq!(world.ended(issued.lease.id).await.state.name(), StateName::Expired);
}

#[tokio::test]
async fn it_takes_a_policy_a_second_factor_a_reason_and_a_short_time() {
    let world = glass().await;
    let refused = async |who: &Caller, wanted: BreakGlass| world.break_glass(who, wanted).await.unwrap_err();
    let nobody = Caller { second_factor_at: Some(world.clock.now()), ..caller("bob", &["readers"]) };
    assert_eq!(refused(&nobody, wanted()).await.kind, RefusalKind::Denied);
    let without = caller("alice", &["on-call"]);
    let told = refused(&without, wanted()).await;
    assert!(told.kind == RefusalKind::Denied && told.message.contains("--step-up"), "{told}");
    assert_eq!(refused(&world.on_call("alice", 900), wanted()).await.kind, RefusalKind::Denied);
    // Nor does one help that will have been given.
    assert_eq!(refused(&world.on_call("alice", -60), wanted()).await.kind, RefusalKind::Denied);
    let alice = world.on_call("alice", 10);
    for reason in ["", "  ", "two\nlines", &"x".repeat(1 << 20)] {
        let told = refused(&alice, BreakGlass { reason: reason.into(), ..wanted() }).await;
        assert_eq!(told.kind, RefusalKind::Invalid("reason"));
    }
    let long = BreakGlass { ttl: Some(ttl(1_801)), ..wanted() };
    assert_eq!(refused(&alice, long).await.kind, RefusalKind::Invalid("ttl"));
    let unknown = BreakGlass { role: "nothing".parse().unwrap(), ..wanted() };
    assert_eq!(refused(&alice, unknown).await.kind, RefusalKind::NotFound);
    assert!(world.leases().await.is_empty());
    assert_eq!(world.recorded("break_glass.used").await, 10);
    world.policies.replace(Policies::builtin());
    assert_eq!(refused(&alice, wanted()).await.kind, RefusalKind::Denied);
}

#[tokio::test]
async fn it_is_counted_by_day_even_when_it_is_done_at_once() {
    let world = glass().await;
    let alice = world.on_call("alice", 1);
    let (first, second, third) = tokio::join!(
        world.break_glass(&alice, wanted()),
        world.break_glass(&alice, wanted()),
        world.break_glass(&alice, wanted()),
    );
    let outcomes = [first, second, third];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2, "{outcomes:?}");
    let refused = outcomes.into_iter().find_map(Result::err).unwrap();
    assert_eq!(refused.kind, RefusalKind::LimitReached);
    // Somebody else's day is another.
    world.break_glass(&world.on_call("carol", 1), wanted()).await.unwrap();
    world.pass(24 * 3_600 - 1);
    let late = world.break_glass(&world.on_call("alice", 1), wanted()).await.unwrap_err();
    assert_eq!(late.retry_after, Some(Duration::from_secs(1)));
    world.pass(1);
    world.break_glass(&world.on_call("alice", 1), wanted()).await.unwrap();
}

#[tokio::test]
async fn somebody_else_signs_it_off_once() {
    let world = glass().await;
    let alice = Caller {
        principal: caller("alice", &["on-call", "administrators"]).principal,
        ..world.on_call("alice", 1)
    };
    let (request, _) = world.break_glass(&alice, wanted()).await.unwrap();
    let sign =
        async |who: &Caller, comment: &str| world.issuer.sign_off(who, request.id, comment.into()).await;
    assert_eq!(sign(&alice, "all well").await.unwrap_err().kind, RefusalKind::Denied);
    let nobody = caller("bob", &["readers"]);
    assert_eq!(sign(&nobody, "all well").await.unwrap_err().kind, RefusalKind::Denied);
    assert_eq!(sign(&root(), " ").await.unwrap_err().kind, RefusalKind::Invalid("comment"));
    let open = world.issuer.break_glass_uses(&root(), false, (10, None)).await.unwrap();
    assert_eq!(open.len(), 1);
    assert!(world.issuer.break_glass_uses(&nobody, true, (10, None)).await.unwrap().is_empty());
    let signed = sign(&root(), "agreed").await.unwrap().sign_off.unwrap();
    assert_eq!((signed.by.as_str(), &*signed.comment), ("root", "agreed"));
    let other = caller("dora", &["administrators"]);
    assert_eq!(sign(&other, "me too").await.unwrap_err().kind, RefusalKind::Reviewed);
    assert!(world.issuer.break_glass_uses(&root(), false, (10, None)).await.unwrap().is_empty());
    assert_eq!(world.issuer.break_glass_uses(&root(), true, (10, None)).await.unwrap().len(), 1);
    assert_eq!(world.recorded("break_glass.signed_off").await, 5);
}

#[tokio::test]
async fn it_is_recalled_until_it_is_signed_off() {
    let world = glass().await;
    let settings = BreakGlassSettings {
        remind_every: Some(Duration::from_secs(3_600)),
        ..BreakGlassSettings::default()
    };
    world
        .issuer
        .request_settings()
        .replace(RequestSettings { break_glass: settings, ..RequestSettings::default() });
    let (request, _) = world.break_glass(&world.on_call("alice", 1), wanted()).await.unwrap();
    for count in 1..=2 {
        world.pass(3_600);
        crate::support::eventually("it is recalled", async || {
            (world.recorded("request.reminded").await == count).then_some(())
        })
        .await;
    }
    world.issuer.sign_off(&root(), request.id, "agreed".into()).await.unwrap();
    assert_eq!(world.request(request.id).await.due_at(), None);
}

#[tokio::test]
async fn whom_only_the_second_factor_is_missing_is_told_so_also_when_a_policy_asks_for_it() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let text = GLASS.replace(
        "resource);",
        "resource) when { context has second_factor_age && context.second_factor_age < 60 };",
    );
    let sources = vec![Source { name: "glass.cedar".into(), text }];
    world.policies.replace(Policies::new(Rules { sources, ..Rules::default() }).unwrap());
    for who in [caller("alice", &["on-call"]), world.on_call("alice", 300)] {
        let told = world.break_glass(&who, wanted()).await.unwrap_err();
        assert!(told.message.contains("mayfly login --step-up"), "{told}");
    }
    let never = world.break_glass(&caller("bob", &["readers"]), wanted()).await.unwrap_err();
    assert_eq!(never.message, "no policy allows break-glass");
    world.break_glass(&world.on_call("alice", 30), wanted()).await.unwrap();
}

#[tokio::test]
async fn what_can_be_asked_for_says_how_many_have_to_agree() {
    let database = database().await;
    let mut two = reviewed(&database);
    two.approval = vec![super::step("owners", &["group:owners"], 1), super::step("security", &["*"], 2)];
    two.name = "shop-write".parse().unwrap();
    let mut by_rule = database.reading_role("shop-peek", "shop");
    by_rule.allow = vec!["*".parse().unwrap()];
    let target = World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
    let world = World::with(vec![target], vec![reviewed(&database), by_rule, two]).await;
    let found = |who: &Caller| -> Vec<(String, bool, u32)> {
        let offers = world.issuer.roles(who);
        offers.iter().map(|offer| (offer.role.name.to_string(), offer.allowed, offer.reviews)).collect()
    };
    let offer = |name: &str, allowed, reviews| (name.to_owned(), allowed, reviews);
    assert_eq!(
        found(&super::alice()),
        [offer("shop-peek", true, 0), offer("shop-read", true, 1), offer("shop-write", true, 3)]
    );
    assert_eq!(
        found(&root()),
        [offer("shop-peek", true, 0), offer("shop-read", false, 0), offer("shop-write", false, 0)]
    );
}
