//! People who sign in at an OpenID provider: at a real one, and at one that answers as badly as it is told to.

mod at_rest;
mod devices;
mod fake;
mod real;
mod refused;
mod sessions;
mod tokens;

use std::{path::Path, sync::Arc};

use mayfly::{
    clock::Clock,
    config::{Config, SystemEnvironment},
    domain::Password,
    identity::Identities,
    issuer::{
        Begun, BegunElsewhere, Brought, Completed, Completion, NewSignIn, Refusal, RefusalKind, SignInOffer,
        SignInWay,
    },
};
use reqwest::Url;

use crate::{
    people::{ADDRESS, world},
    support::world::World,
};

/// Where the browser of these tests is sent back to; nobody listens there.
const PORT: u16 = 40_000;

/// What every provider of these tests makes of its claims.
const MAPPING: &str =
    "principal = \"okta:{sub}\"\ngroups_claim = \"groups\"\nattributes = { email = \"mail\" }\n";

/// The configuration of a provider, with further lines for how people sign in there.
fn okta(issuer: &str, sign_in: &str) -> String {
    let client = if sign_in.contains("client_id") { "" } else { "client_id = \"mayfly\"\n" };
    format!("[identity.okta]\nissuer = \"{issuer}\"\n{MAPPING}[identity.okta.sign_in]\n{client}{sign_in}\n")
}

/// A world whose people sign in at a provider.
async fn world_of(issuer: &str, sign_in: &str) -> World {
    let world = world().await;
    world.trust(&okta(issuer, sign_in));
    world
}

fn by_browser(fresh: bool) -> NewSignIn {
    let way = SignInWay::Browser { redirect_port: PORT };
    NewSignIn { provider: "okta".to_owned(), way, fresh, address: ADDRESS }
}

fn by_device() -> NewSignIn {
    NewSignIn { way: SignInWay::Device, ..by_browser(false) }
}

/// A sign-in with a browser, as far as its beginner knows it.
struct Underway {
    begun: BegunElsewhere,
    url: String,
}

impl Underway {
    /// What the provider is told in a field of the address.
    fn told(&self, name: &str) -> String {
        query(&self.url, name)
    }

    /// What completes it with a code.
    fn with(&self, code: &str) -> Completion {
        self.bringing(Brought::Code {
            code: Password::new(code.to_owned()),
            state: Password::new(self.told("state")),
            issuer: String::new(),
        })
    }

    fn bringing(&self, brought: Brought) -> Completion {
        Completion {
            id: self.begun.pending.id,
            secret: Password::new(self.begun.secret.expose().to_owned()),
            brought,
            address: ADDRESS,
        }
    }
}

/// A field of an address.
fn query(url: &str, name: &str) -> String {
    let url = Url::parse(url).unwrap();
    url.query_pairs()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

impl World {
    /// Takes a configuration's identities in, as a start or a reload does.
    fn trust(&self, text: &str) {
        self.identities.replace(self.identities_of(text));
    }

    fn identities_of(&self, text: &str) -> Identities {
        let text = format!("[store]\npath = \"mayfly.db\"\n{text}");
        let loaded = Config::parse(&text, Path::new("/tmp/mayfly.toml"), &SystemEnvironment);
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Identities::new(&loaded.config.identity, &clock, &self.identities.current()).unwrap()
    }

    fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    async fn begin(&self, new: NewSignIn) -> Result<Underway, Refusal> {
        let begun = self.issuer.begin_sign_in(new).await?;
        let SignInOffer::Browser { url } = &begun.offer else { panic!("{begun:?}") };
        let url = url.clone();
        Ok(Underway { begun, url })
    }

    async fn complete(&self, completion: Completion) -> Result<Begun, Refusal> {
        match self.issuer.complete_sign_in(completion).await? {
            Completed::Begun(begun) => Ok(*begun),
            Completed::Pending(_) => panic!("nothing to wait for"),
        }
    }

    /// What the last record says of a refusal.
    async fn last_refusal(&self) -> String {
        let last = self.audit().await.into_iter().last().unwrap();
        assert_eq!(last.action, "session.started");
        format!("{last:?}")
    }
}

/// The words of a refusal to sign somebody in.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::SignInRefused, "{refusal}");
    refusal.to_string()
}
