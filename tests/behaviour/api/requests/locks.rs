//! Locks over the network.

use mayfly::api::proto::{
    CreateLockRequest, CreateLockResponse, DeleteLockRequest, GetRequestRequest, ListLocksRequest,
};
use tonic::{Code, Status};

use super::{
    super::rig::{named, told, with},
    Office, approval, asking, claim, seconds,
};

fn on(subject: &str) -> CreateLockRequest {
    CreateLockRequest { subject: subject.to_owned(), ..CreateLockRequest::default() }
}

impl Office {
    async fn lock(&self, token: &str, lock: CreateLockRequest) -> Result<CreateLockResponse, Status> {
        self.locks().create_lock(with(token, lock)).await.map(tonic::Response::into_inner)
    }

    async fn unlock(&self, subject: &str) -> Result<(), Status> {
        let request = DeleteLockRequest { name: format!("locks/{subject}"), reason: "cleared up".to_owned() };
        self.locks().delete_lock(with(&self.api.administrator, request)).await.map(drop)
    }
}

fn locked() -> (Code, String) {
    (Code::FailedPrecondition, "LOCKED".to_owned())
}

#[tokio::test]
async fn a_lock_says_what_it_ended_and_refuses_everything_until_it_is_taken_away() {
    let Some(office) = Office::open().await else { return };
    let root = &*office.api.administrator;
    let grant = office.granted(asking(300)).await;
    office.grants().claim_grant(with(&office.alice, claim(&grant))).await.unwrap();
    let waits = office.asked(asking(600)).await;
    let lock = CreateLockRequest {
        reason: "a lost laptop".to_owned(),
        ttl: Some(seconds(3_000)),
        ..on("principal/alice")
    };
    let set = office.lock(root, lock).await.unwrap();
    assert_eq!((set.leases_ended, set.requests_cancelled, set.grants_revoked), (1, 1, 1));
    let lock = set.lock.unwrap();
    assert_eq!((&*lock.name, &*lock.locked_by), ("locks/principal/alice", "administrator"));
    assert_eq!(lock.expire_time.unwrap().seconds - lock.create_time.unwrap().seconds, 3_000);

    let asked = office.requests().create_request(with(&office.alice, asking(60))).await.unwrap_err();
    assert_eq!(told(&asked), locked());
    assert!(!asked.message().contains("laptop"), "why is for administrators: {}", asked.message());
    let claimed = office.grants().claim_grant(with(&office.alice, claim(&grant))).await.unwrap_err();
    assert_eq!(claimed.code(), Code::FailedPrecondition, "{claimed:?}");
    // What is his own he sees.
    let get = with(&office.alice, GetRequestRequest { name: waits.name });
    office.requests().get_request(get).await.unwrap();

    office.unlock("principal/alice").await.unwrap();
    assert_eq!(office.asked(asking(60)).await.requester, "alice");
    let again = office.unlock("principal/alice").await.unwrap_err();
    assert_eq!(told(&again), (Code::NotFound, "NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn a_locked_reviewer_decides_nothing() {
    let Some(office) = Office::open().await else { return };
    let request = office.asked(asking(300)).await;
    let set = office.lock(&office.api.administrator, on("principal/bob")).await.unwrap();
    assert_eq!((set.leases_ended, set.requests_cancelled, set.grants_revoked), (0, 0, 0));
    let review = with(&office.bob, approval(&request.name));
    assert_eq!(told(&office.requests().review_request(review).await.unwrap_err()), locked());
}

#[tokio::test]
async fn what_cannot_be_locked_is_refused_by_its_field_and_locking_is_for_administrators() {
    let Some(office) = Office::open().await else { return };
    let root = &*office.api.administrator;
    for subject in ["", "alice", "principal/", "group/x", "role/a b", "target/a/b", "名前"] {
        let lock = CreateLockRequest { ttl: Some(seconds(-1)), ..on(subject) };
        assert_eq!(named(&office.lock(root, lock).await.unwrap_err()), ["subject", "ttl"], "{subject}");
        let delete =
            with(root, DeleteLockRequest { name: format!("locks/{subject}"), reason: String::new() });
        assert_eq!(named(&office.locks().delete_lock(delete).await.unwrap_err()), ["name"], "{subject}");
    }
    let wordy = CreateLockRequest { reason: "a\nb".to_owned(), ..on("role/shop-read") };
    assert_eq!(named(&office.lock(root, wordy).await.unwrap_err()), ["reason"]);
    let own = on("principal/administrator");
    assert_eq!(
        named(&office.lock(root, own).await.unwrap_err()),
        ["force"],
        "nobody locks himself by accident"
    );
    let unknown = office.lock(root, on("role/nothing")).await.unwrap_err();
    assert_eq!(told(&unknown), (Code::NotFound, "NOT_FOUND".to_owned()));
    let denied = (Code::PermissionDenied, "DENIED".to_owned());
    assert_eq!(told(&office.lock(&office.bob, on("principal/alice")).await.unwrap_err()), denied);
    let list = with(&office.bob, ListLocksRequest::default());
    assert_eq!(told(&office.locks().list_locks(list).await.unwrap_err()), denied);
    let delete = DeleteLockRequest { name: "locks/principal/alice".to_owned(), reason: String::new() };
    assert_eq!(told(&office.locks().delete_lock(with(&office.bob, delete)).await.unwrap_err()), denied);
}

#[tokio::test]
async fn locks_are_listed_a_page_at_a_time() {
    let Some(office) = Office::open().await else { return };
    let root = &*office.api.administrator;
    for subject in ["principal/carol", "role/shop-read", "target/shop"] {
        office.lock(root, on(subject)).await.unwrap();
    }
    let list = async |page_token: String| {
        let request = with(root, ListLocksRequest { page_size: 2, page_token });
        office.locks().list_locks(request).await.unwrap().into_inner()
    };
    let first = list(String::new()).await;
    let second = list(first.next_page_token).await;
    let subjects: Vec<&str> = first.locks.iter().chain(&second.locks).map(|lock| &*lock.subject).collect();
    assert_eq!(subjects, ["target/shop", "role/shop-read", "principal/carol"]);
    assert_eq!(second.next_page_token, "");
    let wrong = with(root, ListLocksRequest { page_size: -1, page_token: "x".to_owned() });
    assert_eq!(named(&office.locks().list_locks(wrong).await.unwrap_err()), ["page_size", "page_token"]);
}
