//! What an account defines, settled by each rule.

use mayfly::{
    domain::{Engine, ObjectCounts, OwnedObjects, Role, Template},
    target::{Target, TargetErrorKind},
};
use mysql_async::prelude::Queryable;

use super::{
    on_both,
    rig::{Issued, Rig},
};

on_both!(
    dropping_takes_all_kinds_away,
    reassigning_gives_them_another_definer,
    keeping_leaves_the_account_locked_and_empty,
    what_is_kept_is_kept_again_the_second_time,
    objects_in_several_databases_are_settled,
    end_statements_run_first,
    without_the_privileges_nothing_is_lost,
);

/// A group whose members may define things, and what the administration account needs for its sake.
async fn defining_role(rig: &Rig, owned_objects: OwnedObjects) -> Role {
    let database = &rig.fixture.sample.names.database;
    let group = &rig.fixture.sample.names.write;
    rig.as_root(format!(
        "GRANT CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, TRIGGER, EVENT ON `{database}`.* TO `{group}`"
    ))
    .await;
    Role { member_of: vec![group.clone()], owned_objects, ..rig.role() }
}

/// Pastes what the doctor says until it has nothing more to say.
async fn mend(rig: &Rig, role: &Role) {
    for finding in rig.target.examine(&[role]).await.findings {
        if finding.severity == mayfly::target::Severity::Problem {
            rig.as_root(finding.remedy.unwrap()).await;
        }
    }
}

const VIEW: &str =
    "CREATE ALGORITHM = MERGE VIEW cheap AS SELECT id, 'it''s `x`' AS note FROM orders WHERE cents < 1000";
const PROCEDURE: &str = "CREATE PROCEDURE tidy() COMMENT 'a;b' BEGIN SELECT 'it''s'; SELECT 2; END";
const FUNCTION: &str = "CREATE FUNCTION two() RETURNS int DETERMINISTIC RETURN 2";
const TRIGGER: &str =
    "CREATE TRIGGER upper_item BEFORE INSERT ON orders FOR EACH ROW SET NEW.item = UPPER(NEW.item)";
const EVENT: &str = "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DISABLE COMMENT 'a' DO SELECT 1";

async fn define(rig: &Rig, issued: &Issued, statements: &[&str]) {
    // A binary log, where there is one, would want more of those who define triggers and functions.
    rig.as_root("SET GLOBAL log_bin_trust_function_creators = ON").await;
    let mut session = rig.login(issued).await.unwrap();
    for statement in statements {
        session.query_drop(*statement).await.unwrap();
    }
    session.disconnect().await.unwrap();
}

async fn definers(rig: &Rig) -> Vec<String> {
    let database = &rig.fixture.sample.names.database;
    let question = format!(
        "SELECT CONCAT(TABLE_NAME, ' ', DEFINER) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = '{database}' \
         UNION SELECT CONCAT(ROUTINE_NAME, ' ', DEFINER) FROM information_schema.ROUTINES \
         WHERE ROUTINE_SCHEMA = '{database}' \
         UNION SELECT CONCAT(TRIGGER_NAME, ' ', DEFINER) FROM information_schema.TRIGGERS \
         WHERE TRIGGER_SCHEMA = '{database}' \
         UNION SELECT CONCAT(EVENT_NAME, ' ', DEFINER) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{database}'"
    );
    let mut found: Vec<String> = rig.fixture.root().await.query(question).await.unwrap();
    found.sort();
    found
}

async fn dropping_takes_all_kinds_away(rig: Rig) {
    let role = defining_role(&rig, OwnedObjects::Drop).await;
    mend(&rig, &role).await;
    let issued = rig.issue(&role).await;
    define(&rig, &issued, &[VIEW, PROCEDURE, FUNCTION, TRIGGER, EVENT]).await;
    assert_eq!(definers(&rig).await.len(), 5);
    assert!(rig.target.disable(issued.leased()).await.unwrap().has_objects);
    rig.target.end_sessions(issued.leased()).await.unwrap();
    let counts = rig.target.settle_objects(issued.leased()).await.unwrap();
    assert_eq!(counts, ObjectCounts { dropped: 5, ..Default::default() });
    assert_eq!(rig.target.settle_objects(issued.leased()).await.unwrap(), ObjectCounts::default());
    assert!(definers(&rig).await.is_empty());
    assert!(rig.target.remove(issued.leased()).await.unwrap());
}

async fn reassigning_gives_them_another_definer(rig: Rig) {
    let owner = rig.fixture.sample.names.owner.clone();
    rig.as_root(format!("CREATE ROLE `{owner}`")).await;
    let role = defining_role(&rig, OwnedObjects::Reassign(owner.clone())).await;
    mend(&rig, &role).await;
    let issued = rig.issue(&role).await;
    let everything = [VIEW, EVENT, PROCEDURE, FUNCTION, TRIGGER];
    let possible = if rig.engine == Engine::Mysql { &everything[..2] } else { &everything[..] };
    define(&rig, &issued, possible).await;
    rig.target.disable(issued.leased()).await.unwrap();
    rig.target.end_sessions(issued.leased()).await.unwrap();
    let counts = rig.target.settle_objects(issued.leased()).await.unwrap();
    assert_eq!(counts.reassigned as usize, possible.len());
    assert_eq!(rig.target.settle_objects(issued.leased()).await.unwrap(), ObjectCounts::default());
    let definers = definers(&rig).await;
    assert_eq!(definers.len(), possible.len());
    assert!(definers.iter().all(|line| line.contains(&owner)), "{definers:?}");
    let question = "SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME = 'nightly' AND EVENT_SCHEMA = DATABASE()";
    assert_eq!(rig.root_knows(question).await.as_deref(), Some("DISABLED"));
    rig.as_root(format!("GRANT SELECT ON orders TO `{owner}`")).await;
    assert_eq!(rig.root_knows("SELECT note FROM cheap").await.as_deref(), Some("it's `x`"));
    assert!(rig.target.remove(issued.leased()).await.unwrap());
}

#[tokio::test]
async fn routines_and_triggers_are_not_risked_on_mysql() {
    let Some(rig) = super::rig::mysql().await else { return };
    let owner = rig.fixture.sample.names.owner.clone();
    rig.as_root(format!("CREATE ROLE `{owner}`")).await;
    let role = defining_role(&rig, OwnedObjects::Reassign(owner)).await;
    mend(&rig, &role).await;
    let issued = rig.issue(&role).await;
    define(&rig, &issued, &[VIEW, PROCEDURE, TRIGGER]).await;
    rig.target.disable(issued.leased()).await.unwrap();
    let error = rig.target.settle_objects(issued.leased()).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused);
    assert!(error.message.contains(".tidy, trigger "), "{error}");
    assert_eq!(definers(&rig).await.iter().filter(|line| line.contains(issued.name())).count(), 3);
    let error = rig.target.remove(issued.leased()).await.unwrap_err();
    assert!(error.message.contains("still the definer"), "{error}");
}

async fn keeping_leaves_the_account_locked_and_empty(rig: Rig) {
    let role = defining_role(&rig, OwnedObjects::Keep).await;
    mend(&rig, &role).await;
    let issued = rig.issue(&role).await;
    define(&rig, &issued, &[VIEW, PROCEDURE]).await;
    rig.target.disable(issued.leased()).await.unwrap();
    let counts = rig.target.settle_objects(issued.leased()).await.unwrap();
    assert_eq!(counts, ObjectCounts { kept: 2, ..Default::default() });
    assert!(rig.login(&issued).await.is_err());
    let mut root = rig.fixture.root().await;
    let grants: Vec<String> =
        root.query(format!("SHOW GRANTS FOR '{}'@'127.0.0.1'", issued.name())).await.unwrap();
    assert!(grants.len() == 1 && grants.concat().starts_with("GRANT USAGE ON *.* TO"), "{grants:?}");
    assert_eq!(definers(&rig).await.len(), 2);
}

async fn what_is_kept_is_kept_again_the_second_time(rig: Rig) {
    let role = defining_role(&rig, OwnedObjects::Keep).await;
    mend(&rig, &role).await;
    let issued = rig.issue(&role).await;
    define(&rig, &issued, &[FUNCTION]).await;
    rig.target.disable(issued.leased()).await.unwrap();
    let first = rig.target.settle_objects(issued.leased()).await.unwrap();
    assert_eq!(rig.target.settle_objects(issued.leased()).await.unwrap(), first);
}

async fn objects_in_several_databases_are_settled(rig: Rig) {
    let another = format!("{}_too", rig.fixture.sample.names.database);
    rig.as_root(format!("CREATE DATABASE `{another}`")).await;
    let elsewhere = |what: &str| format!("CREATE {what} `{another}`.");
    let view = format!("{}v AS SELECT 1", elsewhere("VIEW"));
    let procedure = format!("{}p() SELECT 1", elsewhere("PROCEDURE"));
    let owner = rig.fixture.sample.names.owner.clone();
    rig.as_root(format!("CREATE ROLE `{owner}`")).await;
    for rule in [OwnedObjects::Drop, OwnedObjects::Keep, OwnedObjects::Reassign(owner.clone())] {
        let role = defining_role(&rig, rule.clone()).await;
        let group = &rig.fixture.sample.names.write;
        rig.as_root(format!(
            "GRANT CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE ON `{another}`.* TO `{group}`"
        ))
        .await;
        mend(&rig, &role).await;
        let target = rig.another(|_| ()).unwrap();
        let issued = rig.issue(&role).await;
        let reassigns = matches!(rule, OwnedObjects::Reassign(_));
        // MySQL cannot give routines another definer.
        let possible = if reassigns && rig.engine == Engine::Mysql { 1 } else { 2 };
        let made = [VIEW, &view, PROCEDURE, &procedure];
        let made = if possible == 1 { &made[..2] } else { &made[..] };
        define(&rig, &issued, made).await;
        target.disable(issued.leased()).await.unwrap();
        target.end_sessions(issued.leased()).await.unwrap();
        let counts = target.settle_objects(issued.leased()).await.unwrap();
        let count = u32::try_from(made.len()).unwrap();
        let expected = match &rule {
            OwnedObjects::Drop => ObjectCounts { dropped: count, ..Default::default() },
            OwnedObjects::Keep => ObjectCounts { kept: count, ..Default::default() },
            OwnedObjects::Reassign(_) => ObjectCounts { reassigned: count, ..Default::default() },
        };
        assert_eq!(counts, expected, "{rule:?}");
        let question =
            format!("SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = '{another}'");
        let definer = rig.root_knows(question).await;
        match &rule {
            OwnedObjects::Drop => assert_eq!(definer, None),
            OwnedObjects::Keep => {
                assert!(definer.unwrap().starts_with(issued.name()));
                let database = &rig.fixture.sample.names.database;
                for database in [database, &another] {
                    rig.as_root(format!("DROP PROCEDURE IF EXISTS `{database}`.tidy")).await;
                    rig.as_root(format!("DROP PROCEDURE IF EXISTS `{database}`.p")).await;
                    rig.as_root(format!("DROP VIEW IF EXISTS `{database}`.v, `{database}`.cheap")).await;
                }
            }
            OwnedObjects::Reassign(_) => assert!(definer.unwrap().starts_with(&owner)),
        }
    }
}

async fn end_statements_run_first(rig: Rig) {
    let role = defining_role(&rig, OwnedObjects::Drop).await;
    mend(&rig, &role).await;
    let database = &rig.fixture.sample.names.database;
    let mut issued = rig.issue(&role).await;
    define(&rig, &issued, &[PROCEDURE]).await;
    let end = format!("DROP PROCEDURE IF EXISTS `{database}`.tidy");
    issued.plan.end = vec![Template::parse(&end).unwrap()];
    rig.target.disable(issued.leased()).await.unwrap();
    assert_eq!(rig.target.settle_objects(issued.leased()).await.unwrap(), ObjectCounts::default());
    assert!(rig.target.remove(issued.leased()).await.unwrap());
}

async fn without_the_privileges_nothing_is_lost(rig: Rig) {
    let role = defining_role(&rig, OwnedObjects::Drop).await;
    let issued = rig.issue(&role).await;
    define(&rig, &issued, &[PROCEDURE]).await;
    rig.target.disable(issued.leased()).await.unwrap();
    if rig.engine == Engine::Mysql {
        // It is not shown to us, but the server refuses the drop.
        let error = rig.target.remove(issued.leased()).await.unwrap_err();
        assert!(error.message.contains("still the definer"), "{error}");
    } else {
        let error = rig.target.settle_objects(issued.leased()).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Denied);
        assert!(error.message.contains("dealing with procedure "), "{error}");
    }
    assert_eq!(definers(&rig).await.len(), 1);
    mend(&rig, &role).await;
    let target = rig.another(|_| ()).unwrap();
    target.settle_objects(issued.leased()).await.unwrap();
    assert!(target.remove(issued.leased()).await.unwrap());
}
