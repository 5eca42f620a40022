//! Several who want one account.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use mayfly::{
    domain::{RequestState, StateName, Verdict},
    identity::Caller,
    issuer::{ClaimRequest, Issued, NewRequest, NewReview, Refusal, RefusalKind},
};

use super::{Person, handed, people, reviewed};
use crate::support::world::{World, caller, databases, request};

async fn one_person() -> Option<Person> {
    match databases().await.into_iter().next() {
        Some(database) => Some(Person::on(database, "app").await),
        None => None,
    }
}

fn reader(name: &str) -> Caller {
    caller(name, &["readers"])
}

impl World {
    async fn ask_for_app(&self, name: &str) -> Result<Issued, Refusal> {
        self.issuer.issue(&reader(name), request("app")).await
    }

    /// At which place somebody waits who asks.
    async fn place_of(&self, name: &str) -> usize {
        let refusal = self.ask_for_app(name).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::AccountHeld, "{refusal}");
        fact(&refusal, "position").unwrap_or_else(|| panic!("{refusal}")).parse().unwrap()
    }

    async fn free_app(&self, name: &str, issued: &Issued) {
        self.issuer.release(&reader(name), issued.lease.id).await.unwrap();
        self.reaches(issued.lease.id, StateName::Released).await;
    }
}

fn fact<'r>(refusal: &'r Refusal, name: &str) -> Option<&'r str> {
    refusal.facts.iter().find(|(fact, _)| *fact == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn of_sixteen_who_ask_at_once_one_has_it_and_each_other_a_place_of_his_own() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let names: Vec<String> = (0..16).map(|number| format!("asker{number}")).collect();
        let answers = join_all(names.iter().map(|name| world.ask_for_app(name))).await;
        let (had, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(had.len(), 1);
        let refused: Vec<Refusal> = refused.into_iter().map(Result::unwrap_err).collect();
        assert!(refused.iter().all(|refusal| refusal.kind == RefusalKind::AccountHeld), "{refused:?}");
        let places: BTreeSet<usize> =
            refused.iter().map(|refusal| fact(refusal, "position").unwrap().parse().unwrap()).collect();
        assert_eq!(places, (1..=15).collect());
        let issued = had.into_iter().next().unwrap().unwrap();
        person.log_in_by(&issued.password).await.unwrap();
        assert_eq!(world.leases().await.len(), 1);
    }
}

#[tokio::test]
async fn those_who_wait_have_their_turns_in_the_order_in_which_they_came() {
    let Some(person) = one_person().await else { return };
    let world = person.handing_out().await;
    let first = world.ask_for_app("alice").await.unwrap();
    assert_eq!(
        (world.place_of("bob").await, world.place_of("carol").await, world.place_of("bob").await),
        (1, 2, 1)
    );
    world.free_app("alice", &first).await;
    // Who came first has it first, however eager the others are.
    assert_eq!((world.place_of("dave").await, world.place_of("carol").await), (3, 2));
    let told = world.ask_for_app("carol").await.unwrap_err();
    assert!(told.to_string().contains("is kept for who waits longest; you are 2nd in the queue"), "{told}");
    let second = world.ask_for_app("bob").await.unwrap();
    assert_eq!((world.place_of("carol").await, world.place_of("dave").await), (1, 2));
    world.free_app("bob", &second).await;
    world.ask_for_app("carol").await.unwrap();
}

#[tokio::test]
async fn a_place_is_lost_by_who_does_not_ask_again() {
    let Some(person) = one_person().await else { return };
    let world = person.handing_out().await;
    let first = world.ask_for_app("alice").await.unwrap();
    assert_eq!((world.place_of("bob").await, world.place_of("carol").await), (1, 2));
    world.pass(20);
    assert_eq!(world.place_of("carol").await, 2);
    world.pass(11);
    assert_eq!(world.place_of("carol").await, 1);
    world.free_app("alice", &first).await;
    world.ask_for_app("carol").await.unwrap();
    assert_eq!(world.place_of("bob").await, 1);
    let left: Vec<_> =
        world.audit().await.into_iter().filter(|record| record.action == "checkout.left").collect();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].details["principal"], "bob");
}

#[tokio::test]
async fn an_account_that_is_free_goes_to_whoever_comes_when_nobody_asks_for_it_any_more() {
    let Some(person) = one_person().await else { return };
    let world = person.handing_out().await;
    let first = world.ask_for_app("alice").await.unwrap();
    assert_eq!(world.place_of("bob").await, 1);
    world.free_app("alice", &first).await;
    assert_eq!(world.place_of("carol").await, 2);
    world.pass(31);
    world.ask_for_app("dave").await.unwrap();
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let Some(person) = one_person().await else { return };
    let world = person.world_with(vec![person.checkout_role("app", 2)]).await;
    let first = world.ask_for_app("alice").await.unwrap();
    assert_eq!((world.place_of("bob").await, world.place_of("carol").await), (1, 2));
    let full = world.ask_for_app("dave").await.unwrap_err();
    assert_eq!(full.kind, RefusalKind::AccountHeld);
    assert!(full.to_string().ends_with("; 2 wait for it, and no more may"), "{full}");
    assert_eq!((fact(&full, "position"), fact(&full, "waiting")), (None, Some("2")));
    // Another installation is given no account that this one has handed out.
    world.free_app("alice", &first).await;
    let none = person.world_with(vec![person.checkout_role("app", 0)]).await;
    none.ask_for_app("alice").await.unwrap();
    assert!(
        none.ask_for_app("bob")
            .await
            .unwrap_err()
            .to_string()
            .ends_with("; nobody waits for it, and no more may")
    );
}

#[tokio::test]
async fn two_roles_never_hand_out_one_account_at_once() {
    for person in people("app").await {
        let roles = vec![person.checkout_role("app", 5), person.checkout_role("batch", 5)];
        let world = person.world_with(roles).await;
        let batch = async |name: &str| world.issuer.issue(&reader(name), request("batch")).await;
        let first = world.ask_for_app("alice").await.unwrap();
        assert_eq!(batch("bob").await.unwrap_err().kind, RefusalKind::AccountHeld);
        assert_eq!(world.place_of("bob").await, 2, "a place under each role");
        world.free_app("alice", &first).await;
        let second = batch("bob").await.unwrap();
        person.log_in_by(&second.password).await.unwrap();
        assert!(person.log_in_by(&first.password).await.is_err());
    }
}

#[tokio::test]
async fn who_waits_is_told_until_when_and_administrators_by_whom() {
    let Some(person) = one_person().await else { return };
    let world = person.handing_out().await;
    let issued = world.ask_for_app("alice").await.unwrap();
    let until = format!("{:.0}", issued.lease.expires_at().unwrap());
    let told = world.ask_for_app("bob").await.unwrap_err();
    let account = &person.account;
    assert_eq!(
        told.to_string(),
        format!("the account {account} on shop is held until {until}; you are 1st in the queue")
    );
    assert_eq!(fact(&told, "held_until"), Some(&*until));
    assert_eq!(told.retry_after.unwrap().as_secs(), 2);
    let root = caller("root", &["administrators", "readers"]);
    let told = world.issuer.issue(&root, request("app")).await.unwrap_err();
    assert!(told.to_string().contains("is held by alice until"), "{told}");
    let told = world.ask_for_app("alice").await.unwrap_err();
    assert!(told.to_string().starts_with("you hold the account"), "{told}");
    let (check, _) = world.issuer.check_role(&reader("carol"), &"app".parse().unwrap(), None).await.unwrap();
    let why = check.verdict.unwrap_err();
    assert!(why.contains(&format!("held until {until}; 3 wait for it")), "{why}");
    assert_eq!(handed(&world).await[0].checkout.waiting.len(), 3, "who only looks takes no place");
}

#[tokio::test]
async fn that_somebody_came_is_on_record_and_that_he_asks_again_is_not() {
    let Some(person) = one_person().await else { return };
    let world = person.handing_out().await;
    world.ask_for_app("alice").await.unwrap();
    for _ in 0..20 {
        assert_eq!(world.place_of("bob").await, 1);
        world.pass(3);
    }
    let of_bob = world.audit().await.into_iter().filter(|record| {
        record.details.get("principal").is_some_and(|name| name == "bob")
            || format!("{:?}", record.actor).contains("bob")
    });
    let actions: Vec<_> = of_bob.map(|record| record.action).collect();
    assert_eq!(actions, ["checkout.queued"]);
}

#[tokio::test]
async fn a_grant_that_is_claimed_while_somebody_holds_the_account_is_not_used_up() {
    let Some(person) = one_person().await else { return };
    let world = person
        .world_with(vec![person.checkout_role("app", 5), reviewed(person.checkout_role("asked", 5))])
        .await;
    let first = world.ask_for_app("alice").await.unwrap();
    let new = NewRequest {
        role: "asked".parse().unwrap(),
        ttl: Some(200.try_into().unwrap()),
        start: None,
        parallel: 1,
        justification: String::new(),
        ticket: None,
        idempotency_key: None,
    };
    let asked = world.issuer.create_request(&reader("bob"), new).await.unwrap().request;
    let review = NewReview { verdict: Verdict::Approve { ttl: None, start: None }, comment: String::new() };
    let request = world.issuer.review_request(&caller("rita", &["owners"]), asked.id, review).await.unwrap();
    let RequestState::Approved { grant, .. } = request.state else { panic!("{request:?}") };
    let claim = || ClaimRequest { grant, ttl: None, idempotency_key: None };
    for _ in 0..2 {
        let refused = world.issuer.claim(&reader("bob"), claim()).await.unwrap_err();
        assert_eq!((refused.kind, fact(&refused, "position")), (RefusalKind::AccountHeld, Some("1")));
    }
    world.free_app("alice", &first).await;
    let claimed = world.issuer.claim(&reader("bob"), claim()).await.unwrap();
    person.log_in_by(&claimed.password).await.unwrap();
    let again = world.issuer.claim(&reader("bob"), claim()).await.unwrap_err();
    assert_eq!(again.kind, RefusalKind::LimitReached, "{again}");
}

#[tokio::test]
async fn who_is_locked_neither_waits_nor_has_a_turn() {
    let Some(person) = one_person().await else { return };
    let world = person.handing_out().await;
    let first = world.ask_for_app("alice").await.unwrap();
    let root = caller("root", &["administrators"]);
    let lock = mayfly::issuer::NewLock {
        subject: "principal/bob".parse().unwrap(),
        reason: String::new(),
        life: None,
        force: false,
    };
    world.issuer.lock(&root, lock).await.unwrap();
    assert_eq!(world.ask_for_app("bob").await.unwrap_err().kind, RefusalKind::Locked);
    assert!(handed(&world).await[0].checkout.waiting.is_empty());
    world.free_app("alice", &first).await;
    assert_eq!(world.ask_for_app("bob").await.unwrap_err().kind, RefusalKind::Locked);
    world.ask_for_app("carol").await.unwrap();
}
