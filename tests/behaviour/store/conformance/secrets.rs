//! Sealed passwords of administration accounts.

use mayfly::{domain::TargetName, store::KeptSecret};

use super::Subject;
use crate::store::fixtures::{actions, at, draft, lease};

fn sealed(last: &str) -> mayfly::sealing::Sealed {
    format!("v1.0011223344556677.{last}").parse().unwrap()
}

fn told(action: &'static str) -> mayfly::audit::Draft {
    draft(action, lease(1, "a", "b").id)
}

pub(crate) async fn a_sealed_password_reads_back_as_it_was_kept(store: Subject) {
    let (orders, stock): (TargetName, TargetName) = ("orders".parse().unwrap(), "stock".parse().unwrap());
    assert_eq!(store.secret(&orders).await.unwrap(), None);
    assert_eq!(store.secrets().await.unwrap(), []);
    let mut whole = KeptSecret::none("mayfly").begun(sealed("AAAA"), at(1));
    assert!(store.keep_secret(&stock, whole.clone(), told("target.rotation_began")).await.unwrap());
    whole.revision = 1;
    assert_eq!(store.secret(&stock).await.unwrap(), Some(whole.clone()));
    let states = [
        whole.clone().failed(at(2), "the server is \"down\""),
        whole.clone().promoted(at(3)),
        whole.clone().promoted(at(3)).begun(sealed("BBBB"), at(4)),
        whole.promoted(at(3)).begun(sealed("BBBB"), at(4)).set_aside(),
    ];
    for (kept, state) in states.into_iter().enumerate() {
        let state = KeptSecret { revision: kept as u64 + 1, ..state };
        assert!(store.keep_secret(&stock, state.clone(), told("target.rotated")).await.unwrap());
        let expected = KeptSecret { revision: state.revision + 1, ..state };
        assert_eq!(store.secret(&stock).await.unwrap(), Some(expected.clone()));
        assert_eq!(store.secrets().await.unwrap(), [(stock.clone(), expected)]);
    }
    assert!(store.keep_secret(&orders, KeptSecret::none("root"), told("target.rotated")).await.unwrap());
    let names: Vec<_> = store.secrets().await.unwrap().into_iter().map(|(target, _)| target).collect();
    assert_eq!(names, [orders, stock]);
}

pub(crate) async fn a_sealed_password_is_replaced_only_by_who_knows_the_last_one(store: Subject) {
    let target: TargetName = "orders".parse().unwrap();
    let first = KeptSecret::none("mayfly").begun(sealed("AAAA"), at(1));
    // Two begin at once: one is told that it came late, and leaves no record.
    let late = KeptSecret::none("mayfly").begun(sealed("BBBB"), at(1));
    let (one, two) = tokio::join!(
        store.keep_secret(&target, first, told("target.rotation_began")),
        store.keep_secret(&target, late, told("target.rotation_began")),
    );
    assert_ne!(one.unwrap(), two.unwrap());
    let kept = store.secret(&target).await.unwrap().unwrap();
    assert!(store.keep_secret(&target, kept.clone().promoted(at(2)), told("target.rotated")).await.unwrap());
    assert!(!store.keep_secret(&target, kept.promoted(at(3)), told("target.rotated")).await.unwrap());
    let ahead = KeptSecret { revision: 9, ..KeptSecret::none("mayfly") };
    assert!(!store.keep_secret(&target, ahead, told("target.rotated")).await.unwrap());
    assert_eq!(actions(&*store).await, ["target.rotation_began", "target.rotated"]);
    assert_eq!(store.secret(&target).await.unwrap().unwrap().rotated_at, Some(at(2)));
}
