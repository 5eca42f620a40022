//! The life of a checkout.

use mayfly::{
    domain::{Engine, LeaseKind, LockSubject, StateName},
    issuer::{IssueRequest, NewLock, RefusalKind},
};

use super::{Person, alice, handed, is_over, people, report};
use crate::support::{
    eventually,
    world::{caller, databases, request},
};

#[tokio::test]
async fn an_account_is_handed_out_with_a_fresh_password_and_locked_at_the_end() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let mut before = person.log_in().await.unwrap();
        let issued = world.elevate("app").await.unwrap();
        assert_eq!(issued.lease.kind, LeaseKind::Checkout);
        assert_eq!(issued.lease.account.name.as_str(), person.account);
        // Whoever used it before is out, and its password is worthless.
        assert!(is_over(&mut before).await);
        assert!(person.log_in().await.is_err());
        let mut session = person.log_in_by(&issued.password).await.unwrap();
        session.ask("SELECT 1").await.unwrap();
        let ended = world.give_back(issued.lease.id).await;
        assert_eq!(report(&ended).sessions_ended, 1);
        assert!(is_over(&mut session).await);
        person.assert_locked(&[&issued.password]).await;
        // The next holder has another one.
        let next = world.elevate("app").await.unwrap();
        assert!(person.log_in_by(&issued.password).await.is_err());
        person.log_in_by(&next.password).await.unwrap();
        world.give_back(next.lease.id).await;
        person.assert_locked(&[&issued.password, &next.password]).await;
    }
}

#[tokio::test]
async fn it_expires_is_revoked_and_falls_to_a_lock_like_any_lease() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let root = caller("root", &["administrators"]);
        let expired = world.elevate("app").await.unwrap();
        world.pass(301);
        world.reaches(expired.lease.id, StateName::Expired).await;
        person.assert_locked(&[&expired.password]).await;
        let revoked = world.elevate("app").await.unwrap();
        world.issuer.revoke(&root, revoked.lease.id, "enough".to_owned()).await.unwrap();
        world.reaches(revoked.lease.id, StateName::Revoked).await;
        person.assert_locked(&[&revoked.password]).await;
        let locked = world.elevate("app").await.unwrap();
        let subject: LockSubject = "principal/alice".parse().unwrap();
        let lock = NewLock { subject: subject.clone(), reason: String::new(), life: None, force: false };
        world.issuer.lock(&root, lock).await.unwrap();
        world.reaches(locked.lease.id, StateName::Revoked).await;
        person.assert_locked(&[&locked.password]).await;
        let refused = world.elevate("app").await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Locked);
        world.issuer.unlock(&root, &subject, String::new()).await.unwrap();
        let last = world.elevate("app").await.unwrap();
        world.give_back(last.lease.id).await;
    }
}

#[tokio::test]
async fn it_is_renewed_up_to_the_roles_maximum() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        world.pass(200);
        let renewed = world.issuer.renew(&alice(), issued.lease.id, None).await.unwrap();
        assert!(renewed.expires_at() > issued.lease.expires_at());
        world.pass(200);
        assert_eq!(world.lease(issued.lease.id).await.state.name(), StateName::Active);
        person.log_in_by(&issued.password).await.unwrap();
        let refused = world.issuer.renew(&alice(), issued.lease.id, Some(3600.try_into().unwrap())).await;
        assert_eq!(refused.unwrap_err().kind, RefusalKind::Invalid("ttl"));
        world.pass(101);
        world.reaches(issued.lease.id, StateName::Expired).await;
        person.assert_locked(&[&issued.password]).await;
    }
}

#[tokio::test]
async fn a_repeated_request_returns_the_same_lease_with_another_password() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let wish = IssueRequest { idempotency_key: Some("once".to_owned()), ..request("app") };
        let first = world.issuer.issue(&alice(), wish.clone()).await.unwrap();
        let again = world.issuer.issue(&alice(), wish.clone()).await.unwrap();
        assert_eq!(first.lease.id, again.lease.id);
        assert!(person.log_in_by(&first.password).await.is_err());
        person.log_in_by(&again.password).await.unwrap();
        let other = IssueRequest { purpose: "something else".to_owned(), ..wish.clone() };
        let refused = world.issuer.issue(&alice(), other).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::KeyReused);
        world.give_back(first.lease.id).await;
        person.assert_locked(&[&first.password, &again.password]).await;
        let refused = world.issuer.issue(&alice(), wish).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Ended);
        person.assert_locked(&[&again.password]).await;
    }
}

#[tokio::test]
async fn an_account_that_is_not_there_or_not_to_be_touched_is_refused_and_nothing_begins() {
    for database in databases().await {
        let administrator = database.sample.names.administrator.clone();
        let superuser = database.server.unwrap().administrator().user.clone();
        for (account, words) in [
            ("nobody_of_that_name", "does not exist"),
            (&*administrator, "is not handed out"),
            (&*superuser, "is not handed out"),
        ] {
            let person = Person { account: account.to_owned(), ..Person::nobody(database.clone()) };
            let world = person.handing_out().await;
            let refused = world.elevate("app").await.unwrap_err();
            assert_eq!(refused.kind, RefusalKind::TargetRefused, "{account}: {refused}");
            // On MySQL and MariaDB the superuser of the sandbox may be one of another host.
            let known = refused.to_string().contains(words) || refused.to_string().contains("does not exist");
            assert!(known, "{account}: {refused}");
            assert!(world.leases().await.is_empty());
            assert!(handed(&world).await.is_empty());
        }
    }
}

#[tokio::test]
async fn an_account_that_was_dropped_meanwhile_ends_as_absent_and_is_free() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        person.drop_account().await;
        let ended = world.give_back(issued.lease.id).await;
        assert!(report(&ended).was_absent, "{ended:?}");
        assert_eq!(handed(&world).await[0].checkout.holder, None);
    }
}

#[tokio::test]
async fn what_the_account_owns_and_is_a_member_of_stays() {
    for person in people("app").await {
        let read = person.read().to_owned();
        person.superuser(&format!("GRANT {} TO {}", person.group(&read), person.quoted())).await;
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        if person.database.engine == Engine::Postgres {
            let write = person.write().to_owned();
            person.superuser(&format!("GRANT {} TO {}", person.group(&write), person.quoted())).await;
            let mut session = person.log_in_by(&issued.password).await.unwrap();
            session.ask("CREATE TABLE drafts.notes_of_app (id int)").await.unwrap();
        }
        world.give_back(issued.lease.id).await;
        assert!(person.groups().await.contains(&read));
        if person.database.engine == Engine::Postgres {
            let owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'notes_of_app'";
            assert_eq!(person.superuser(owner).await.first(), Some(&person.account));
        }
    }
}

#[tokio::test]
async fn an_account_with_a_hostile_name_is_only_a_name() {
    for database in databases().await {
        let person = Person::hostile(database).await;
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        person.log_in_by(&issued.password).await.unwrap();
        world.give_back(issued.lease.id).await;
        person.assert_locked(&[&issued.password]).await;
    }
}

#[tokio::test]
async fn its_sessions_are_shown_like_those_of_any_lease() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        let _session = person.log_in_by(&issued.password).await.unwrap();
        eventually("its session is seen", async || {
            let sessions = world.issuer.sessions(&alice(), issued.lease.id).await.unwrap();
            (sessions.len() == 1).then_some(())
        })
        .await;
        world.give_back(issued.lease.id).await;
    }
}
