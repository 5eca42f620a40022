//! The life of a lease, on every engine: issued, used, renewed, ended.

use futures_util::FutureExt as _;
use mayfly::{
    domain::{LeaseState, StateName},
    issuer::RefusalKind,
    store::LeaseFilter,
};

use crate::support::{
    eventually,
    world::{World, caller, databases, expiry, request, role_name, target_name, ttl},
};

#[tokio::test]
async fn a_credential_reads_but_does_not_write() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let issued = world.issue().await.unwrap();
        assert_eq!(issued.engine, database.engine);
        assert_eq!(issued.database.as_deref(), Some(&*database.sample.names.database));
        let mut session = database.login(issued.lease.account.name.as_str(), &issued.password).await.unwrap();
        assert!(!session.ask("SELECT id FROM orders").await.unwrap().is_empty());
        session.ask("DELETE FROM orders").await.unwrap_err();
        assert_eq!(expiry(&issued.lease), issued.lease.created_at + jiff::SignedDuration::from_secs(300));
    }
}

#[tokio::test]
async fn at_expiry_the_session_ends_the_login_is_refused_and_the_account_is_gone() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let issued = world.issue().await.unwrap();
        let account = issued.lease.account.name.as_str();
        let mut session = database.login(account, &issued.password).await.unwrap();
        world.pass(299);
        session.ask("SELECT id FROM orders").await.unwrap();
        world.pass(1);
        let lease = world.reaches(issued.lease.id, StateName::Expired).await;
        let LeaseState::Ended { report, .. } = lease.state else { panic!("{lease:?}") };
        assert_eq!(report.sessions_ended, 1, "{}", database.engine);
        session.ask("SELECT id FROM orders").await.unwrap_err();
        assert!(database.login(account, &issued.password).await.is_err());
        assert!(!database.has_account(database.server.unwrap(), account).await);
    }
}

#[tokio::test]
async fn a_renewal_moves_the_expiry_up_to_the_maximum_and_never_shortens() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let app = caller("app", &["readers"]);
        let issued = world.issue().await.unwrap();
        world.pass(200);
        let renewed = world.issuer.renew(&app, issued.lease.id, None).await.unwrap();
        assert_eq!(expiry(&renewed), expiry(&issued.lease) + jiff::SignedDuration::from_secs(200));
        let shorter = world.issuer.renew(&app, issued.lease.id, Some(ttl(1))).await.unwrap();
        assert_eq!(expiry(&shorter), expiry(&renewed));
        let beyond = world.issuer.renew(&app, issued.lease.id, Some(ttl(3401))).await.unwrap_err();
        assert_eq!(beyond.kind, RefusalKind::Invalid("ttl"));
        world.pass(250);
        database.login(issued.lease.account.name.as_str(), &issued.password).await.unwrap();
        world.pass(50);
        world.reaches(issued.lease.id, StateName::Expired).await;
        let late = world.issuer.renew(&app, issued.lease.id, None).await.unwrap_err();
        assert_eq!(late.kind, RefusalKind::Ended);
    }
}

#[tokio::test]
async fn release_is_for_the_holder_and_revoke_for_administrators() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let (app, other) = (caller("app", &["readers"]), caller("other", &["readers"]));
        let admin = caller("root", &["administrators"]);
        let (first, second) = (world.issue().await.unwrap().lease.id, world.issue().await.unwrap().lease.id);
        assert_eq!(world.issuer.release(&other, first).await.unwrap_err().kind, RefusalKind::NotFound);
        assert_eq!(world.issuer.release(&admin, first).await.unwrap_err().kind, RefusalKind::Denied);
        world.issuer.release(&app, first).await.unwrap();
        let ended = world.ended(first).await;
        assert_eq!(ended.state.name(), StateName::Released);
        assert_eq!(
            world.issuer.revoke(&app, second, String::new()).await.unwrap_err().kind,
            RefusalKind::Denied
        );
        world.issuer.revoke(&admin, second, "left the team".into()).await.unwrap();
        assert_eq!(world.ended(second).await.state.name(), StateName::Revoked);
        // Ending what has ended is no error and changes nothing.
        assert_eq!(world.issuer.release(&app, second).await.unwrap().state.name(), StateName::Revoked);
        for lease in world.leases().await {
            assert!(!database.has_account(database.server.unwrap(), lease.account.name.as_str()).await);
        }
    }
}

#[tokio::test]
async fn many_are_revoked_by_principal_role_or_target_but_never_by_omission() {
    for database in databases().await {
        let target =
            World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
        let roles =
            vec![database.reading_role("shop-read", "shop"), database.reading_role("shop-look", "shop")];
        let world = World::with(vec![target], roles).await;
        let admin = caller("root", &["administrators"]);
        for (who, role) in [("a", "shop-read"), ("a", "shop-look"), ("b", "shop-read"), ("b", "shop-look")] {
            world.issuer.issue(&caller(who, &["readers"]), request(role)).await.unwrap();
        }
        let revoke = async |filter| world.issuer.revoke_all(&admin, filter, "audit".into()).await;
        let nothing = revoke(LeaseFilter::default()).await.unwrap_err();
        assert_eq!(nothing.kind, RefusalKind::Invalid("filter"));
        let of_a = LeaseFilter { principal: Some("a".parse().unwrap()), ..Default::default() };
        assert_eq!(revoke(of_a.clone()).await.unwrap(), 2);
        assert_eq!(revoke(of_a).await.unwrap(), 0);
        let under = LeaseFilter { role: Some(role_name("shop-look")), ..Default::default() };
        assert_eq!(revoke(under).await.unwrap(), 1);
        let on = LeaseFilter { target: Some(target_name("shop")), ..Default::default() };
        assert_eq!(revoke(on).await.unwrap(), 1);
        for lease in world.leases().await {
            world.reaches(lease.id, StateName::Revoked).await;
        }
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_lease_with_a_fresh_password() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let app = caller("app", &["readers"]);
        let mut asked = request("shop-read");
        asked.idempotency_key = Some("build-7".into());
        let first = world.issuer.issue(&app, asked.clone()).await.unwrap();
        let again = world.issuer.issue(&app, asked.clone()).await.unwrap();
        assert_eq!(first.lease.id, again.lease.id);
        let account = first.lease.account.name.as_str();
        database.login(account, &again.password).await.unwrap();
        assert!(database.login(account, &first.password).await.is_err(), "{}", database.engine);
        // The same key of somebody else is somebody else's.
        let other = world.issuer.issue(&caller("other", &["readers"]), asked.clone()).await.unwrap();
        assert_ne!(other.lease.id, first.lease.id);
        asked.ttl = Some(ttl(10));
        let reused = world.issuer.issue(&app, asked.clone()).await.unwrap_err();
        assert_eq!(reused.kind, RefusalKind::KeyReused);
        world.issuer.release(&app, first.lease.id).await.unwrap();
        asked.ttl = None;
        assert_eq!(world.issuer.issue(&app, asked).await.unwrap_err().kind, RefusalKind::Ended);
    }
}

#[tokio::test]
async fn nobody_gets_more_than_the_role_allows() {
    for database in databases().await {
        let target =
            World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
        let mut role = database.reading_role("shop-read", "shop");
        role.limits = mayfly::domain::LeaseLimits { per_principal: 2, total: 3 };
        let world = World::with(vec![target], vec![role]).await;
        let ask =
            async |who: &str| world.issuer.issue(&caller(who, &["readers"]), request("shop-read")).await;
        let first = ask("a").await.unwrap();
        ask("a").await.unwrap();
        assert_eq!(ask("a").await.unwrap_err().kind, RefusalKind::LimitReached);
        ask("b").await.unwrap();
        assert_eq!(ask("c").await.unwrap_err().kind, RefusalKind::LimitReached);
        world.issuer.release(&caller("a", &[]), first.lease.id).await.unwrap();
        world.ended(first.lease.id).await;
        ask("c").await.unwrap();
    }
}

#[tokio::test]
async fn who_may_not_is_refused_and_the_refusal_is_recorded() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let stranger = caller("stranger", &["writers"]);
        let refused = world.issuer.issue(&stranger, request("shop-read")).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Denied);
        let unknown = world.issuer.issue(&stranger, request("no-such-role")).await.unwrap_err();
        assert_eq!(unknown.kind, RefusalKind::NotFound);
        let mut long = request("shop-read");
        long.ttl = Some(ttl(3601));
        let long = world.issuer.issue(&caller("app", &["readers"]), long).await.unwrap_err();
        assert_eq!(long.kind, RefusalKind::Invalid("ttl"));
        let refusals: Vec<String> =
            world.audit().await.iter().map(|record| record.resource.clone()).collect();
        assert_eq!(refusals, ["roles/shop-read", "roles/no-such-role", "roles/shop-read"]);
        assert!(world.leases().await.is_empty());
    }
}

#[tokio::test]
async fn no_secret_is_kept_anywhere() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let issued = world.issue().await.unwrap();
        world.issuer.release(&caller("app", &["readers"]), issued.lease.id).await.unwrap();
        world.ended(issued.lease.id).await;
        let (directory, _) = world.stop().await;
        let mut looked_at = 0;
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let secret = issued.password.expose().as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
            looked_at += bytes.len();
        }
        assert!(looked_at > 0);
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_account() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let issuer = std::sync::Arc::clone(&world.issuer);
        let asking =
            tokio::spawn(
                async move { issuer.issue(&caller("app", &["readers"]), request("shop-read")).await },
            );
        eventually("the lease has begun", async || (!world.leases().await.is_empty()).then_some(())).await;
        asking.abort();
        if asking.await.is_ok() {
            // It was quicker than we were; then there is a credential, and nothing to test.
            continue;
        }
        let lease = world.leases().await.remove(0);
        world.reaches(lease.id, StateName::Failed).await;
        assert!(!database.has_account(database.server.unwrap(), lease.account.name.as_str()).await);
    }
}

#[tokio::test]
async fn a_credential_that_is_lost_on_its_way_to_the_caller_leaves_no_account() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let app = caller("app", &["readers"]);
        let mut asking = Box::pin(world.issuer.issue(&app, request("shop-read")));
        assert!((&mut asking).now_or_never().is_none(), "it has begun, and waits for its task");
        let active = |lease: &mayfly::domain::Lease| lease.state.name() == StateName::Active;
        let lease =
            eventually("the credential is ready", async || world.leases().await.into_iter().find(active))
                .await;
        // The caller goes without having looked: what was sent to it is lost.
        drop(asking);
        world.reaches(lease.id, StateName::Failed).await;
        assert!(!database.has_account(database.server.unwrap(), lease.account.name.as_str()).await);
    }
}

#[tokio::test]
async fn a_lease_that_is_asked_for_again_in_vain_stays() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let app = caller("app", &["readers"]);
        let mut asked = request("shop-read");
        asked.idempotency_key = Some("build-8".into());
        let first = world.issuer.issue(&app, asked.clone()).await.unwrap();
        let reissued = async || {
            let audit = world.audit().await;
            audit.iter().any(|record| record.action == "lease.reissued").then_some(())
        };
        let mut asking = Box::pin(world.issuer.issue(&app, asked.clone()));
        assert!((&mut asking).now_or_never().is_none());
        eventually("it was asked for again", reissued).await;
        drop(asking);
        world.issuer.drain().await;
        assert_eq!(world.lease(first.lease.id).await.state.name(), StateName::Active);
    }
}
