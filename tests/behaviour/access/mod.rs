//! Access reviews: who holds or could obtain what, with the evidence; certified, or taken back.

mod deciding;
mod listing;

use mayfly::{
    domain::Engine,
    identity::Caller,
    issuer::{AccessCursor, AccessFilter, AccessItem, NewToken},
    policy::{Policies, Rules, Source},
};

use crate::{
    people::root,
    support::world::{Database, World, caller, databases},
};

/// The first database there is: access is reviewed alike on all.
async fn database() -> Database {
    let mut databases = databases().await;
    let postgres = databases.iter().position(|database| database.engine == Engine::Postgres);
    databases.swap_remove(postgres.unwrap_or_default())
}

/// With `shop-read` for readers, and `shop-write` for writers once an owner agrees.
async fn world(database: &Database) -> World {
    let target = World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
    let mut write = database.reading_role("shop-write", "shop");
    write.allow = vec!["group:writers".parse().unwrap()];
    write.approval = vec![mayfly::domain::ReviewStep {
        name: "owners".to_owned(),
        reviewers: vec!["group:owners".parse().unwrap()],
        quorum: 1,
        denials: 1,
        escalate_after: None,
        escalate_to: Vec::new(),
        from_risk: 0,
    }];
    World::with(vec![target], vec![database.reading_role("shop-read", "shop"), write]).await
}

fn auditor() -> Caller {
    caller("audrey", &["administrators"])
}

impl World {
    fn policy(&self, text: &str) {
        let sources = vec![Source { name: "test.cedar".into(), text: text.into() }];
        self.policies.replace(Policies::new(Rules { sources, ..Rules::default() }).unwrap());
    }

    /// A token that speaks for somebody.
    async fn token(&self, name: &str, groups: &[&str]) -> mayfly::domain::TokenId {
        let new = NewToken {
            principal: name.parse().unwrap(),
            kind: mayfly::domain::PrincipalKind::Workload,
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
            cidrs: Vec::new(),
            description: String::new(),
            life: None,
        };
        self.issuer.create_token(&root(), new).await.unwrap().stored.id
    }

    /// All items of a listing, page by page.
    async fn access(&self, filter: AccessFilter, size: u32) -> Vec<AccessItem> {
        let (mut items, mut after): (_, Option<AccessCursor>) = (Vec::new(), None);
        loop {
            let page = self.issuer.access(&auditor(), filter.clone(), (size, after)).await.unwrap();
            assert!(page.items.len() <= size as usize);
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                return items;
            }
        }
    }

    async fn item(&self, principal: &str, role: &str) -> Option<AccessItem> {
        let (principal, role) = (Some(principal.parse().unwrap()), Some(role.parse().unwrap()));
        let filter = AccessFilter { principal, role, ..AccessFilter::default() };
        self.access(filter, 10).await.pop()
    }
}

/// Principals and roles, as `principal role`.
fn pairs(items: &[AccessItem]) -> Vec<String> {
    items.iter().map(|item| format!("{} {}", item.principal, item.role)).collect()
}
