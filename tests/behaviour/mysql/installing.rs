//! The dead-man's switch is installed, upgraded, put right and missed, each on a server of its own.

use mayfly::{
    clock::{Clock, SystemClock},
    domain::{Access, Engine, ExistingAccount, Role},
    sandbox::Server,
    target::{HandedOut, NewAccount, Severity, Target, TargetErrorKind, TargetSettings, mysql::Mysql},
};
use mysql_async::prelude::Queryable;

use super::rig::{self, Issued};
use crate::support::{MyFixture, eventually, own_server};

/// A sample on a server of its own, and Mayfly over it, with fresh connections whenever it is asked for.
struct Own {
    fixture: MyFixture<Server>,
    engine: Engine,
}

impl Own {
    async fn on(engine: Engine) -> Option<Self> {
        let server = own_server(engine, |_| ()).await?;
        Some(Self { fixture: MyFixture::on(server).await, engine })
    }

    fn target(&self) -> Mysql {
        self.target_with(|_| ())
    }

    fn target_with(&self, adjust: impl FnOnce(&mut TargetSettings)) -> Mysql {
        let administrator = self.fixture.sample.administrator.clone();
        let mut settings =
            rig::settings(self.engine, self.fixture.port(), &administrator.user, administrator.password);
        adjust(&mut settings);
        Mysql::new(settings, rig::surroundings()).unwrap()
    }

    async fn as_root(&self, statement: impl AsRef<str>) {
        self.fixture.root().await.query_drop(statement.as_ref()).await.unwrap();
    }

    async fn root_knows(&self, question: impl AsRef<str>) -> Option<String> {
        self.fixture.root().await.query_first(question.as_ref()).await.unwrap()
    }

    async fn plan(&self, target: &Mysql) -> Issued {
        Issued::planned(self.engine, &rig::role(&self.fixture.sample.names.read), target).await
    }

    /// A created account.
    async fn issue(&self) -> Issued {
        let target = self.target();
        let issued = self.plan(&target).await;
        target.create(issued.new_account(), &issued.secret).await.unwrap();
        issued
    }

    async fn has_expiry(&self, issued: &Issued) -> bool {
        let question = format!("SELECT host FROM mayfly.accounts WHERE user = '{}'", issued.name());
        self.root_knows(question).await.is_some()
    }

    /// Alters the event as root, and leaves it its definer.
    async fn alter(&self, change: &str) {
        let definer = &self.fixture.sample.administrator.user;
        self.as_root(format!("ALTER DEFINER = '{definer}'@'%' EVENT mayfly.expire {change}")).await;
    }

    /// Nothing is issued, and both issuing and the doctor say why; returns what mends it.
    async fn misses(&self, words: &str) -> String {
        let target = self.target();
        let issued = self.plan(&target).await;
        let error = target.create(issued.new_account(), &issued.secret).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused, "{error:?}");
        assert!(error.message.contains(words), "{error}");
        let examination = target.examine(&[]).await;
        let found = examination.findings.iter().find(|finding| finding.summary.contains(words)).unwrap();
        assert_eq!(found.severity, Severity::Problem);
        assert_eq!(found.remedy, error.remedy);
        error.remedy.unwrap()
    }

    /// Issuing works, and the doctor is content.
    async fn is_well(&self) {
        let target = self.target();
        let examination = target.examine(&[]).await;
        assert!(
            examination.findings.iter().all(|finding| finding.severity != Severity::Problem),
            "{examination:?}"
        );
        let issued = self.plan(&target).await;
        target.create(issued.new_account(), &issued.secret).await.unwrap();
    }

    async fn installs(&self) -> String {
        self.target().install().await.unwrap().join("; ")
    }
}

async fn everything(engine: Engine) {
    let Some(mut own) = Own::on(engine).await else { return };
    installing_twice_changes_nothing(&own).await;
    a_scheduler_that_is_off_is_missed(&own).await;
    a_disabled_event_is_missed(&own).await;
    an_older_version_is_upgraded(&own).await;
    the_first_version_is_upgraded_in_place(&own).await;
    the_second_version_is_upgraded_in_place(&own).await;
    a_newer_version_is_left_alone(&own).await;
    its_definer_is_never_locked(&own).await;
    what_the_switch_cannot_take_back_is_told(&own).await;
    a_tampered_event_is_put_right(&own).await;
    a_missing_definer_is_replaced(&own).await;
    what_is_missing_altogether_is_installed(&own).await;
    without_rights_the_statements_are_named(&own).await;
    an_administrator_of_the_server_installs_what_is_printed(&own).await;
    the_command_installs_prints_and_reports(&own).await;
    what_the_switch_cannot_lock_is_told(&own).await;
    it_survives_a_restart_of_the_server(&mut own).await;
}

#[tokio::test]
async fn on_mysql() {
    everything(Engine::Mysql).await;
}

#[tokio::test]
async fn on_mariadb() {
    everything(Engine::Mariadb).await;
}

async fn installing_twice_changes_nothing(own: &Own) {
    own.is_well().await;
    assert_eq!(own.installs().await, "");
    own.is_well().await;
}

async fn a_scheduler_that_is_off_is_missed(own: &Own) {
    own.as_root("SET GLOBAL event_scheduler = OFF").await;
    let remedy = own.misses("the event scheduler is OFF").await;
    own.as_root(remedy).await;
    own.is_well().await;
}

async fn a_disabled_event_is_missed(own: &Own) {
    own.alter("DISABLE ON SLAVE").await;
    own.misses("disabled, as it is after a failover").await;
    assert_eq!(own.installs().await, "enabled the event mayfly.expire");
    own.is_well().await;
    own.alter("DISABLE").await;
    let remedy = own.misses("disabled").await;
    own.as_root(remedy).await;
    own.is_well().await;
}

async fn an_older_version_is_upgraded(own: &Own) {
    own.alter("COMMENT 'mayfly switch, version 0' DO SELECT 1").await;
    own.misses("is of version 0; version 2 is needed").await;
    assert_eq!(own.installs().await, "upgraded the event mayfly.expire from version 0 to 3");
    own.is_well().await;
}

/// Makes of the tables what version 1 had.
async fn downgrade(own: &Own) {
    own.as_root("ALTER TABLE mayfly.accounts DROP COLUMN mark, DROP COLUMN own_statements, DROP COLUMN kind")
        .await;
    own.as_root("DROP TABLE mayfly.server").await;
    own.alter("COMMENT 'mayfly switch, version 1'").await;
}

async fn the_first_version_is_upgraded_in_place(own: &Own) {
    let before = own.issue().await;
    let identity = own.root_knows("SELECT identity FROM mayfly.server").await.unwrap();
    downgrade(own).await;
    own.misses("is of version 1; version 2 is needed").await;
    let carefree = own.target_with(|settings| settings.expiry = mayfly::target::Expiry::Issuer);
    let unmarked = own.plan(&carefree).await;
    carefree.create(unmarked.new_account(), &unmarked.secret).await.unwrap();
    assert!(own.has_expiry(&unmarked).await, "where the server need not see to expiry, version 1 will do");
    let done = own.installs().await;
    assert!(done.starts_with("gave the table mayfly.accounts a place for marks; gave the table"), "{done}");
    assert!(done.ends_with("upgraded the event mayfly.expire from version 1 to 3"), "{done}");
    own.is_well().await;
    assert!(own.has_expiry(&before).await, "what was there is kept");
    let again = own.root_knows("SELECT identity FROM mayfly.server").await.unwrap();
    assert_eq!(again == identity, own.engine == Engine::Mysql, "MySQL stays known by what it was known by");
    downgrade(own).await;
    prints(own, "ALTER").await;
}

async fn the_second_version_is_upgraded_in_place(own: &Own) {
    own.as_root("CREATE USER app@'127.0.0.1' IDENTIFIED BY 'standing'").await;
    let account = ExistingAccount::new("app", vec!["127.0.0.1".parse().unwrap()]).unwrap();
    let before = own.issue().await;
    let until = SystemClock.now() + std::time::Duration::from_secs(600);
    let handed = HandedOut { account: &account, lease: before.lease, expires_at: until };
    own.as_root("ALTER TABLE mayfly.accounts DROP COLUMN kind").await;
    own.as_root("DROP TABLE mayfly.elevations").await;
    own.alter("COMMENT 'mayfly switch, version 2'").await;
    own.is_well().await;
    let target = own.target();
    let error = target.check_out(handed, &before.secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused);
    assert!(error.message.contains("of version 2; version 3 is needed"), "{error}");
    assert!(error.remedy.unwrap().contains("--install"));
    let role = Role {
        access: Access::Checkout { account: "app".to_owned(), queue: 1 },
        member_of: Vec::new(),
        ..rig::role("none")
    };
    let said = async |roles: &[&Role], words: &str| {
        let findings = own.target().examine(roles).await.findings;
        findings.into_iter().find(|finding| finding.summary.contains(words)).map(|finding| finding.severity)
    };
    assert_eq!(said(&[], "is of version 2, which").await, Some(Severity::Warning));
    assert_eq!(said(&[&role], "no existing account is handed out").await, Some(Severity::Problem));
    let carefree = own.target_with(|settings| settings.expiry = mayfly::target::Expiry::Issuer);
    carefree.check_out(handed, &before.secret).await.unwrap();
    own.fixture.connect("app", before.secret.password.expose()).await.unwrap();
    assert!(carefree.check_in(&account).await.unwrap());
    assert_eq!(
        own.installs().await,
        "gave the table mayfly.accounts a place for accounts that are handed out; created the table mayfly.elevations; \
         upgraded the event mayfly.expire from version 2 to 3"
    );
    own.is_well().await;
    assert!(own.has_expiry(&before).await, "what was there is kept");
    own.target().check_out(handed, &before.secret).await.unwrap();
    assert!(own.target().check_in(&account).await.unwrap());
}

async fn what_the_switch_cannot_take_back_is_told(own: &Own) {
    own.as_root("CREATE ROLE precious").await;
    own.as_root("GRANT precious TO somebody@localhost").await;
    own.as_root(
        "INSERT INTO mayfly.elevations (user, host, role, lease, expires_at, ends_sessions) \
         VALUES ('somebody', 'localhost', 'precious', 'l', UTC_TIMESTAMP(6) - INTERVAL 11 SECOND, TRUE)",
    )
    .await;
    eventually("the switch says what is the matter", async || {
        own.root_knows("SELECT trouble FROM mayfly.elevations WHERE trouble IS NOT NULL").await
    })
    .await;
    let examination = own.target().examine(&[]).await;
    let found =
        examination.findings.into_iter().find(|finding| finding.summary.contains("has not taken back 1"));
    own.as_root(found.unwrap().remedy.unwrap()).await;
    eventually("it takes it back", async || {
        own.root_knows("SELECT revoked_at FROM mayfly.elevations WHERE revoked_at IS NOT NULL").await
    })
    .await;
    own.is_well().await;
}

/// Whoever may write to the table locks nobody out who could put it right.
async fn its_definer_is_never_locked(own: &Own) {
    let definer = &own.fixture.sample.administrator.user;
    own.as_root("CREATE USER somebody@localhost").await;
    for (user, host) in [(definer.as_str(), "%"), (definer, "10.%"), ("somebody", "localhost")] {
        own.as_root(format!(
            "INSERT INTO mayfly.accounts (user, host, lease, expires_at, kind) \
             VALUES ('{user}', '{host}', 'l', UTC_TIMESTAMP(6), 'checkout')"
        ))
        .await;
    }
    eventually("the switch has run", async || {
        own.root_knows(
            "SELECT locked_at FROM mayfly.accounts WHERE user = 'somebody' AND locked_at IS NOT NULL",
        )
        .await
    })
    .await;
    let locked =
        format!("SELECT locked_at FROM mayfly.accounts WHERE user = '{definer}' AND locked_at IS NOT NULL");
    assert_eq!(own.root_knows(locked).await, None);
    own.fixture.administrator().await.ping().await.unwrap();
    own.as_root("DELETE FROM mayfly.accounts WHERE kind = 'checkout'").await;
}

async fn a_newer_version_is_left_alone(own: &Own) {
    own.alter("COMMENT 'mayfly switch, version 99'").await;
    let error = own.target().install().await.unwrap_err();
    assert!(error.message.contains("later version"), "{error}");
    own.is_well().await;
    own.alter("COMMENT 'mayfly switch, version 3'").await;
}

async fn a_tampered_event_is_put_right(own: &Own) {
    own.alter("DO SELECT 1").await;
    let examination = own.target().examine(&[]).await;
    let found = examination.findings.iter().find(|finding| finding.summary.contains("does not do what"));
    assert_eq!(found.unwrap().severity, Severity::Problem);
    assert_eq!(own.installs().await, "put right what the event mayfly.expire does");
    own.is_well().await;
}

async fn a_missing_definer_is_replaced(own: &Own) {
    own.as_root("CREATE USER gone@localhost").await;
    own.as_root("ALTER DEFINER = gone@localhost EVENT mayfly.expire ENABLE").await;
    if own.engine == Engine::Mariadb {
        let examination = own.target().examine(&[]).await;
        let lacks =
            examination.findings.iter().find(|finding| finding.summary.contains("lacks some")).unwrap();
        assert!(lacks.remedy.as_ref().unwrap().contains("GRANT CREATE USER ON *.* TO 'gone'@'localhost'"));
    }
    own.as_root("DROP USER gone@localhost").await;
    own.misses("'gone'@'localhost' does not exist any more").await;
    assert!(own.installs().await.contains("another definer"));
    own.is_well().await;
}

async fn what_is_missing_altogether_is_installed(own: &Own) {
    own.as_root("DROP DATABASE mayfly").await;
    own.misses("is not installed").await;
    let done = own.installs().await;
    assert_eq!(
        done,
        "created the table mayfly.accounts; created the table mayfly.elevations; created the table mayfly.server; drew an identity for the server and its \
         replicas; created the event mayfly.expire, version 3"
    );
    own.is_well().await;
}

async fn without_rights_the_statements_are_named(own: &Own) {
    own.as_root("DROP DATABASE mayfly").await;
    let administrator = &own.fixture.sample.administrator.user;
    let grants = "CREATE, ALTER, EVENT, SELECT, INSERT, UPDATE, DELETE ON mayfly.*";
    own.as_root(format!("REVOKE {grants} FROM '{administrator}'@'%'")).await;
    let error = own.target().install().await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error:?}");
    let remedy = error.remedy.unwrap();
    assert_eq!(remedy, format!("GRANT {grants} TO '{administrator}'@'%';"));
    own.as_root(remedy).await;
    assert!(own.installs().await.contains("created the event"));
    own.is_well().await;
}

async fn an_administrator_of_the_server_installs_what_is_printed(own: &Own) {
    own.as_root("SET GLOBAL event_scheduler = OFF").await;
    own.as_root("ALTER EVENT mayfly.expire COMMENT 'mayfly switch, version 0'").await;
    if own.engine == Engine::Mysql {
        let error = own.target().install().await.unwrap_err();
        assert!(error.message.contains("SYSTEM_USER") && error.remedy.unwrap().contains("--print"));
    }
    prints(own, "ALTER").await;
    own.as_root("DROP DATABASE mayfly").await;
    prints(own, "CREATE").await;
}

async fn prints(own: &Own, verb: &str) {
    let script = own.target().installation_script().await.unwrap();
    assert!(
        script.contains(&format!("{verb} DEFINER = '{}'@'%' EVENT", own.fixture.sample.administrator.user))
    );
    let (first, rest) = script.split_once("DELIMITER //\n").unwrap();
    let (event, last) = rest.split_once("//\nDELIMITER ;").unwrap();
    let mut root = own.fixture.root().await;
    for statements in [first, event, last].into_iter().filter(|text| !text.is_empty()) {
        root.query_drop(statements).await.unwrap();
    }
    root.disconnect().await.unwrap();
    own.is_well().await;
    assert_eq!(own.installs().await, "", "by hand or by command, it is the same");
}

async fn the_command_installs_prints_and_reports(own: &Own) {
    own.as_root("DROP DATABASE mayfly").await;
    let directory = tempfile::tempdir().unwrap();
    let administrator = &own.fixture.sample.administrator;
    std::fs::write(directory.path().join("password"), administrator.password.expose()).unwrap();
    let configuration = directory.path().join("mayfly.toml");
    let text = format!(
        "[store]\npath = \"mayfly.db\"\n[targets.stock]\nengine = \"{}\"\nhosts = [\"127.0.0.1:{}\"]\nuser = \"{}\"\n\
         password_file = \"password\"\n",
        own.engine,
        own.fixture.port(),
        administrator.user
    );
    std::fs::write(&configuration, text).unwrap();
    let doctor = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mayfly"));
        command.args(["doctor", "--config"]).arg(&configuration).args(arguments).arg("stock");
        let output = command.output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = doctor(&[]).await;
    assert_eq!(code, Some(11), "{said}");
    assert!(said.contains("--install stock"), "{said}");
    let (code, printed) = doctor(&["--print"]).await;
    assert_eq!(code, Some(0));
    assert!(printed.contains("DELIMITER //\nCREATE DEFINER = "), "{printed}");
    let (code, said) = doctor(&["--install"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("created the event mayfly.expire") && !said.contains("to mend"), "{said}");
    let (code, said) = doctor(&["--install"]).await;
    assert!(code == Some(0) && said.contains("nothing to install"), "{said}");
    own.is_well().await;
}

async fn what_the_switch_cannot_lock_is_told(own: &Own) {
    let administrator = &own.fixture.sample.administrator.user;
    if own.engine == Engine::Mysql {
        own.as_root("CREATE USER mf_mighty@localhost").await;
        own.as_root("GRANT SYSTEM_USER ON *.* TO mf_mighty@localhost").await;
    } else {
        own.as_root(format!("REVOKE CREATE USER ON *.* FROM '{administrator}'@'%'")).await;
        own.as_root(format!("REVOKE UPDATE ON mysql.* FROM '{administrator}'@'%'")).await;
    }
    own.as_root(
        "INSERT INTO mayfly.accounts (user, host, lease, expires_at) \
         VALUES ('mf_mighty', 'localhost', 'l', UTC_TIMESTAMP(6) - INTERVAL 11 SECOND)",
    )
    .await;
    eventually("the switch says what is the matter", async || {
        own.root_knows("SELECT trouble FROM mayfly.accounts WHERE trouble IS NOT NULL").await
    })
    .await;
    let examination = own.target().examine(&[]).await;
    let found =
        examination.findings.iter().find(|finding| finding.summary.contains("has not locked 1 expired"));
    assert!(found.unwrap().summary.contains("enied"), "{found:?}");
    own.as_root("DELETE FROM mayfly.accounts WHERE user = 'mf_mighty'").await;
    if own.engine == Engine::Mariadb {
        own.as_root(format!("GRANT CREATE USER ON *.* TO '{administrator}'@'%'")).await;
        own.as_root(format!("GRANT UPDATE ON mysql.* TO '{administrator}'@'%'")).await;
    }
}

async fn it_survives_a_restart_of_the_server(own: &mut Own) {
    let target = own.target();
    let issued = own.plan(&target).await;
    let expires_at = mayfly::clock::Clock::now(&mayfly::clock::SystemClock);
    target
        .create(
            NewAccount { expires_at: expires_at + std::time::Duration::from_secs(2), ..issued.new_account() },
            &issued.secret,
        )
        .await
        .unwrap();
    drop(target);
    own.fixture.server.crash().await.unwrap();
    own.fixture.server.start_again().await.unwrap();
    eventually("the account is locked", async || {
        let question = format!(
            "SELECT locked_at FROM mayfly.accounts WHERE user = '{}' AND locked_at IS NOT NULL",
            issued.name()
        );
        own.root_knows(question).await
    })
    .await;
    assert!(own.fixture.login(issued.name(), issued.secret.password.expose()).await.is_err());
}
