//! The life of an elevation.

use mayfly::{
    domain::{Access, EndReport, Engine, LeaseKind, RequestState, StateName, Verdict},
    issuer::{ClaimRequest, IssueRequest, NewRequest, NewReview, RefusalKind},
};

use super::{Person, alice, is_over, people, report, reviewed};
use crate::support::{
    eventually,
    world::{caller, databases, request},
};

#[tokio::test]
async fn an_account_has_its_groups_for_the_period_and_loses_exactly_those() {
    for person in people("alice").await {
        let world = person.world().await;
        person.assert_as_before(&[]).await;
        let issued = world.elevate("reader").await.unwrap();
        assert_eq!(issued.lease.kind, LeaseKind::Elevation);
        assert_eq!(issued.lease.account.name.as_str(), person.account);
        assert_eq!(issued.password.expose(), "");
        let mut session = person.log_in().await.unwrap();
        assert!(person.reads(&mut session).await);
        session.ask(&format!("DELETE FROM {}", person.orders())).await.unwrap_err();
        let ended = world.give_back(issued.lease.id).await;
        assert_eq!(report(&ended), EndReport { sessions_ended: 1, ..EndReport::default() });
        assert!(is_over(&mut session).await);
        person.assert_as_before(&[]).await;
    }
}

#[tokio::test]
async fn it_ends_with_its_grant_however_late_it_is_claimed() {
    for person in people("alice").await {
        let world = person.world_with(vec![reviewed(person.role("reader", &[person.read()]))]).await;
        let new = NewRequest {
            role: "reader".parse().unwrap(),
            ttl: Some(200.try_into().unwrap()),
            start: None,
            parallel: 1,
            justification: String::new(),
            ticket: None,
            idempotency_key: None,
        };
        let asked = world.issuer.create_request(&alice(), new).await.unwrap().request;
        let verdict = Verdict::Approve { ttl: None, start: None };
        let review = NewReview { verdict, comment: String::new() };
        let request =
            world.issuer.review_request(&caller("bob", &["owners"]), asked.id, review).await.unwrap();
        let RequestState::Approved { grant, .. } = request.state else { panic!("{request:?}") };
        let claim = || ClaimRequest { grant, ttl: None, idempotency_key: None };
        let first = world.issuer.claim(&alice(), claim()).await.unwrap().lease;
        world.give_back(first.id).await;
        world.pass(100);
        let second = world.issuer.claim(&alice(), claim()).await.unwrap().lease;
        assert_eq!(second.expires_at(), first.expires_at());
        world.give_back(second.id).await;
        person.assert_as_before(&[]).await;
    }
}

#[tokio::test]
async fn it_expires_and_is_revoked_like_any_lease() {
    for person in people("alice").await {
        let world = person.world().await;
        let first = world.elevate("reader").await.unwrap();
        world.pass(301);
        world.reaches(first.lease.id, StateName::Expired).await;
        person.assert_as_before(&[]).await;
        let second = world.elevate("writer").await.unwrap();
        let administrator = caller("root", &["administrators"]);
        world.issuer.revoke(&administrator, second.lease.id, "enough".to_owned()).await.unwrap();
        world.reaches(second.lease.id, StateName::Revoked).await;
        person.assert_as_before(&[]).await;
    }
}

#[tokio::test]
async fn it_is_renewed_up_to_the_roles_maximum() {
    for person in people("alice").await {
        let world = person.world().await;
        let lease = world.elevate("reader").await.unwrap().lease;
        world.pass(200);
        world.issuer.renew(&alice(), lease.id, None).await.unwrap();
        world.pass(200);
        assert_eq!(world.lease(lease.id).await.state.name(), StateName::Active);
        assert_eq!(person.groups().await, [person.read().to_owned()].into());
        world.pass(101);
        world.reaches(lease.id, StateName::Expired).await;
        person.assert_as_before(&[]).await;
    }
}

#[tokio::test]
async fn a_session_that_became_the_group_ends_with_the_elevation() {
    for person in people("alice").await {
        let world = person.world().await;
        let lease = world.elevate("writer").await.unwrap().lease;
        let mut session = person.log_in().await.unwrap();
        session.ask(&format!("SET ROLE {}", person.group(person.write()))).await.unwrap();
        session.ask(&format!("DELETE FROM {} WHERE id < 0", person.orders())).await.unwrap();
        world.give_back(lease.id).await;
        assert!(is_over(&mut session).await);
        person.assert_as_before(&[]).await;
    }
}

#[tokio::test]
async fn sessions_stay_where_the_role_says_so() {
    for person in people("alice").await {
        let mut role = person.role("reader", &[person.read()]);
        if let Access::Elevation { end_sessions, .. } = &mut role.access {
            *end_sessions = false;
        }
        let world = person.world_with(vec![role]).await;
        let lease = world.elevate("reader").await.unwrap().lease;
        let mut session = person.log_in().await.unwrap();
        world.give_back(lease.id).await;
        assert!(!is_over(&mut session).await);
        assert_eq!(person.groups().await, [].into());
        if person.database.engine == Engine::Postgres {
            assert!(!person.reads(&mut session).await);
        }
    }
}

#[tokio::test]
async fn a_repeated_request_returns_the_same_elevation() {
    for person in people("alice").await {
        let world = person.world().await;
        let wish = IssueRequest { idempotency_key: Some("once".to_owned()), ..request("reader") };
        let first = world.issuer.issue(&alice(), wish.clone()).await.unwrap();
        let again = world.issuer.issue(&alice(), wish.clone()).await.unwrap();
        assert_eq!(first.lease.id, again.lease.id);
        world.give_back(first.lease.id).await;
        person.assert_as_before(&[]).await;
        let refused = world.issuer.issue(&alice(), wish).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Ended);
    }
}

#[tokio::test]
async fn who_has_no_account_is_refused() {
    for person in people("alice").await {
        let world = person.world().await;
        let bob = caller("bob", &["readers"]);
        let refused = world.issuer.issue(&bob, request("reader")).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Invalid("role"));
        assert!(world.leases().await.is_empty());
    }
}

#[tokio::test]
async fn an_account_that_is_not_there_or_not_to_be_touched_is_refused_and_nothing_begins() {
    for database in databases().await {
        let administrator = database.sample.names.administrator.clone();
        let superuser = database.server.unwrap().administrator().user.clone();
        for (account, words) in [
            ("nobody_of_that_name", "does not exist"),
            (&*administrator, "administers the server"),
            (&*superuser, "is not elevated"),
        ] {
            let person = Person {
                database: database.clone(),
                account: account.to_owned(),
                password: mayfly::domain::Password::new(String::new()),
            };
            let world = person.world().await;
            let refused = world.elevate("reader").await.unwrap_err();
            assert_eq!(refused.kind, RefusalKind::TargetRefused, "{account}: {refused}");
            // On MySQL and MariaDB the superuser of the sandbox may be one of another host.
            let known = refused.to_string().contains(words) || refused.to_string().contains("does not exist");
            assert!(known, "{account}: {refused}");
            assert!(world.leases().await.is_empty());
        }
    }
}

#[tokio::test]
async fn an_account_with_a_hostile_name_is_only_a_name() {
    for database in databases().await {
        let person = Person::hostile(database).await;
        let world = person.world().await;
        let lease = world.elevate("reader").await.unwrap().lease;
        let mut session = person.log_in().await.unwrap();
        assert!(person.reads(&mut session).await);
        world.give_back(lease.id).await;
        let mut session = person.log_in().await.unwrap();
        assert!(!person.reads(&mut session).await);
    }
}

#[tokio::test]
async fn an_account_that_was_dropped_meanwhile_ends_as_absent() {
    for person in people("alice").await {
        let world = person.world().await;
        let lease = world.elevate("reader").await.unwrap().lease;
        person.drop_account().await;
        let ended = world.give_back(lease.id).await;
        assert!(report(&ended).was_absent, "{ended:?}");
    }
}

#[tokio::test]
async fn what_the_account_owns_stays() {
    for person in people("alice").await.into_iter().filter(|p| p.database.engine == Engine::Postgres) {
        let world = person.world().await;
        let lease = world.elevate("writer").await.unwrap().lease;
        let mut session = person.log_in().await.unwrap();
        session.ask("CREATE TABLE drafts.notes_of_alice (id int)").await.unwrap();
        world.give_back(lease.id).await;
        let owner = person
            .superuser("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'notes_of_alice'")
            .await;
        assert_eq!(owner.first(), Some(&person.account));
        eventually("she is let in", async || person.log_in().await.ok()).await;
    }
}
