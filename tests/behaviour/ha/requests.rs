//! Requests, grants, locks, assertions and notices where two replicas serve: as if there were one.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use futures_util::future;
use mayfly::{
    api::proto::{
        AccessRequest, CreateLockRequest, DeleteLockRequest, GrantState, LeaseState, ListGrantsRequest,
        RequestState, WatchRequestRequest, WhoAmIRequest, grant_service_client::GrantServiceClient,
        lock_service_client::LockServiceClient, request_service_client::RequestServiceClient,
        server_service_client::ServerServiceClient,
    },
    clock::{Clock as _, SystemClock},
    sandbox::LocalIssuer,
};
use tonic::Code;

use super::fleet::{Fleet, Plan};
use crate::{
    crash::caller::{Caller, Held, answer, reason},
    notify::receiver::{Answer, Receiver},
    support::eventually,
};

/// Claims at each of two replicas, and how many leases the grant allows.
const CLAIMS: usize = 6;
const ALLOWED: u32 = 3;

/// A role that takes a review by one of two reviewers.
fn reviewed(plan: &Plan) -> String {
    let names = &plan.databases[0].sample.names;
    format!(
        "\n[roles.{}]\ntarget = \"postgres\"\nmember_of = [\"{}\"]\ndefault_ttl = \"5m\"\nmax_ttl = \"1h\"\n\
         owned_objects = \"drop\"\nleases_per_principal = 100\nleases_total = 100\nscram_iterations = 64\n\
         allow = [\"group:administrators\"]\napproval = \"colleague\"\n\n\
         [[approvals.colleague.steps]]\nname = \"colleague\"\nreviewers = [\"principal:reviewer\", \"principal:second\"]\n",
        reviewed_role(plan),
        names.read
    )
}

fn reviewed_role(plan: &Plan) -> String {
    format!("v{:03x}", plan.number)
}

/// Two replicas that serve, with further lines in their configuration.
async fn two(more: impl FnOnce(&Plan) -> String) -> Option<(Fleet, [Caller; 2])> {
    let mut fleet = Fleet::with_more(2, more).await?;
    let callers = fleet.start_all().await.try_into().unwrap_or_else(|_| panic!("two"));
    Some((fleet, callers))
}

impl Caller {
    async fn waits(&self, fleet: &Fleet, key: &str, parallel: u32) -> AccessRequest {
        self.ask_for(&reviewed_role(&fleet.plan), key, parallel).await.unwrap()
    }

    async fn lock(&self, subject: &str) {
        let request = CreateLockRequest { subject: subject.to_owned(), ..CreateLockRequest::default() };
        let mut locks = LockServiceClient::new(self.channel.clone());
        answer(locks.create_lock(self.with(request))).await.unwrap();
    }

    async fn unlock(&self, subject: &str) {
        let request = DeleteLockRequest { name: format!("locks/{subject}"), reason: String::new() };
        let mut locks = LockServiceClient::new(self.channel.clone());
        answer(locks.delete_lock(self.with(request))).await.unwrap();
    }
}

#[tokio::test]
async fn claims_at_two_replicas_at_once_give_as_many_leases_as_the_grant_allows() {
    let Some((fleet, [one, other])) = two(reviewed).await else { return };
    let request = one.waits(&fleet, "build", ALLOWED).await;
    // Asked for at one, agreed to at the other.
    let approved = other.reviewer("reviewer").await.unwrap().approve(&request.name).await.unwrap();
    let claims = (0..2 * CLAIMS).map(|at| if at % 2 == 0 { &one } else { &other }.claim(&approved.grant));
    let (claimed, refused): (Vec<_>, Vec<_>) =
        future::join_all(claims).await.into_iter().partition(Result::is_ok);
    for status in refused.into_iter().filter_map(Result::err) {
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::ResourceExhausted, "LEASE_LIMIT_REACHED")
        );
    }
    let held: Vec<Held> = claimed.into_iter().flatten().collect();
    let leases: BTreeSet<&str> = held.iter().map(|held| held.lease.as_str()).collect();
    assert_eq!((held.len(), leases.len()), (3, 3));
    let (database, _) = fleet.postgres();
    for held in &held {
        held.assert_logs_in(database).await;
    }
    // One that ended makes room, wherever it is asked for.
    let mut held = held;
    other.release(&mut held[0], true).await.unwrap();
    one.claim(&approved.grant).await.unwrap();
    assert_eq!(reason(&other.claim(&approved.grant).await.unwrap_err()), "LEASE_LIMIT_REACHED");
    fleet.assert_clean().await;
}

#[tokio::test]
async fn an_approval_at_one_replica_is_seen_by_who_watches_at_the_other() {
    let Some((fleet, [one, other])) = two(reviewed).await else { return };
    let request = one.waits(&fleet, "watched", 1).await;
    let watch = one.with(WatchRequestRequest { name: request.name.clone() });
    let mut watch =
        RequestServiceClient::new(one.channel.clone()).watch_request(watch).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap().request.unwrap();
    assert_eq!(first.state(), RequestState::Pending);
    other.reviewer("reviewer").await.unwrap().approve(&request.name).await.unwrap();
    let last = watch.message().await.unwrap().unwrap().request.unwrap();
    assert_eq!(last.state(), RequestState::Approved);
    assert!(watch.message().await.unwrap().is_none(), "that was the end");
    fleet.assert_clean().await;
}

#[tokio::test]
async fn reviews_at_two_replicas_at_once_open_one_grant() {
    let Some((fleet, [one, other])) = two(reviewed).await else { return };
    let first = one.reviewer("reviewer").await.unwrap();
    let second = other.reviewer("second").await.unwrap();
    for number in 0..5 {
        let request = one.waits(&fleet, &format!("raced-{number}"), 1).await;
        let outcomes = future::join(first.approve(&request.name), second.approve(&request.name)).await;
        let late = match outcomes {
            (Ok(_), Err(late)) | (Err(late), Ok(_)) => late,
            both => panic!("{both:?}"),
        };
        assert_eq!(reason(&late), "REQUEST_DECIDED");
        let mut grants = GrantServiceClient::new(one.channel.clone());
        let all = answer(grants.list_grants(one.with(ListGrantsRequest::default()))).await.unwrap().grants;
        let live: Vec<_> = all.iter().filter(|grant| grant.state() == GrantState::Scheduled).collect();
        assert_eq!((all.len(), live.len()), (number + 1, 1));
        // So that the next is asked for and not covered.
        other.take_back(&live[0].name).await.unwrap();
    }
    fleet.assert_clean().await;
}

#[tokio::test]
async fn a_lock_set_at_one_replica_refuses_at_the_other_at_once_and_ends_what_that_one_issued() {
    let Some((fleet, [one, other])) = two(reviewed).await else { return };
    let (_, role) = fleet.postgres();
    let held = other.issue(&role, 300, "before").await.unwrap();
    let request = other.waits(&fleet, "before", 1).await;
    for round in 0..5 {
        one.lock(&format!("role/{role}")).await;
        let refused = other.issue(&role, 300, &format!("after-{round}")).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "LOCKED"));
        one.unlock(&format!("role/{role}")).await;
        let mut again = other.issue(&role, 300, &format!("again-{round}")).await.unwrap();
        other.release(&mut again, true).await.unwrap();
    }
    assert_eq!(other.lease(&held.lease).await.unwrap().state(), LeaseState::Revoked);
    one.lock("target/postgres").await;
    assert_eq!(other.request(&request.name).await.unwrap().state(), RequestState::Cancelled);
    one.unlock("target/postgres").await;
    fleet.assert_clean().await;
}

#[tokio::test]
async fn an_assertion_used_at_one_replica_is_refused_at_the_other() {
    let keys = tempfile::tempdir().unwrap();
    let issuer = LocalIssuer::generate("https://ci.example", "one").unwrap();
    let file = keys.path().join("keys.json");
    issuer.write_key_set(&file).unwrap();
    let trust = |_: &Plan| {
        format!(
            "\n[identity.ci]\nissuer = \"https://ci.example\"\naudiences = [\"mayfly\"]\njwks_file = \"{}\"\n\
             principal = \"repo:{{repository}}:{{ref}}\"\ngroups = [\"administrators\"]\n\
             bound_claims = {{ repository = \"acme/*\" }}\nreplay = \"once\"\n",
            file.display()
        )
    };
    let Some((fleet, [one, other])) = two(trust).await else { return };
    let who = async |caller: &Caller, jwt: &str| {
        let caller = Caller::new(&caller.address, jwt);
        let mut server = ServerServiceClient::new(caller.channel.clone());
        answer(server.who_am_i(caller.with(WhoAmIRequest {}))).await.map(|me| me.principal)
    };
    for id in ["1", "2", "3"] {
        let jwt = issuer.sign(&issuer.job("acme/shop", "main", "mayfly", SystemClock.now(), id)).unwrap();
        // At both at once: one of them takes it.
        let outcomes = future::join(who(&one, &jwt), who(&other, &jwt)).await;
        let (me, refused) = match outcomes {
            (Ok(me), Err(refused)) | (Err(refused), Ok(me)) => (me, refused),
            both => panic!("{both:?}"),
        };
        assert_eq!(me, "repo:acme/shop:refs/heads/main");
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::Unauthenticated, "ASSERTION_REPLAYED")
        );
        for caller in [&one, &other] {
            assert_eq!(reason(&who(caller, &jwt).await.unwrap_err()), "ASSERTION_REPLAYED");
        }
    }
    fleet.assert_clean().await;
}

#[tokio::test]
async fn elevations_of_one_account_at_two_replicas_overlap_and_the_last_takes_the_groups_away() {
    let elevating = |plan: &Plan| {
        let names = &plan.databases[0].sample.names;
        let mut text = String::new();
        for (letter, group) in [("r", &names.read), ("w", &names.write)] {
            let _ = write!(
                text,
                "\n[roles.{letter}{:03x}]\nkind = \"elevation\"\ntarget = \"postgres\"\nmember_of = [\"{group}\"]\n\
                 expiry = \"issuer\"\naccounts = {{ administrator = \"{}\" }}\nallow = [\"group:administrators\"]\n",
                plan.number,
                elevated(plan),
            );
        }
        text
    };
    let Some(mut fleet) = Fleet::with_more(2, elevating).await else { return };
    let account = elevated(&fleet.plan);
    let (database, administrator) = {
        let (database, _) = fleet.postgres();
        (database.clone(), database.sample.names.administrator.clone())
    };
    let server = database.server.unwrap();
    for statement in [
        format!("CREATE ROLE {account} LOGIN"),
        format!("GRANT {account} TO \"{administrator}\" WITH ADMIN OPTION"),
    ] {
        database.ask_superuser(server, &statement).await;
    }
    let groups = async || {
        let statement = format!(
            "SELECT DISTINCT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
             JOIN pg_roles a ON a.oid = m.member WHERE a.rolname = '{account}'"
        );
        database.ask_superuser(server, &statement).await.into_iter().collect::<BTreeSet<_>>()
    };
    let [one, other]: [Caller; 2] = fleet.start_all().await.try_into().unwrap_or_else(|_| panic!("two"));
    let [reader, writer] = ["r", "w"].map(|letter| format!("{letter}{:03x}", fleet.plan.number));
    let (read, write) = (database.sample.names.read.clone(), database.sample.names.write.clone());
    // The same group twice and another once, all at the same moment and at either replica.
    let (a, b, c) = tokio::join!(
        one.issue(&reader, 300, "a"),
        other.issue(&reader, 300, "b"),
        other.issue(&writer, 300, "c"),
    );
    let (mut a, mut b, mut c) = (a.unwrap(), b.unwrap(), c.unwrap());
    assert_eq!(groups().await, [read.clone(), write.clone()].into());
    // Each given back at the replica that did not give it.
    other.release(&mut a, true).await.unwrap();
    assert_eq!(groups().await, [read.clone(), write].into(), "another holds it still");
    one.release(&mut c, true).await.unwrap();
    assert_eq!(groups().await, [read].into());
    one.release(&mut b, true).await.unwrap();
    assert_eq!(groups().await, BTreeSet::new());
    fleet.assert_clean().await;
    database.ask_superuser(server, &format!("DROP ROLE {account}")).await;
}

fn elevated(plan: &Plan) -> String {
    format!("elevated_{}", plan.databases[0].sample.names.database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_replica_did_and_had_not_told_yet_is_told_by_another() {
    let receiver = Receiver::open().await;
    let secrets = tempfile::tempdir().unwrap();
    let path = |name: &str| secrets.path().join(name);
    for (name, text) in
        [("hook.url", receiver.url()), ("hook.key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n".to_owned())]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let channel = |_: &Plan| {
        format!(
            "\n[notifications.audit]\nkind = \"webhook\"\nurl_file = \"{}\"\nsecret_file = \"{}\"\ntimeout = \"1s\"\n\
             events = [\"lock\"]\n",
            path("hook.url").display(),
            path("hook.key").display()
        )
    };
    let Some((mut fleet, [one, other])) = two(channel).await else { return };
    // Nothing gets through while the one that is to die is at it.
    receiver.does(|_, _| Answer::Hang);
    let subjects: BTreeSet<String> = (0..12).map(|number| format!("principal/lost-{number}")).collect();
    for subject in &subjects {
        one.lock(subject).await;
    }
    fleet.replicas[0].kill().await;
    receiver.does(|_, _| Answer::Status(204));
    let told = || {
        let posts = receiver.posts();
        let resources = posts.iter().map(|post| post.json()["data"]["resource"].as_str().unwrap().to_owned());
        resources.collect::<BTreeSet<_>>()
    };
    let expected: BTreeSet<String> = subjects.iter().map(|subject| format!("locks/{subject}")).collect();
    eventually("everything is told", async || told().is_superset(&expected).then_some(())).await;
    assert_eq!(told(), expected);
    // Told twice perhaps, under the same identifier: a receiver can tell.
    let posts = receiver.posts();
    let ids: BTreeSet<&str> = posts.iter().map(crate::notify::receiver::Post::id).collect();
    assert_eq!(ids.len(), expected.len(), "one identifier each");
    for subject in &subjects {
        other.unlock(subject).await;
    }
    fleet.assert_clean().await;
}
