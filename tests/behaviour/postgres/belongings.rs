//! Everything an account can own, be granted or grant, under each rule: afterwards nothing points at nobody.

use mayfly::{
    domain::{ObjectCounts, OwnedObjects, Role},
    target::{Secret, Target, TargetErrorKind, postgres::Postgres},
};
use tokio_postgres::Client;

use super::{
    House, Lease, code, house,
    objects::{login_to, second_database},
    settings, surroundings, templates,
};

/// The rights by which an ordinary account can make all that is below, and another role can be handed it.
async fn generous(house: &House) {
    let names = &house.pg.sample.names;
    run(
        &house.pg.superuser().await,
        &format!(
            "GRANT CREATE ON DATABASE {database} TO {write}, {owner}, {administrator}; \
             CREATE FOREIGN DATA WRAPPER elsewhere; \
             GRANT USAGE ON FOREIGN DATA WRAPPER elsewhere TO {write}, {owner}",
            database = names.database,
            write = names.write,
            owner = names.owner,
            administrator = names.administrator,
        ),
    )
    .await;
}

/// All that an ordinary account can own, in the sample's database. An event trigger it cannot.
const BELONGINGS: &str = "\
    CREATE SCHEMA own; \
    CREATE TABLE own.plan (id bigserial PRIMARY KEY, note text); \
    CREATE VIEW own.plans AS SELECT * FROM own.plan; \
    CREATE MATERIALIZED VIEW own.counted AS SELECT count(*) FROM own.plan; \
    CREATE SEQUENCE own.numbers; \
    CREATE TYPE own.mood AS ENUM ('good', 'bad'); \
    CREATE TYPE drafts.pair AS (a int, b int); \
    CREATE DOMAIN own.positive AS int CHECK (VALUE > 0); \
    CREATE FUNCTION own.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; \
    CREATE FUNCTION own.fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
    CREATE TRIGGER fire BEFORE INSERT ON own.plan FOR EACH ROW EXECUTE FUNCTION own.fire(); \
    CREATE PROCEDURE own.p() LANGUAGE sql AS 'SELECT 1'; \
    CREATE AGGREGATE own.total(int) (SFUNC = pg_catalog.int4pl, STYPE = int); \
    CREATE OPERATOR own.@@@ (FUNCTION = pg_catalog.int4pl, LEFTARG = int, RIGHTARG = int); \
    CREATE COLLATION own.plain FROM pg_catalog.\"C\"; \
    CREATE STATISTICS own.spread ON id, note FROM own.plan; \
    CREATE TEXT SEARCH DICTIONARY own.words (TEMPLATE = pg_catalog.simple); \
    CREATE TEXT SEARCH CONFIGURATION own.search (COPY = pg_catalog.simple); \
    CREATE POLICY mine ON own.plan USING (true); \
    CREATE PUBLICATION news FOR TABLE own.plan; \
    CREATE SERVER far FOREIGN DATA WRAPPER elsewhere; \
    CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (password 'x'); \
    CREATE FOREIGN TABLE own.afar (id int) SERVER far; \
    SELECT lo_create(0); \
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; \
    ALTER DEFAULT PRIVILEGES IN SCHEMA own GRANT EXECUTE ON FUNCTIONS TO {friend}; \
    GRANT SELECT ON own.plan TO {friend} WITH GRANT OPTION; \
    GRANT USAGE ON SCHEMA own TO {friend}";

async fn run(client: &Client, statements: &str) {
    client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

/// An account with all of it, and with what others gave it to hold; disabled, its sessions ended.
async fn account_with_everything(house: &House, role: &Role, second: &str) -> Lease {
    let (lease, secret) = house.issue(role).await;
    let names = &house.pg.sample.names;
    let client = house.login(&lease, &secret).await.unwrap();
    run(&client, &BELONGINGS.replace("{friend}", &names.read)).await;
    let event_trigger = "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION own.fire()";
    assert_eq!(code(&client.batch_execute(event_trigger).await.unwrap_err()), "42501");
    let there = login_to(house, second, lease.name(), secret.password.expose()).await;
    run(&there, "CREATE TABLE public.notes (id int); SELECT lo_create(0)").await;
    run(&there, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC").await;
    let naming = format!(
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA drafts GRANT SELECT ON TABLES TO {name}; \
         CREATE POLICY theirs ON customers FOR SELECT TO {name}, {write} USING (true)",
        owner = names.owner,
        write = names.write,
        name = lease.name()
    );
    run(&house.pg.superuser().await, &naming).await;
    assert!(house.target.disable(lease.leased()).await.unwrap().has_objects);
    drop((client, there));
    assert_eq!(house.target.end_sessions(lease.leased()).await.unwrap().remaining, 0);
    lease
}

async fn settle(house: &House, lease: &Lease) -> ObjectCounts {
    let outcome = house.target.settle_objects(lease.leased()).await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"))
}

/// No list of privileges in this database speaks of a role that does not exist.
async fn nothing_dangles(client: &Client) {
    let catalogues = [
        ("pg_class", "relacl"),
        ("pg_proc", "proacl"),
        ("pg_type", "typacl"),
        ("pg_namespace", "nspacl"),
        ("pg_database", "datacl"),
        ("pg_default_acl", "defaclacl"),
        ("pg_largeobject_metadata", "lomacl"),
        ("pg_foreign_server", "srvacl"),
    ];
    for (catalogue, column) in catalogues {
        let question = format!(
            "SELECT FROM {catalogue}, aclexplode({column}) e WHERE EXISTS (SELECT FROM unnest(ARRAY[e.grantor, e.grantee]) r \
             WHERE r <> 0 AND NOT EXISTS (SELECT FROM pg_authid a WHERE a.oid = r))"
        );
        assert!(client.query(&question, &[]).await.unwrap().is_empty(), "{catalogue}");
    }
    let depending = "SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass \
         AND NOT EXISTS (SELECT FROM pg_authid a WHERE a.oid = refobjid)";
    assert!(client.query(depending, &[]).await.unwrap().is_empty());
    let mappings = "SELECT FROM pg_user_mapping m WHERE umuser <> 0 \
         AND NOT EXISTS (SELECT FROM pg_authid a WHERE a.oid = m.umuser)";
    assert!(client.query(mappings, &[]).await.unwrap().is_empty());
}

/// Who owns some of it.
async fn owners(client: &Client) -> Vec<Option<String>> {
    let question = "SELECT pg_get_userbyid(o.owner)::text FROM (VALUES \
         ((SELECT nspowner FROM pg_namespace WHERE nspname = 'own')), \
         ((SELECT relowner FROM pg_class WHERE oid = to_regclass('own.plan'))), \
         ((SELECT relowner FROM pg_class WHERE oid = to_regclass('own.afar'))), \
         ((SELECT typowner FROM pg_type WHERE oid = to_regtype('drafts.pair'))), \
         ((SELECT proowner FROM pg_proc WHERE oid = to_regproc('own.f'))), \
         ((SELECT pubowner FROM pg_publication WHERE pubname = 'news')), \
         ((SELECT srvowner FROM pg_foreign_server WHERE srvname = 'far')), \
         ((SELECT lomowner FROM pg_largeobject_metadata))) o (owner)";
    let rows = client.query(question, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn everything_is_dropped_by_that_rule() {
    let Some(house) = house().await else { return };
    generous(&house).await;
    let second = second_database(&house).await;
    let lease = account_with_everything(&house, &house.writer(), &second).await;
    settle(&house, &lease).await;
    house.end(&lease).await;
    let superuser = house.pg.superuser().await;
    assert!(owners(&superuser).await.iter().all(Option::is_none), "{:?}", owners(&superuser).await);
    nothing_dangles(&superuser).await;
    let password = house.pg.server.administrator().password.expose();
    nothing_dangles(&login_to(&house, &second, "postgres", password).await).await;
}

#[tokio::test]
async fn everything_is_handed_on_by_that_rule() {
    let Some(house) = house().await else { return };
    generous(&house).await;
    let second = second_database(&house).await;
    let names = &house.pg.sample.names;
    let mut role = house.writer();
    role.owned_objects = OwnedObjects::Reassign(names.owner.clone());
    let lease = account_with_everything(&house, &role, &second).await;
    settle(&house, &lease).await;
    house.end(&lease).await;
    let superuser = house.pg.superuser().await;
    let owners = owners(&superuser).await;
    assert!(owners.iter().all(|owner| owner.as_ref() == Some(&names.owner)), "{owners:?}");
    nothing_dangles(&superuser).await;
    // What it gave to others on its own objects is now given by their new owner.
    let grantor = "SELECT DISTINCT pg_get_userbyid(e.grantor)::text FROM pg_class, aclexplode(relacl) e WHERE oid = to_regclass('own.plan')";
    let rows = superuser.query(grantor, &[]).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.get(0)).collect::<Vec<String>>(),
        std::slice::from_ref(&names.owner)
    );
    let password = house.pg.server.administrator().password.expose();
    nothing_dangles(&login_to(&house, &second, "postgres", password).await).await;
}

#[tokio::test]
async fn everything_stays_with_its_account_by_that_rule() {
    let Some(house) = house().await else { return };
    generous(&house).await;
    let second = second_database(&house).await;
    let mut role = house.writer();
    role.owned_objects = OwnedObjects::Keep;
    let lease = account_with_everything(&house, &role, &second).await;
    let counts = settle(&house, &lease).await;
    assert!(counts.kept > 20 && counts.dropped + counts.reassigned == 0, "{counts:?}");
    let superuser = house.pg.superuser().await;
    let owners = owners(&superuser).await;
    assert!(owners.iter().all(|owner| owner.as_deref() == Some(lease.name())), "{owners:?}");
    let found = house.found(&lease).await;
    assert!(!found.may_log_in && found.member_of.is_empty() && found.powers.is_empty(), "{found:?}");
    nothing_dangles(&superuser).await;
}

#[tokio::test]
async fn a_new_owner_that_lacks_rights_is_told_all_of_them() {
    let Some(house) = house().await else { return };
    generous(&house).await;
    let second = second_database(&house).await;
    let names = &house.pg.sample.names;
    let mut role = house.writer();
    role.owned_objects = OwnedObjects::Reassign(names.owner.clone());
    let lease = account_with_everything(&house, &role, &second).await;
    let superuser = house.pg.superuser().await;
    let revoke = format!(
        "REVOKE CREATE ON DATABASE {database} FROM {owner}, {administrator}; \
         REVOKE USAGE ON FOREIGN DATA WRAPPER elsewhere FROM {owner}",
        database = names.database,
        owner = names.owner,
        administrator = names.administrator
    );
    run(&superuser, &revoke).await;
    let error = house.target.settle_objects(lease.leased()).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
    let remedy = error.remedy.unwrap();
    assert_eq!(remedy.matches("GRANT CREATE ON DATABASE").count(), 2, "{remedy}");
    assert!(remedy.contains("GRANT USAGE ON FOREIGN DATA WRAPPER elsewhere"), "{remedy}");
    run(&superuser, &remedy).await;
    settle(&house, &lease).await;
    house.end(&lease).await;
}

/// What an account gave to others of what it was given to hold, with GRANT OPTION, goes with it.
#[tokio::test]
async fn grants_handed_on_go_with_the_account() {
    for (rule, stays) in [("drop", false), ("reassign", false), ("keep", true)] {
        let Some(mut house) = house().await else { return };
        let (names, superuser) = (house.pg.sample.names.clone(), house.pg.superuser().await);
        let grant = format!(
            "GRANT USAGE ON SCHEMA public TO {user} WITH GRANT OPTION; GRANT UPDATE ON customers TO {user} WITH GRANT OPTION",
            user = names.administrator
        );
        run(&superuser, &grant).await;
        let mut there = settings(&house.pg);
        there.database = Some(names.database.clone());
        house.target = Postgres::new(there, surroundings()).unwrap();
        let mut role = house.writer();
        role.owned_objects = match rule {
            "drop" => OwnedObjects::Drop,
            "keep" => OwnedObjects::Keep,
            _ => OwnedObjects::Reassign(names.owner.clone()),
        };
        role.statements.create =
            templates(&["GRANT UPDATE ON public.customers TO {{name}} WITH GRANT OPTION"]);
        let (lease, secret) = house.issue(&role).await;
        let client = house.login(&lease, &secret).await.unwrap();
        let handed_on =
            format!("GRANT UPDATE ON customers TO {}; CREATE TABLE drafts.t (id int)", names.read);
        run(&client, &handed_on).await;
        let question = format!("SELECT has_table_privilege('{}', 'customers', 'UPDATE')", names.read);
        let may = async || superuser.query_one(&question, &[]).await.unwrap().get::<_, bool>(0);
        assert!(may().await, "{rule}");
        house.target.disable(lease.leased()).await.unwrap();
        house.target.end_sessions(lease.leased()).await.unwrap();
        house.target.settle_objects(lease.leased()).await.unwrap_or_else(|error| panic!("{rule}: {error:?}"));
        assert_eq!(may().await, stays, "{rule}");
        if stays {
            assert!(!house.found(&lease).await.may_log_in);
        } else {
            house.end(&lease).await;
        }
        nothing_dangles(&superuser).await;
    }
}

#[tokio::test]
async fn a_database_of_the_account_is_handed_on_and_never_dropped() {
    let Some(house) = house().await else { return };
    let names = &house.pg.sample.names;
    let superuser = house.pg.superuser().await;
    let database = format!("{}_own", names.database);
    for rule in [OwnedObjects::Reassign(names.owner.clone()), OwnedObjects::Drop] {
        let mut role = house.writer();
        role.owned_objects = rule.clone();
        let (lease, _) = house.issue(&role).await;
        run(&superuser, &format!("CREATE DATABASE {database}")).await;
        run(&superuser, &format!("ALTER DATABASE {database} OWNER TO {}", lease.name())).await;
        assert!(house.target.disable(lease.leased()).await.unwrap().has_objects);
        match house.target.settle_objects(lease.leased()).await {
            Ok(counts) => assert_eq!(counts.reassigned, 1, "{rule:?}"),
            Err(error) => {
                assert_eq!((error.kind, rule), (TargetErrorKind::Refused, OwnedObjects::Drop), "{error:?}");
                let remedy = error.remedy.unwrap();
                assert_eq!(remedy, format!("ALTER DATABASE {database} OWNER TO CURRENT_USER;"));
                run(&superuser, &remedy).await;
            }
        }
        house.end(&lease).await;
        run(&superuser, &format!("DROP DATABASE {database}")).await;
    }
}

/// An account with two subscriptions, one of them in another database and with a slot, whose publisher is away. Up
/// to 15, only a superuser can have made them.
async fn account_with_subscriptions(house: &House, role: &Role, second: &str) -> (Lease, Secret) {
    let (lease, secret) = house.issue(role).await;
    let superuser = house.pg.superuser().await;
    run(&superuser, &format!("ALTER ROLE {} SUPERUSER", lease.name())).await;
    let client = house.login(&lease, &secret).await.unwrap();
    let subscription = "CREATE SUBSCRIPTION \"tell 'me\" CONNECTION 'host=127.0.0.1 port=1 dbname=x user=x password=x' \
         PUBLICATION news WITH (connect = false";
    run(&client, &format!("{subscription}, slot_name = NONE)")).await;
    let there = login_to(house, second, lease.name(), secret.password.expose()).await;
    let slot = format!("{subscription}, slot_name = 'left_there')").replace("'me", "more");
    run(&there, &slot).await;
    run(&superuser, &format!("ALTER ROLE {} NOSUPERUSER", lease.name())).await;
    assert!(house.target.disable(lease.leased()).await.unwrap().has_objects);
    drop((client, there));
    house.target.end_sessions(lease.leased()).await.unwrap();
    (lease, secret)
}

async fn subscribers(house: &House) -> Vec<String> {
    let question = "SELECT pg_get_userbyid(subowner)::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid \
         WHERE d.datname LIKE $1 || '%' ORDER BY subname";
    let database = &house.pg.sample.names.database;
    let rows = house.pg.superuser().await.query(question, &[database]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn subscriptions_are_dropped_without_their_publisher() {
    let Some(house) = house().await else { return };
    let second = second_database(&house).await;
    let (lease, _) = account_with_subscriptions(&house, &house.writer(), &second).await;
    assert_eq!(settle(&house, &lease).await.dropped, 2);
    house.end(&lease).await;
    assert!(subscribers(&house).await.is_empty());
}

#[tokio::test]
async fn subscriptions_are_handed_on_where_an_ordinary_role_may_have_them() {
    let Some(house) = house().await else { return };
    let second = second_database(&house).await;
    let names = &house.pg.sample.names;
    let mut role = house.writer();
    role.owned_objects = OwnedObjects::Reassign(names.owner.clone());
    let (lease, _) = account_with_subscriptions(&house, &role, &second).await;
    let password = house.pg.server.administrator().password.expose().to_owned();
    // One remedy for each database.
    let mut remedies = 0;
    while let Err(error) = house.target.settle_objects(lease.leased()).await {
        let remedy = error.remedy.clone().unwrap_or_else(|| panic!("{error:?}"));
        assert!(remedies < 2, "{error:?}");
        for database in [&names.database, &second] {
            // In the database it speaks of, it does something; elsewhere it is refused.
            let there = login_to(&house, database, "postgres", &password).await;
            let _ = there.batch_execute(&remedy).await;
        }
        remedies += 1;
    }
    house.end(&lease).await;
    let owner = if house.pg.server.version().major >= 16 { &names.owner } else { "postgres" };
    assert_eq!(subscribers(&house).await, [owner, owner]);
    for database in [&names.database, &second] {
        let there = login_to(&house, database, "postgres", &password).await;
        for row in there
            .query(
                "SELECT format('%I', subname) FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid \
                 WHERE datname = current_database()",
                &[],
            )
            .await
            .unwrap()
        {
            let name: String = row.get(0);
            run(&there, &format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")).await;
            run(&there, &format!("DROP SUBSCRIPTION {name}")).await;
        }
    }
}
