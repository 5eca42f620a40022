//! What accounts leave behind, in two databases, under each rule.

use mayfly::{
    domain::{ObjectCounts, OwnedObjects, Role},
    target::{Secret, Target, TargetErrorKind},
};
use tokio_postgres::{Client, Config, NoTls};

use super::{House, Lease, house};

/// Opens a second database, to everybody.
pub(super) async fn second_database(house: &House) -> String {
    let name = format!("{}_two", house.pg.sample.names.database);
    let superuser = house.pg.superuser().await;
    superuser.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let client = login_to(house, &name, "postgres", house.pg.server.administrator().password.expose()).await;
    client.batch_execute("GRANT CREATE ON SCHEMA public TO PUBLIC").await.unwrap();
    name
}

pub(super) async fn login_to(house: &House, database: &str, user: &str, password: &str) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(house.pg.port()).dbname(database).user(user).password(password);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// An account with a table (and its sequence) in one database; a table, a function and a large object in another.
async fn account_with_objects(house: &House, role: &Role, second: &str) -> (Lease, Secret) {
    let (lease, secret) = house.issue(role).await;
    let client = house.login(&lease, &secret).await.unwrap();
    let read = &house.pg.sample.names.read;
    client
        .batch_execute(&format!(
            "CREATE TABLE drafts.plan (id serial, note text); GRANT SELECT ON drafts.plan TO {read}; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA drafts GRANT SELECT ON TABLES TO {read}"
        ))
        .await
        .unwrap();
    let there = login_to(house, second, lease.name(), secret.password.expose()).await;
    there
        .batch_execute(
            "CREATE TABLE public.notes (id int); CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; \
             SELECT lo_create(0); CREATE TEMP TABLE t (id int)",
        )
        .await
        .unwrap();
    drop((client, there));
    assert!(house.target.disable(lease.leased()).await.unwrap().has_objects);
    house.target.end_sessions(lease.leased()).await.unwrap();
    (lease, secret)
}

async fn owner_of(client: &Client, table: &str) -> Option<String> {
    let query = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = to_regclass($1)";
    client.query_opt(query, &[&table]).await.unwrap().map(|row| row.get(0))
}

#[tokio::test]
async fn dropped_in_every_database() {
    let Some(house) = house().await else { return };
    let second = second_database(&house).await;
    let (lease, _) = account_with_objects(&house, &house.writer(), &second).await;
    let counts =
        house.target.settle_objects(lease.leased()).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(counts, ObjectCounts { dropped: 5, ..ObjectCounts::default() });
    house.end(&lease).await;
    assert_eq!(owner_of(&house.pg.superuser().await, "drafts.plan").await, None);
}

#[tokio::test]
async fn handed_to_the_role_named_in_every_database() {
    let Some(house) = house().await else { return };
    let second = second_database(&house).await;
    let owner = house.pg.sample.names.owner.clone();
    let mut role = house.writer();
    role.owned_objects = OwnedObjects::Reassign(owner.clone());
    let (lease, _) = account_with_objects(&house, &role, &second).await;
    let counts =
        house.target.settle_objects(lease.leased()).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(counts, ObjectCounts { reassigned: 5, ..ObjectCounts::default() });
    house.end(&lease).await;
    assert_eq!(owner_of(&house.pg.superuser().await, "drafts.plan").await, Some(owner.clone()));
    let password = house.pg.server.administrator().password.expose();
    let there = login_to(&house, &second, "postgres", password).await;
    assert_eq!(owner_of(&there, "public.notes").await, Some(owner));
}

#[tokio::test]
async fn kept_with_an_account_that_is_a_member_of_nothing() {
    let Some(house) = house().await else { return };
    let second = second_database(&house).await;
    let mut role = house.writer();
    role.owned_objects = OwnedObjects::Keep;
    let (lease, secret) = account_with_objects(&house, &role, &second).await;
    for _ in 0..2 {
        let counts = house.target.settle_objects(lease.leased()).await.unwrap();
        assert_eq!(counts, ObjectCounts { kept: 5, ..ObjectCounts::default() });
    }
    let superuser = house.pg.superuser().await;
    assert_eq!(owner_of(&superuser, "drafts.plan").await.as_deref(), Some(lease.name()));
    let members = "SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = $1";
    assert!(superuser.query(members, &[&lease.name()]).await.unwrap().is_empty());
    assert!(house.login(&lease, &secret).await.is_err());
}

#[tokio::test]
async fn kept_means_nothing_to_an_account_that_owns_nothing() {
    let Some(house) = house().await else { return };
    let mut role = house.writer();
    role.owned_objects = OwnedObjects::Keep;
    let (lease, _) = house.issue(&role).await;
    assert_eq!(house.target.settle_objects(lease.leased()).await.unwrap(), ObjectCounts::default());
    house.end(&lease).await;
}

#[tokio::test]
async fn what_the_roles_own_statements_granted_is_revoked() {
    let Some(mut house) = house().await else { return };
    let (names, superuser) = (&house.pg.sample.names, house.pg.superuser().await);
    let grant = format!(
        "GRANT USAGE ON SCHEMA public TO {user}; GRANT UPDATE ON customers TO {user} WITH GRANT OPTION",
        user = names.administrator
    );
    superuser.batch_execute(&grant).await.unwrap();
    let mut settings = super::settings(&house.pg);
    settings.database = Some(names.database.clone());
    house.target = mayfly::target::postgres::Postgres::new(settings, super::surroundings()).unwrap();
    let mut role = house.reader();
    role.statements.create = super::templates(&["GRANT UPDATE ON public.customers TO {{name}}"]);
    let (lease, secret) = house.issue(&role).await;
    let client = house.login(&lease, &secret).await.unwrap();
    client.batch_execute("UPDATE customers SET name = name").await.unwrap();
    assert!(house.target.disable(lease.leased()).await.unwrap().has_objects);
    house.end(&lease).await;
}

#[tokio::test]
async fn what_somebody_else_granted_is_named_with_the_statement_that_revokes_it() {
    let Some(house) = house().await else { return };
    let (lease, _) = house.issue(&house.reader()).await;
    let superuser = house.pg.superuser().await;
    superuser.batch_execute(&format!("GRANT UPDATE ON customers TO {}", lease.name())).await.unwrap();
    assert!(house.target.disable(lease.leased()).await.unwrap().has_objects);
    let error = house.target.settle_objects(lease.leased()).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
    superuser.batch_execute(&error.remedy.unwrap()).await.unwrap();
    house.end(&lease).await;
}

#[tokio::test]
async fn objects_of_others_are_never_dropped_along() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.writer()).await;
    let client = house.login(&lease, &secret).await.unwrap();
    client.batch_execute("CREATE TABLE drafts.base (id int)").await.unwrap();
    let superuser = house.pg.superuser().await;
    superuser.batch_execute("CREATE VIEW drafts.others AS SELECT * FROM drafts.base").await.unwrap();
    house.target.end_sessions(lease.leased()).await.unwrap();
    let error = house.target.settle_objects(lease.leased()).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused, "{error}");
    assert!(error.remedy.unwrap().contains("CASCADE"));
    assert!(owner_of(&superuser, "drafts.others").await.is_some());
    let error = house.target.remove(lease.leased()).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused, "{error}");
    superuser.batch_execute("DROP VIEW drafts.others").await.unwrap();
    house.end(&lease).await;
}

#[tokio::test]
async fn nothing_is_handed_to_a_privileged_role() {
    let Some(house) = house().await else { return };
    let names = &house.pg.sample.names;
    let superuser = house.pg.superuser().await;
    for (change, mend) in [
        (format!("ALTER ROLE {} LOGIN", names.owner), format!("ALTER ROLE {} NOLOGIN", names.owner)),
        (
            format!("GRANT {} TO {}", names.write, names.owner),
            format!("REVOKE {} FROM {}", names.write, names.owner),
        ),
        (
            format!("GRANT SELECT ON public.orders TO {}", names.owner),
            format!("REVOKE SELECT ON public.orders FROM {}", names.owner),
        ),
    ] {
        let mut role = house.writer();
        role.owned_objects = OwnedObjects::Reassign(names.owner.clone());
        let (lease, secret) = house.issue(&role).await;
        let client = house.login(&lease, &secret).await.unwrap();
        client.batch_execute("CREATE TABLE drafts.trap (id int)").await.unwrap();
        house.target.end_sessions(lease.leased()).await.unwrap();
        superuser.batch_execute(&change).await.unwrap();
        let error = house.target.settle_objects(lease.leased()).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused, "{error}");
        assert_eq!(owner_of(&superuser, "drafts.trap").await.as_deref(), Some(lease.name()));
        superuser.batch_execute(&mend).await.unwrap();
        house.end(&lease).await;
        superuser.batch_execute("DROP TABLE drafts.trap").await.unwrap();
    }
}

#[tokio::test]
async fn a_new_owner_without_a_right_is_told_which_one() {
    let Some(house) = house().await else { return };
    let names = &house.pg.sample.names;
    let superuser = house.pg.superuser().await;
    superuser.batch_execute(&format!("REVOKE CREATE ON SCHEMA drafts FROM {}", names.owner)).await.unwrap();
    let mut role = house.writer();
    role.owned_objects = OwnedObjects::Reassign(names.owner.clone());
    let (lease, secret) = house.issue(&role).await;
    let client = house.login(&lease, &secret).await.unwrap();
    client.batch_execute("CREATE FUNCTION drafts.f() RETURNS int LANGUAGE sql AS 'SELECT 1'").await.unwrap();
    house.target.end_sessions(lease.leased()).await.unwrap();
    let error = house.target.settle_objects(lease.leased()).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
    // The administration account cannot see into the sample's database from its own: the remedy names it.
    superuser.batch_execute(&error.remedy.unwrap()).await.unwrap();
    house.end(&lease).await;
}
