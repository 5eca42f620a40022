//! Notifications by the command line: a channel tried out, its notices listed, tried again and dropped.

use super::home::Home;
use crate::{
    notify::receiver::{Answer, Receiver},
    support::eventually,
};

const CHANNEL: &str = "[notifications.audit]\nkind = \"webhook\"\nurl_file = \"hook.url\"\nsecret_file = \"hook.key\"\n\
                       timeout = \"1s\"\nattempts = 1\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_tried_out_and_its_notices_are_listed_tried_again_and_dropped() {
    let receiver = Receiver::open().await;
    let home = Home::bare();
    home.write_secret("hook.url", &receiver.url());
    home.write_secret("hook.key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    home.append(CHANNEL);
    let served = home.serve().await;
    let root = served.administrator();
    let tried = root.mayfly(&["notice", "test", "audit"]).await;
    tried.ok();
    assert!(tried.err.contains("on the channel audit was delivered"), "{tried:?}");
    assert_eq!(receiver.posts()[0].json()["type"], "mayfly.test");

    receiver.does(|_, _| Answer::Status(500));
    let failed = root.mayfly(&["notice", "test", "audit"]).await;
    assert_eq!(failed.code(), 8, "{failed:?}");
    assert!(failed.err.contains("was not delivered: the receiver answered 500"), "{failed:?}");
    let dead = root.mayfly(&["notice", "ls", "--state", "dead", "-o", "json"]).await.json();
    let notices = dead["notices"].as_array().unwrap();
    assert_eq!((notices.len(), &notices[0]["attempt_count"]), (1, &1.into()), "{dead}");
    let name = notices[0]["name"].as_str().unwrap();

    receiver.does(|_, _| Answer::Status(200));
    root.mayfly(&["notice", "retry", name]).await.ok();
    eventually("it is sent", async || {
        let sent = root
            .mayfly(&["notice", "ls", "--state", "sent", "--channel", "audit", "-o", "json"])
            .await
            .json();
        (sent["notices"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    root.mayfly(&["notice", "retry", name]).await.refused(9);
    root.mayfly(&["notice", "drop", name.strip_prefix("notices/").unwrap()]).await.ok();
    root.mayfly(&["notice", "drop", name]).await.refused(5);
    root.mayfly(&["notice", "test", "nowhere"]).await.refused(5);
    let app = served.member("app", &["readers"]).await;
    for arguments in [&["notice", "ls"][..], &["notice", "test", "audit"], &["notice", "drop", name]] {
        app.mayfly(arguments).await.refused(4);
    }
    let records = home.read("audit.jsonl");
    for action in ["notice.tested", "notice.given_up", "notice.retried", "notice.dropped"] {
        assert!(records.contains(action), "{action}");
    }
    let logged = served.stop().await;
    for said in [&logged.err, &logged.out, &records] {
        assert!(!said.contains("T0P-SECRET"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_a_reload_brings_is_told_what_happens_from_then_on() {
    let receiver = Receiver::open().await;
    let home = Home::bare();
    let served = home.serve().await;
    home.write_secret("hook.url", &receiver.url());
    home.write_secret("hook.key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    home.append(&format!("{CHANNEL}events = [\"lock\"]\n"));
    let changes = served.reload("notifications.audit").await;
    assert!(changes.contains("notifications.audit is added"), "{changes}");
    let root = served.administrator();
    root.mayfly(&["notice", "test", "audit"]).await.ok();
    root.mayfly(&["lock", "principal", "mallory", "--reason", "<!channel> left"]).await.ok();
    let post = eventually("it is told", async || receiver.posts().into_iter().nth(1)).await;
    assert_eq!(post.json()["data"]["resource"], "locks/principal/mallory", "{}", post.body);
    assert_eq!(post.json()["data"]["actor"], "administrator");
    served.stop().await;
}
