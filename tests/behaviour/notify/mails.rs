//! Mail: to whom, over what, and what cannot be put into it.

use mayfly::{
    domain::Password,
    notify::{ChannelKind, ChannelSettings, Encryption, MailSettings},
};

use super::{
    mailbox::{Mailbox, Way},
    rig::{Rig, channel, has_failed, is_sent, lock, trusting},
};
use crate::support::TestCertificates;

fn mail(mailbox: &Mailbox, encryption: Encryption) -> ChannelSettings {
    let settings = MailSettings {
        host: "localhost".to_owned(),
        port: mailbox.address.port(),
        encryption,
        login: Some(("mayfly".to_owned(), Password::new("hunter2".to_owned()))),
        from: "mayfly@example.com".to_owned(),
        to: vec!["ops@example.com".to_owned(), "dba@example.com".to_owned()],
        to_principal: false,
    };
    let mut channel = channel("mail", ChannelKind::Mail(settings));
    channel.timeout = std::time::Duration::from_secs(5);
    channel
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_sent_over_verified_tls_with_a_login_to_everybody_named() {
    for (way, encryption) in [(Way::StartTls, Encryption::StartTls), (Way::Tls, Encryption::Tls)] {
        let certificates = TestCertificates::new();
        let mailbox = Mailbox::open(way, &certificates).await;
        let settings = trusting(mail(&mailbox, encryption), certificates.file("authority.crt"));
        let rig = Rig::new(vec![settings]).await;
        rig.record(lock(&rig, "alice", "left the house")).await;
        let notice = rig.settles("it is sent", 1, is_sent).await.remove(0);
        let letter = mailbox.letters().remove(0);
        assert_eq!(letter.login.as_deref(), Some("mayfly hunter2"));
        assert_eq!(letter.to, ["ops@example.com", "dba@example.com"]);
        for line in [
            "Subject: Lock set on locks/alice by =?utf-8?b?4oCT?=",
            &format!("Message-ID: <{}@example.com>", notice.id),
            "Auto-Submitted: auto-generated",
            "Reason: left the house",
        ] {
            assert!(letter.text.lines().any(|found| found == line), "{line} in\n{}", letter.text);
        }
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_is_not_trusted_knows_no_tls_or_says_nothing_gets_neither_mail_nor_password() {
    let (certificates, others) = (TestCertificates::new(), TestCertificates::new());
    for (way, encryption, authority, words) in [
        (Way::StartTls, Encryption::StartTls, &others, "the mail server's certificate is not trusted: "),
        (Way::Tls, Encryption::Tls, &others, "the mail server's certificate is not trusted: "),
        (
            Way::Clear,
            Encryption::StartTls,
            &certificates,
            "the mail server cannot be reached, or does not speak as it should",
        ),
        (Way::Mute, Encryption::StartTls, &certificates, "the mail server did not answer in time"),
    ] {
        let mailbox = Mailbox::open(way, &certificates).await;
        let mut settings = trusting(mail(&mailbox, encryption), authority.file("authority.crt"));
        settings.timeout = std::time::Duration::from_secs(1);
        let rig = Rig::new(vec![settings]).await;
        rig.record(lock(&rig, "alice", "x")).await;
        let notice = rig.settles("it failed", 1, has_failed).await.remove(0);
        let error = notice.state.error().unwrap();
        assert!(error.starts_with(words), "{way:?}: {error}");
        assert!(mailbox.letters().is_empty(), "{way:?}");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_a_reason_or_an_address_adds_a_header_or_a_recipient() {
    let certificates = TestCertificates::new();
    let mailbox = Mailbox::open(Way::Tls, &certificates).await;
    let mut settings = trusting(mail(&mailbox, Encryption::Tls), certificates.file("authority.crt"));
    let template = mayfly::notify::Template::parse("{reason}\n{reason}").unwrap();
    settings.templates.0.insert(mayfly::notify::EventKind::Lock, template);
    let rig = Rig::new(vec![settings]).await;
    let reason = "x\r\nBcc: eve@example.com\r\n\r\n.\r\nMAIL FROM:<eve@example.com>";
    rig.record(lock(&rig, "alice", reason)).await;
    rig.settles("it is sent", 1, is_sent).await;
    let letter = mailbox.letters().remove(0);
    assert_eq!(letter.to.len(), 2);
    assert!(letter.text.lines().all(|line| !line.starts_with("Bcc")), "{}", letter.text);
    assert_eq!(mailbox.letters().len(), 1);
    rig.stop().await;
}
