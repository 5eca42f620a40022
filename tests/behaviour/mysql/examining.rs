//! What the doctor finds.

use mayfly::{
    domain::{Engine, OwnedObjects},
    target::{AuthPlugin, Examination, Severity, Target},
};

use super::{on_both, rig::Rig};

on_both!(
    nothing_is_missing_from_what_is_documented,
    each_missing_privilege_is_named_with_its_statement,
    missing_groups_and_owners_are_named,
    an_owner_with_privileges_or_a_login_is_pointed_out,
    a_group_whose_members_can_give_things_away_is_pointed_out,
    the_wrong_database_is_found_out,
    expiry_is_spoken_of_plainly,
);

fn problems(examination: &Examination) -> Vec<&str> {
    let is_problem = |severity| severity == Severity::Problem;
    let findings = examination.findings.iter();
    findings.filter(|finding| is_problem(finding.severity)).map(|finding| finding.summary.as_str()).collect()
}

async fn nothing_is_missing_from_what_is_documented(rig: Rig) {
    let examination = rig.target.examine(&[&rig.role()]).await;
    assert!(problems(&examination).is_empty(), "{examination:?}");
    assert_eq!(examination.server.unwrap().engine, rig.engine);
    assert!(examination.clock_offset.unwrap().abs().as_secs() < 2);
}

async fn each_missing_privilege_is_named_with_its_statement(rig: Rig) {
    let account = rig.administrator();
    rig.as_root(format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account}")).await;
    let role = rig.role();
    // Some can only be seen once others are there.
    for _ in 0..4 {
        let examination = rig.another(|_| ()).unwrap().examine(&[&role]).await;
        for finding in examination.findings {
            if finding.severity == Severity::Problem {
                rig.as_root(finding.remedy.unwrap()).await;
            }
        }
    }
    let target = rig.another(|_| ()).unwrap();
    let examination = target.examine(&[&role]).await;
    assert!(problems(&examination).is_empty(), "{examination:?}");
    let issued = rig.plan(&role).await;
    target.create(issued.new_account(), &issued.secret).await.unwrap();
    assert!(rig.login(&issued).await.is_ok());
    target.end_sessions(issued.leased()).await.unwrap();
    assert!(target.remove(issued.leased()).await.unwrap());
}

async fn missing_groups_and_owners_are_named(rig: Rig) {
    let mut role = rig.role();
    role.member_of = vec![format!("no`such{}", rig.settings.user)];
    role.owned_objects = OwnedObjects::Reassign(rig.fixture.sample.names.owner.clone());
    let examination = rig.target.examine(&[&role]).await;
    let found = problems(&examination);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|words| words.contains("there is no group role no`such")), "{found:?}");
    assert!(found.iter().any(|words| words.contains("to hand objects to")), "{found:?}");
    for finding in &examination.findings {
        if finding.severity == Severity::Problem {
            rig.as_root(finding.remedy.as_ref().unwrap()).await;
        }
    }
}

async fn an_owner_with_privileges_or_a_login_is_pointed_out(rig: Rig) {
    let names = &rig.fixture.sample.names;
    let owner = &names.owner;
    let mut role = rig.role();
    role.owned_objects = OwnedObjects::Reassign(owner.clone());
    if rig.engine == Engine::Mysql {
        rig.as_root(format!("CREATE USER `{owner}`")).await;
        rig.as_root(format!("GRANT SELECT (account_locked) ON mysql.user TO {}", rig.administrator())).await;
    } else {
        rig.as_root(format!("CREATE ROLE `{owner}`")).await;
        rig.as_root(format!("GRANT DELETE ON `{}`.* TO `{owner}`", names.database)).await;
    }
    let examination = rig.another(|_| ()).unwrap().examine(&[&role]).await;
    let found = examination.findings.iter().find(|finding| finding.summary.contains(owner)).unwrap();
    assert_ne!(found.severity, Severity::Fine, "{found:?}");
}

async fn a_group_whose_members_can_give_things_away_is_pointed_out(rig: Rig) {
    let names = &rig.fixture.sample.names;
    let role = rig.role();
    assert!(problems(&rig.target.examine(&[&role]).await).is_empty());
    rig.as_root(format!("GRANT SELECT ON `{}`.* TO `{}` WITH GRANT OPTION", names.database, names.read))
        .await;
    rig.as_root(format!("GRANT `{}` TO `{}` WITH ADMIN OPTION", names.write, names.read)).await;
    let examination = rig.another(|_| ()).unwrap().examine(&[&role]).await;
    let found: Vec<_> =
        examination.findings.iter().filter(|finding| finding.summary.contains("to others")).collect();
    assert_eq!(found.len(), 2, "{examination:?}");
    for finding in found {
        assert_eq!(finding.severity, Severity::Problem);
        rig.as_root(finding.remedy.as_ref().unwrap()).await;
    }
    let examination = rig.another(|_| ()).unwrap().examine(&[&role]).await;
    let mended = problems(&examination);
    assert!(mended.iter().all(|words| !words.contains("to others")), "{mended:?}");
}

#[tokio::test]
async fn an_owner_of_mysql_with_privileges_is_pointed_out() {
    let Some(rig) = super::rig::mysql().await else { return };
    let (owner, database) = (&rig.fixture.sample.names.owner, &rig.fixture.sample.names.database);
    let mut role = rig.role();
    role.owned_objects = OwnedObjects::Reassign(owner.clone());
    rig.as_root(format!("CREATE ROLE `{owner}`")).await;
    assert!(problems(&rig.target.examine(&[&role]).await).is_empty());
    rig.as_root(format!("GRANT DELETE ON `{database}`.* TO `{owner}`")).await;
    let examination = rig.target.examine(&[&role]).await;
    let found = problems(&examination);
    assert!(found.len() == 1 && found[0].contains("privileges of its own"), "{found:?}");
    for finding in &examination.findings {
        if finding.severity == Severity::Problem {
            rig.as_root(finding.remedy.as_ref().unwrap()).await;
        }
    }
    assert!(problems(&rig.target.examine(&[&role]).await).is_empty());
}

async fn the_wrong_database_is_found_out(rig: Rig) {
    use mayfly::domain::Engine::{Mariadb, Mysql};
    let wrong = if rig.engine == Mysql { Mariadb } else { Mysql };
    let target = rig.another(|settings| settings.engine = wrong).unwrap();
    let examination = target.examine(&[]).await;
    assert!(examination.server.is_none());
    let found = problems(&examination);
    assert!(found.iter().all(|words| words.contains("configured as")) && found.len() == 1, "{found:?}");
}

async fn expiry_is_spoken_of_plainly(rig: Rig) {
    let examination = rig.target.examine(&[]).await;
    let spoken =
        examination.findings.iter().find(|finding| finding.summary.contains("expire with nobody there"));
    assert_eq!(spoken.unwrap().severity, Severity::Fine);
}

#[tokio::test]
async fn a_missing_plugin_is_named() {
    let Some(rig) = super::rig::mariadb().await else { return };
    let question = "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'ed25519'";
    let there = rig.root_knows(question).await.as_deref() == Some("ACTIVE");
    let target = rig.another(|settings| settings.auth_plugin = AuthPlugin::Ed25519).unwrap();
    let examination = target.examine(&[]).await;
    assert_eq!(problems(&examination).is_empty(), there, "{examination:?}");
}
