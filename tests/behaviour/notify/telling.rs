//! What is told of real leases.

use std::sync::Arc;

use mayfly::{
    audit::{Actor, Draft},
    clock::Clock as _,
    domain::StateName,
    identity::Caller,
    issuer::{BreakGlass, IssueRequest},
    notify::EventKind,
    policy::{Policies, Rules, Source},
    store::Store,
};

use super::{
    receiver::{Post, Receiver},
    rig::{Rig, is_sent, slack, webhook},
};
use crate::support::{
    eventually,
    world::{World, caller, databases, request, ttl},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_is_told_before_a_lease_ends_and_of_its_end_and_nothing_secret_is_told() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let (hook, chat) = (Receiver::open().await, Receiver::open().await);
        let rig = Rig::on(
            Arc::clone(&world.store) as Arc<dyn Store>,
            Arc::clone(&world.directory),
            Arc::clone(&world.clock),
            vec![webhook("audit", &hook.url()), slack("ops", &chat.url())],
        )
        .await;
        let app = caller("app", &["readers"]);
        let long =
            || IssueRequest { ttl: Some(ttl(3600)), purpose: "a report".into(), ..request("shop-read") };
        let first = world.issuer.issue(&app, long()).await.unwrap();
        let second = world.issuer.issue(&app, long()).await.unwrap();
        // Hardly longer than the notice ahead: whoever just got it knows.
        let short = world.issuer.issue(&app, request("shop-read")).await.unwrap();
        rig.settles("both wait, on both channels", 4, |notice| notice.event.kind == EventKind::Expiring)
            .await;
        world.issuer.release(&app, second.lease.id).await.unwrap();
        world.reaches(second.lease.id, StateName::Released).await;
        rig.pass(3000);
        world.reaches(short.lease.id, StateName::Expired).await;
        eventually("what is told is told", async || (hook.posts().len() == 3).then_some(())).await;
        let posts = hook.posts();
        let told = |kind: &str| -> Vec<String> {
            let posts = posts.iter().filter(|post| post.json()["type"] == kind);
            posts.map(|post| post.json()["data"]["resource"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(told("mayfly.expiring"), [first.lease.resource_name()], "the released one is not told of");
        let mut ended = told("mayfly.ended");
        ended.sort();
        let mut expected = [second.lease.resource_name(), short.lease.resource_name()];
        expected.sort();
        assert_eq!(ended, expected);
        eventually("the same on the other", async || (chat.posts().len() == 3).then_some(())).await;
        for post in hook.posts().iter().chain(&chat.posts()) {
            for issued in [&first, &second, &short] {
                assert!(!post.body.contains(issued.password.expose()), "{}", post.body);
            }
        }
        drop(rig);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_lease_is_told_of_before_its_later_end() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let world = World::reading(&database).await;
    let hook = Receiver::open().await;
    let rig = Rig::on(
        Arc::clone(&world.store) as Arc<dyn Store>,
        Arc::clone(&world.directory),
        Arc::clone(&world.clock),
        vec![webhook("audit", &hook.url())],
    )
    .await;
    let app = caller("app", &["readers"]);
    let asked = IssueRequest { ttl: Some(ttl(1800)), ..request("shop-read") };
    let issued = world.issuer.issue(&app, asked).await.unwrap();
    let waiting = rig.settles("it waits", 1, |_| true).await.remove(0);
    rig.pass(1000);
    let renewed = world.issuer.renew(&app, issued.lease.id, Some(ttl(1800))).await.unwrap();
    rig.pass(200);
    let put_off = eventually("it is put off", async || {
        let notice = rig.notices().await.remove(0);
        (mayfly::store::Document::due_at(&notice) != mayfly::store::Document::due_at(&waiting))
            .then_some(notice)
    })
    .await;
    let lead = jiff::SignedDuration::from_secs(600);
    assert_eq!(mayfly::store::Document::due_at(&put_off), renewed.expires_at().map(|until| until - lead));
    assert!(hook.posts().is_empty());
    rig.pass(1000);
    rig.settles("it is told", 1, is_sent).await;
    drop(rig);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_and_drift_are_told_of_with_what_was_found() {
    let hook = Receiver::open().await;
    let rig = Rig::new(vec![webhook("audit", &hook.url())]).await;
    let now = rig.clock.now();
    let replaced = Draft::new(now, Actor::System, "target.replaced", "targets/orders")
        .with("known", "7300")
        .with("found", "7411")
        .refused("another server answers than the one known");
    rig.record(replaced).await;
    let drifted = Draft::new(now, Actor::System, "lease.drifted", "leases/06dp4f2h9c8x1k3m7q0r")
        .with("target", "orders")
        .with("drift", "is a member of admins");
    rig.record(drifted).await;
    rig.settles("both are sent", 2, is_sent).await;
    let texts: Vec<String> =
        hook.posts().iter().map(|post| post.json()["data"]["text"].as_str().unwrap().to_owned()).collect();
    assert!(texts[0].contains("known is 7300, found was 7411"), "{texts:?}");
    assert!(texts[0].contains("mayfly target accept orders"), "{texts:?}");
    assert!(texts[1].contains("is a member of admins"), "{texts:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_breaks_the_glass_is_told_of_and_so_is_its_sign_off() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let world = World::reading(&database).await;
    let text =
        "@id(\"test.glass\")\npermit (principal, action == Action::\"break_glass\", resource);".to_owned();
    let sources = vec![Source { name: "glass.cedar".into(), text }];
    world.policies.replace(Policies::new(Rules { sources, ..Rules::default() }).unwrap());
    let hook = Receiver::open().await;
    let rig = Rig::on(
        Arc::clone(&world.store) as Arc<dyn Store>,
        Arc::clone(&world.directory),
        Arc::clone(&world.clock),
        vec![webhook("audit", &hook.url())],
    )
    .await;
    let alice = Caller { second_factor_at: Some(world.clock.now()), ..caller("alice", &["on-call"]) };
    let wanted = BreakGlass {
        role: "shop-read".parse().unwrap(),
        ttl: None,
        reason: "orders are stuck".into(),
        ticket: None,
    };
    let (request, _) = world.issuer.break_glass(&alice, wanted).await.unwrap();
    let root = caller("root", &["administrators"]);
    world.issuer.sign_off(&root, request.id, "it was justified".into()).await.unwrap();
    let told = || -> Vec<(String, String)> {
        let posts = hook.posts();
        let loud = posts.iter().map(Post::json).filter(|post| post["type"] == "mayfly.break_glass");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        loud.map(|post| (text(&post["data"]["what"]), text(&post["data"]["reason"]))).collect()
    };
    eventually("both are told", async || (told().len() == 2).then_some(())).await;
    let mut told = told();
    told.sort();
    let word = |what: &str, why: &str| (what.to_owned(), why.to_owned());
    assert_eq!(told, [word("signed off", "it was justified"), word("used", "orders are stuck")]);
    drop(rig);
}
