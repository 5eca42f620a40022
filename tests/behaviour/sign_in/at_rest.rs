//! What is kept of a sign-in that is under way is of no use to whoever reads it.

use mayfly::{
    identity::sign_in::PendingSignIn,
    issuer::SignInOffer,
    store::{Entry, EntryKind, EntryStore as _, Kept},
};
use serde_json::json;

use super::{
    by_browser, by_device,
    fake::{Fake, Reply},
    world_of,
};
use crate::support::world::World;

impl World {
    /// Everything kept of sign-ins under way.
    pub(super) async fn pending(&self) -> Vec<Entry> {
        self.store.entries(EntryKind::SignIn, Some(("stage", "pending")), None, 100).await.unwrap()
    }
}

#[tokio::test]
async fn neither_state_nor_nonce_nor_verifier_nor_secret_is_kept() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let underway = world.begin(by_browser(false)).await.unwrap();
    let kept = world.pending().await;
    assert_eq!(kept.len(), 1);
    let whole = format!("{kept:?}");
    fake.hands_out("e30.e30.e30");
    let _ = world.complete(underway.with("code")).await;
    let form = fake.asked("/token")[0].body.clone();
    let verifier = super::query(&format!("http://x/?{form}"), "code_verifier");
    assert_eq!(verifier.len(), 43);
    let secret = underway.begun.secret.expose();
    for secret in [&*underway.told("state"), &underway.told("nonce"), &verifier, secret] {
        assert!(secret.len() > 40 && !whole.contains(secret), "{whole}");
    }
    assert!(Kept::<PendingSignIn>::read(&kept[0]).is_ok());
}

#[tokio::test]
async fn a_devices_code_is_kept_sealed() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let url = format!("{}/activate", fake.url);
    let offer = json!({"device_code": "the-device-code", "user_code": "ABCD", "verification_uri": url, "expires_in": 60});
    fake.says("/device", Reply::Json(200, offer));
    let begun = world.issuer.begin_sign_in(by_device()).await.unwrap();
    assert!(matches!(&begun.offer, SignInOffer::Device(offer) if offer.user_code == "ABCD"));
    let whole = format!("{:?} {:?}", world.pending().await, begun.pending);
    assert!(!whole.contains("the-device-code") && !whole.contains("ABCD"), "{whole}");
    assert!(!format!("{begun:?}").contains("the-device-code"));
}
