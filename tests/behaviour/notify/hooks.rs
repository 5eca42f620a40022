//! Webhooks: what is posted, and to whom.

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use mayfly::{clock::Clock as _, notify::Channels};

use super::{
    receiver::{Answer, Receiver},
    rig::{KEY, Rig, has_failed, is_dead, is_sent, lock, slack, trusting, webhook},
};
use crate::support::TestCertificates;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_gets_the_event_as_json_with_a_signature_that_anybody_with_the_key_can_verify() {
    let receiver = Receiver::open().await;
    let rig = Rig::new(vec![webhook("audit", &receiver.url())]).await;
    rig.record(lock(&rig, "alice", "left the house")).await;
    let notice = rig.settles("it is sent", 1, is_sent).await.remove(0);
    let post = receiver.posts().remove(0);
    assert_eq!(post.path, "/hook/T0P-SECRET");
    assert_eq!(post.headers["content-type"], "application/json");
    assert_eq!(post.id(), notice.id.to_string());
    assert_eq!(post.headers["webhook-timestamp"], rig.clock.now().as_second().to_string());
    let json = post.json();
    assert_eq!(json["type"], "mayfly.lock");
    assert_eq!(json["data"]["resource"], "locks/alice");
    assert_eq!(json["data"]["reason"], "left the house");
    // Verified by hand, from the specification.
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(&KEY.as_bytes()[6..]).unwrap());
    let signed = format!("{}.{}.{}", post.id(), post.headers["webhook-timestamp"], post.body);
    let (version, signature) = post.headers["webhook-signature"].split_once(',').unwrap();
    assert_eq!(version, "v1");
    hmac::verify(&key, signed.as_bytes(), &BASE64.decode(signature.as_bytes()).unwrap()).unwrap();
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_a_reason_calls_a_channel_or_becomes_a_link_on_slack() {
    let receiver = Receiver::open().await;
    let rig = Rig::new(vec![slack("ops", &receiver.url())]).await;
    let reason = "<!channel> @here <https://evil.example|fix it> https://evil.example\r\nInjected: yes";
    rig.record(lock(&rig, "alice", reason)).await;
    rig.settles("it is sent", 1, is_sent).await;
    let post = receiver.posts().remove(0);
    let json = post.json();
    let text = json["blocks"][0]["text"]["text"].as_str().unwrap();
    assert_eq!(json["blocks"][0]["text"]["verbatim"], true);
    assert_eq!(json["text"], text.lines().next().unwrap());
    for acting in ["<!", "@here", "<https", "https://evil", "\r", "\nInjected"] {
        assert!(!text.contains(acting), "{acting:?} in {text:?}");
    }
    assert!(text.contains("&lt;!channel&gt;"), "{text}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_what_the_receiver_says_is_not_repeated() {
    let (receiver, elsewhere) = (Receiver::open().await, Receiver::open().await);
    let target = elsewhere.url();
    receiver.does(move |_, _| Answer::With(307, format!("location: {target}")));
    let rig = Rig::new(vec![webhook("audit", &receiver.url())]).await;
    rig.record(lock(&rig, "alice", "x")).await;
    let notice = rig.settles("it failed", 1, has_failed).await.remove(0);
    assert_eq!(
        notice.state.error().unwrap(),
        "the receiver answered 307: it wants to be followed elsewhere, which is not done"
    );
    assert!(elsewhere.posts().is_empty());
    let stored = format!("{notice:?}");
    assert!(!stored.contains("T0P-SECRET") && !stored.contains("127.0.0.1"), "{stored}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_whose_certificate_nobody_vouches_for_gets_nothing() {
    let (certificates, others) = (TestCertificates::new(), TestCertificates::new());
    let receiver = Receiver::in_tls(&certificates).await;
    let url = receiver.url().replace("http://", "https://");
    let named = |name| webhook(name, &url);
    let rig = Rig::new(vec![
        trusting(named("trusted"), certificates.file("authority.crt")),
        trusting(named("foreign"), others.file("authority.crt")),
        named("unknown"),
    ])
    .await;
    rig.record(lock(&rig, "alice", "x")).await;
    rig.settles("one is sent and two are not", 3, |notice| is_sent(notice) || has_failed(notice)).await;
    for notice in rig.notices().await {
        if notice.channel.as_str() == "trusted" {
            assert!(is_sent(&notice), "{notice:?}");
        } else {
            let error = notice.state.error().unwrap();
            assert!(error.starts_with("the receiver's certificate is not trusted: "), "{error}");
        }
    }
    assert_eq!(receiver.posts().len(), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_patience_gets_it() {
    let receiver = Receiver::open().await;
    receiver.does(|_, before| match before {
        0 => Answer::With(429, "retry-after: 900".to_owned()),
        _ => Answer::Status(200),
    });
    let rig = Rig::new(vec![webhook("audit", &receiver.url())]).await;
    rig.record(lock(&rig, "alice", "x")).await;
    let notice = rig.settles("it failed", 1, has_failed).await.remove(0);
    assert_eq!(notice.state.error().unwrap(), "the receiver answered 429: too much at once");
    rig.pass(800);
    tokio::task::yield_now().await;
    assert_eq!(receiver.posts().len(), 1);
    rig.pass(101);
    rig.settles("it is sent", 1, is_sent).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_is_never_taken_is_given_up_audited_and_counted() {
    let receiver = Receiver::open().await;
    receiver.does(|_, _| Answer::Status(500));
    let rig = Rig::new(vec![webhook("audit", &receiver.url())]).await;
    rig.record(lock(&rig, "alice", "x")).await;
    rig.passing("it is given up", 30, async || {
        let notices = rig.notices().await;
        (notices.len() == 1 && is_dead(&notices[0])).then_some(())
    })
    .await;
    let ids: std::collections::BTreeSet<String> =
        receiver.posts().iter().map(|post| post.id().to_owned()).collect();
    assert_eq!((receiver.posts().len(), ids.len()), (5, 1), "as often as configured, under one identifier");
    let records = rig.store.read_after(0, 100).await.unwrap();
    let record = records.iter().find(|record| record.action == "notice.given_up").unwrap();
    assert_eq!(record.details["about"], "locks/alice");
    let mut page = mayfly::metrics::Page::new(mayfly::metrics::Format::Prometheus);
    rig.metrics.write(&mut page);
    let page = page.finish();
    assert!(page.contains(r#"mayfly_notices_total{channel="audit",outcome="dead"} 1"#), "{page}");
    assert!(page.contains(r#"mayfly_notices_total{channel="audit",outcome="failed"} 4"#), "{page}");
    rig.stop().await;
}

#[tokio::test]
async fn a_file_of_authorities_that_is_none_is_refused_with_the_channels_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let settings = trusting(webhook("audit", "https://hooks.example.com/x"), file.path().to_owned());
    let error = Channels::open([settings]).unwrap_err().to_string();
    assert!(
        error.starts_with("notifications.audit: ") && error.ends_with("holds no PEM certificate"),
        "{error}"
    );
}
