//! The outbox: nothing lost, nothing twice, and nobody held up by another.

use std::{collections::BTreeSet, time::Duration};

use mayfly::{
    clock::Clock as _,
    notify::{ChannelSettings, Channels, EventKind},
};

use super::{
    receiver::{Answer, Receiver},
    rig::{Rig, has_failed, is_sent, lock, webhook},
};
use crate::support::eventually;

fn about(receiver: &Receiver) -> Vec<String> {
    receiver.posts().iter().map(|post| post.json()["data"]["resource"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_told_once_and_in_order() {
    let receiver = Receiver::open().await;
    let rig = Rig::new(vec![webhook("audit", &receiver.url())]).await;
    let names: Vec<String> = (0..100).map(|number| format!("locks/p{number}")).collect();
    for number in 0..100 {
        rig.record(lock(&rig, &format!("p{number}"), "x")).await;
    }
    rig.settles("all are sent", 100, is_sent).await;
    assert_eq!(about(&receiver), names);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_and_recovers_gets_everything_each_under_one_identifier() {
    let receiver = Receiver::open().await;
    receiver.does(|_, before| match before {
        0 => Answer::Break,
        1 => Answer::Status(503),
        2 => Answer::Hang,
        _ => Answer::Status(202),
    });
    let rig = Rig::new(vec![webhook("audit", &receiver.url())]).await;
    for number in 0..10 {
        rig.record(lock(&rig, &format!("p{number}"), "x")).await;
    }
    rig.passing("all are sent", 5, async || {
        let notices = rig.notices().await;
        (notices.len() == 10 && notices.iter().all(is_sent)).then_some(())
    })
    .await;
    let posts = receiver.posts();
    let ids: BTreeSet<&str> = posts.iter().map(super::receiver::Post::id).collect();
    let taken: BTreeSet<&str> = posts[3..].iter().map(super::receiver::Post::id).collect();
    assert_eq!((posts.len(), ids.len(), taken.len()), (13, 10, 10));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_delivered_at_the_stop_is_delivered_after_the_next_start_under_the_same_identifier() {
    let receiver = Receiver::open().await;
    receiver.does(|_, _| Answer::Status(500));
    let settings = || vec![webhook("audit", &receiver.url())];
    let rig = Rig::new(settings()).await;
    rig.record(lock(&rig, "alice", "x")).await;
    let first = rig.settles("it failed", 1, has_failed).await.remove(0);
    // On record, and not read by the time it stops.
    rig.record(lock(&rig, "bob", "x")).await;
    let (directory, clock) = rig.stop().await;

    receiver.does(|_, _| Answer::Status(204));
    let rig = Rig::at(directory, clock, settings()).await;
    rig.passing("both are sent", 5, async || {
        let notices = rig.notices().await;
        (notices.len() == 2 && notices.iter().all(is_sent)).then_some(())
    })
    .await;
    let told = about(&receiver);
    assert_eq!(told.iter().filter(|name| *name == "locks/bob").count(), 1, "{told:?}");
    let last = receiver.posts().into_iter().rfind(|post| post.body.contains("locks/alice")).unwrap();
    assert_eq!(last.id(), first.id.to_string());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_delays_no_other() {
    let (hanging, well) = (Receiver::open().await, Receiver::open().await);
    hanging.does(|_, _| Answer::Hang);
    let slow = ChannelSettings { timeout: Duration::from_secs(30), ..webhook("hanging", &hanging.url()) };
    let rig = Rig::new(vec![slow, webhook("well", &well.url())]).await;
    for number in 0..50 {
        rig.record(lock(&rig, &format!("p{number}"), "x")).await;
    }
    eventually("the other gets all", async || (well.posts().len() == 50).then_some(())).await;
    assert_eq!(hanging.posts().len(), 1, "one at a time");
    drop(rig);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_thousands_is_worked_off_by_lanes_of_one_and_a_dead_receiver_hides_nobody() {
    let (failing, well) = (Receiver::open().await, Receiver::open().await);
    failing.does(|_, _| Answer::Status(500));
    let rig = Rig::new(vec![webhook("failing", &failing.url()), webhook("well", &well.url())]).await;
    let drafts = (0..1_200).map(|number| lock(&rig, &format!("p{number}"), "x")).collect();
    assert_eq!(rig.store.change_entries(Vec::new(), drafts).await.unwrap(), mayfly::store::Committed::Yes);
    eventually("the other gets all", async || {
        rig.pass(1);
        (well.posts().len() == 1_200).then_some(())
    })
    .await;
    let ids: BTreeSet<String> = well.posts().iter().map(|post| post.id().to_owned()).collect();
    assert_eq!(ids.len(), 1_200);
    assert!(failing.posts().len() < 200, "{}", failing.posts().len());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_store_deliver_everything_once() {
    let receiver = Receiver::open().await;
    let settings = || vec![webhook("audit", &receiver.url())];
    let rig = Rig::new(settings()).await;
    let other = Rig::on(
        std::sync::Arc::clone(&rig.store),
        std::sync::Arc::clone(&rig.directory),
        std::sync::Arc::clone(&rig.clock),
        settings(),
    )
    .await;
    for number in 0..100 {
        rig.record(lock(&rig, &format!("p{number}"), "x")).await;
    }
    rig.settles("all are sent", 100, is_sent).await;
    let ids: BTreeSet<String> = receiver.posts().iter().map(|post| post.id().to_owned()).collect();
    assert_eq!((receiver.posts().len(), ids.len()), (100, 100));
    drop((rig, other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_configured_later_is_told_nothing_of_what_was_before() {
    let receiver = Receiver::open().await;
    let rig = Rig::new(Vec::new()).await;
    rig.record(lock(&rig, "before", "x")).await;
    let settings = ChannelSettings { events: [EventKind::Lock].into(), ..webhook("audit", &receiver.url()) };
    rig.channels.replace(Channels::open([settings]).unwrap());
    eventually("the log is followed", async || {
        let kind = mayfly::store::EntryKind::Position;
        (!rig.store.entries(kind, None, None, 1).await.unwrap().is_empty()).then_some(())
    })
    .await;
    rig.record(lock(&rig, "after", "x")).await;
    rig.settles("it is sent", 1, is_sent).await;
    assert_eq!(about(&receiver), ["locks/after"]);
    // What waits for a channel that is taken away is given up, not kept for ever.
    receiver.does(|_, _| Answer::Status(500));
    rig.record(lock(&rig, "last", "x")).await;
    eventually("it failed", async || rig.notices().await.iter().any(has_failed).then_some(())).await;
    rig.channels.replace(Channels::default());
    rig.passing("it is given up", 10, async || {
        let notices = rig.notices().await;
        let dead = notices.iter().find(|notice| notice.state.as_str() == "dead")?;
        assert_eq!(dead.state.error().unwrap(), "the channel is not configured any more");
        Some(())
    })
    .await;
    assert!(rig.clock.now() > jiff::Timestamp::UNIX_EPOCH);
    rig.stop().await;
}
