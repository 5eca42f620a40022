//! Nothing may be left: no account, no session, no live lease; and the books must agree.

use mayfly::{
    audit::{AuditLog as _, verify_records},
    domain::Engine,
    sandbox::Server,
    store::LeaseStore as _,
};

use super::world::{Database, World};

/// Asserts that every lease of a world has ended and left nothing on the server, and that audit log and counters agree.
pub(crate) async fn assert_clean(world: &World, database: &Database, server: &Server) {
    for lease in world.leases().await {
        let state = lease.state.name();
        assert!(!state.is_live(), "{}: {lease:?}", database.engine);
        let account = lease.account.name.as_str();
        assert!(!database.has_account(server, account).await, "{}: {account} {state:?}", database.engine);
        assert_eq!(sessions(database, server, account).await, 0, "{}: {account}", database.engine);
        let counted = world.store.live_under_role(&lease.role, &lease.principal.name).await.unwrap();
        assert_eq!(counted, (0, 0));
    }
    assert_eq!(world.store.live_by_target().await.unwrap(), Vec::new());
    assert_books(world).await;
}

/// Asserts that the audit chain is whole.
pub(crate) async fn assert_books(world: &World) {
    let records = world.store.read_after(0, 100_000).await.unwrap();
    assert_eq!(verify_records(&records, None).unwrap().records, records.len() as u64);
}

/// Sessions of an account, as the superuser sees them.
pub(crate) async fn sessions(database: &Database, server: &Server, account: &str) -> usize {
    let statement = match database.engine {
        Engine::Postgres => format!("SELECT pid FROM pg_stat_activity WHERE usename = '{account}'"),
        _ => format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{account}'"),
    };
    database.ask_superuser(server, &statement).await.len()
}
