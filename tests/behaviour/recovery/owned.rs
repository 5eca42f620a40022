//! The role's own rules and statements, end to end: as they were at issue, whatever happens to the configuration.

use std::sync::Arc;

use mayfly::{
    clock::SystemClock,
    domain::{Engine, LeaseState, ObjectCounts, OwnedObjects, Role, StateName, Statements, Template},
    issuer::Catalogue,
    target::Target,
};

use super::writing_role;
use crate::support::{
    eventually,
    meddler::{Meddler, Moment, Step},
    slate::{assert_clean, sessions},
    world::{Database, World, caller, databases},
};

async fn world_with(database: &Database, role: Role) -> (World, Arc<dyn Target>) {
    let target = World::target(database.settings("shop"), Arc::new(SystemClock));
    (World::with(vec![Arc::clone(&target)], vec![role]).await, target)
}

/// Issues, has the account make a table, and ends it after the role was taken out of the configuration.
async fn end_of_an_owner(
    database: &Database,
    rule: OwnedObjects,
) -> (World, String, mayfly::domain::EndReport) {
    let owning = Role { owned_objects: rule, ..writing_role(database) };
    let (world, target) = world_with(database, owning).await;
    let issued = world.issue().await.unwrap();
    let account = issued.lease.account.name.as_str().to_owned();
    let mut session = database.login(&account, &issued.password).await.unwrap();
    session.ask(&format!("CREATE TABLE drafts.{account} (id int)")).await.unwrap();
    let mut catalogue = Catalogue::default();
    catalogue.targets.insert(target.name().clone(), target);
    world.catalogue.replace(catalogue);
    world.pass(300);
    let lease = world.reaches(issued.lease.id, StateName::Expired).await;
    session.ask("SELECT 1").await.unwrap_err();
    let LeaseState::Ended { report, .. } = lease.state else { panic!("{lease:?}") };
    assert_eq!(report.sessions_ended, 1);
    (world, account, report)
}

async fn owner_of(database: &Database, table: &str) -> Vec<String> {
    let query =
        format!("SELECT tableowner FROM pg_tables WHERE schemaname = 'drafts' AND tablename = '{table}'");
    database.ask_superuser(database.server.unwrap(), &query).await
}

#[tokio::test]
async fn objects_are_dropped_handed_over_or_kept_by_the_rule_of_the_day_of_issue() {
    for database in databases().await {
        if database.engine != Engine::Postgres {
            continue;
        }
        let server = database.server.unwrap();
        let (world, account, report) = end_of_an_owner(&database, OwnedObjects::Drop).await;
        assert_eq!(report.objects, ObjectCounts { dropped: 1, ..Default::default() });
        assert!(owner_of(&database, &account).await.is_empty());
        assert_clean(&world, &database, server).await;

        let owner = database.sample.names.owner.clone();
        let (world, account, report) =
            end_of_an_owner(&database, OwnedObjects::Reassign(owner.clone())).await;
        assert_eq!(report.objects, ObjectCounts { reassigned: 1, ..Default::default() });
        assert_eq!(owner_of(&database, &account).await, [owner]);
        assert_clean(&world, &database, server).await;

        let (world, account, report) = end_of_an_owner(&database, OwnedObjects::Keep).await;
        assert_eq!(report.objects, ObjectCounts { kept: 1, ..Default::default() });
        assert!(report.account_kept);
        assert_eq!(owner_of(&database, &account).await, std::slice::from_ref(&account));
        assert_eq!(sessions(&database, server, &account).await, 0);
        let query = format!(
            "SELECT rolcanlogin::text || (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) \
             FROM pg_roles r WHERE rolname = '{account}'"
        );
        assert_eq!(database.ask_superuser(server, &query).await, ["false0"]);
        let record =
            world.audit().await.into_iter().rfind(|record| record.action == "lease.expired").unwrap();
        assert!(format!("{record:?}").contains("account_kept"), "{record:?}");
    }
}

#[tokio::test]
async fn a_target_taken_out_of_the_configuration_is_named_and_its_leases_end_when_it_is_back() {
    for database in databases().await {
        let (world, target) = world_with(&database, writing_role(&database)).await;
        let id = world.issue().await.unwrap().lease.id;
        world.catalogue.replace(Catalogue::default());
        world.pass(300);
        eventually("the lease says why it does not end", async || match world.lease(id).await.state {
            LeaseState::Ending { last_error: Some(error), .. } => {
                assert!(error.contains("no longer configured"), "{error}");
                Some(())
            }
            _ => None,
        })
        .await;
        let mut catalogue = Catalogue::default();
        catalogue.targets.insert(target.name().clone(), target);
        world.catalogue.replace(catalogue);
        world.reaches(id, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

/// Statements of a role's own whose effects can be seen: on PostgreSQL a setting of the account, elsewhere a limit.
fn statements(engine: Engine) -> Statements {
    let parse = |texts: &[&str]| texts.iter().map(|text| Template::parse(text).unwrap()).collect::<Vec<_>>();
    match engine {
        Engine::Postgres => Statements {
            create: parse(&["ALTER ROLE {{name}} SET work_mem TO '5MB'"]),
            renew: parse(&["ALTER ROLE {{name}} SET work_mem TO '6MB'"]),
            end: parse(&["COMMENT ON ROLE {{name}} IS {{lease}}", "ALTER ROLE {{name}} RESET work_mem"]),
        },
        _ => Statements {
            create: parse(&["ALTER USER {{name}} WITH MAX_USER_CONNECTIONS 5"]),
            renew: parse(&["ALTER USER {{name}} WITH MAX_USER_CONNECTIONS 6"]),
            end: parse(&["ALTER USER IF EXISTS {{name}} WITH MAX_USER_CONNECTIONS 7"]),
        },
    }
}

async fn trace(database: &Database, account: &str) -> Vec<String> {
    let query = match database.engine {
        Engine::Postgres => format!("SELECT rolconfig::text FROM pg_roles WHERE rolname = '{account}'"),
        _ => format!("SELECT CAST(max_user_connections AS CHAR) FROM mysql.user WHERE User = '{account}'"),
    };
    database.ask_superuser(database.server.unwrap(), &query).await
}

#[tokio::test]
async fn a_roles_own_statements_run_at_each_step() {
    for database in databases().await {
        let role = Role {
            statements: statements(database.engine),
            connection_limit: None,
            ..writing_role(&database)
        };
        let meddler = Meddler::new(World::target(database.settings("shop"), Arc::new(SystemClock)));
        let world = World::with(vec![Arc::clone(&meddler) as Arc<dyn Target>], vec![role]).await;
        let issued = world.issue().await.unwrap();
        let account = issued.lease.account.name.as_str();
        let seen = async |number: u32| {
            let expected = match database.engine {
                Engine::Postgres => format!("{{work_mem={number}MB}}"),
                _ => number.to_string(),
            };
            assert_eq!(trace(&database, account).await, [expected], "{}", database.engine);
        };
        seen(5).await;
        world.pass(100);
        world.issuer.renew(&caller("app", &["readers"]), issued.lease.id, None).await.unwrap();
        seen(6).await;
        let gate = meddler.hold(Step::SettleObjects, Moment::After);
        world.pass(300);
        gate.reached().await;
        if database.engine == Engine::Postgres {
            let query = format!(
                "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '{account}'"
            );
            let told = database.ask_superuser(database.server.unwrap(), &query).await;
            assert_eq!(told, [issued.lease.id.to_string()]);
        } else {
            seen(7).await;
        }
        gate.open();
        world.reaches(issued.lease.id, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}
