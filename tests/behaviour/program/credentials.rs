//! `mayfly creds` in every form, read by what the form is for.

use mayfly::domain::{Engine, Password};
use tokio::process::Command;

use super::{
    home::Home,
    process::{Issued, Process, Shell, program},
};
use crate::support::world::Database;

const COUNT: &str = "select count(*) from orders";

/// Runs a shell script with arguments, as a user without settings of their own would.
pub(super) async fn sh(home: &Home, script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("sh");
    command.args(["-euc", script, "sh"]).args(arguments).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", home.path(""));
    let ran = Process::spawn(command).ended().await;
    assert_eq!(ran.code(), 0, "{script}: {ran:?}");
    ran.out.trim().to_owned()
}

/// The credential in a form; nothing but it is on standard output, and its words are elsewhere.
async fn form(shell: &Shell, database: &Database, form: &str) -> String {
    let role = format!("{}-read", database.engine);
    let ran = shell.mayfly(&["creds", &role, "--format", form]).await;
    let words: Vec<&str> = ran.err.lines().collect();
    assert!(words.len() == 2 && words[0].starts_with("leases/"), "{form}: {:?}", ran.err);
    assert!(words[0].contains("expires in 5m") || words[0].contains("expires in 4m"), "{}", words[0]);
    let lease = shell.lease(words[0].split_whitespace().next().unwrap()).await;
    assert!(ran.ok().contains(lease["account"].as_str().unwrap()), "{form}");
    ran.out
}

async fn logs_in(database: &Database, user: &str, password: &str) {
    let mut login = database.login(user, &Password::new(password.to_owned())).await.unwrap();
    assert_eq!(login.ask("SELECT id FROM orders").await.unwrap().len(), 4);
}

#[tokio::test]
async fn text_and_json_carry_a_credential_that_works() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    for database in &home.databases {
        let Issued { account, password, .. } =
            app.issue(&format!("{}-read", database.engine), &["--ttl", "10m"]).await;
        logs_in(database, &account, &password).await;
        let text = form(&app, database, "text").await;
        let fact = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
        };
        assert_eq!((fact("host "), fact("port ")), ("127.0.0.1".to_owned(), database.port.to_string()));
        assert_eq!(fact("database "), database.sample.names.database);
        logs_in(database, &fact("user "), &fact("password ")).await;
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}

#[tokio::test]
async fn env_is_evaluated_by_a_shell_and_read_by_the_clients() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    for database in &home.databases {
        let exports = form(&app, database, "env").await;
        assert!(exports.lines().all(|line| line.starts_with("export ")), "{exports}");
        let script = match database.engine {
            Engine::Postgres => "eval \"$1\"; psql -XAtc \"$2\"",
            Engine::Mariadb => "eval \"$1\"; mariadb -Nu \"$MARIADB_USER\" -e \"$2\" \"$MARIADB_DATABASE\"",
            Engine::Mysql => "eval \"$1\"; mariadb --ssl -Nu \"$MYSQL_USER\" -e \"$2\" \"$MYSQL_DATABASE\"",
        };
        assert_eq!(sh(&home, script, &[&exports, COUNT]).await, "4", "{}", database.engine);
    }
}

#[tokio::test]
async fn urls_are_read_by_psql_and_by_drivers() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    for database in &home.databases {
        let url = form(&app, database, "url").await;
        if database.engine == Engine::Postgres {
            assert_eq!(sh(&home, "psql -XAtc \"$2\" \"$1\"", &[url.trim(), COUNT]).await, "4");
            continue;
        }
        // The driver knows TLS by other words than the URLs of most.
        let (place, _) = url.trim().split_once('?').unwrap_or((url.trim(), ""));
        let options = mysql_async::Opts::from_url(place).unwrap();
        assert_eq!(options.tcp_port(), database.port);
        logs_in(database, options.user().unwrap(), options.pass().unwrap()).await;
    }
}

#[tokio::test]
async fn password_files_are_read_by_the_clients_they_are_for() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    for database in &home.databases {
        if database.engine == Engine::Postgres {
            let pgpass = form(&app, database, "pgpass").await;
            let fields: Vec<&str> = pgpass.trim().split(':').collect();
            home.write_secret("pgpass", &pgpass);
            let script = "PGPASSFILE=$1 psql -wXAt -h \"$2\" -p \"$3\" -U \"$4\" -d \"$5\" -c \"$6\"";
            let file = home.path("pgpass").display().to_string();
            let [host, port, _, user, _] = fields[..] else { panic!("{}", fields.len()) };
            let arguments = [&*file, host, port, user, &database.sample.names.database, COUNT];
            assert_eq!(sh(&home, script, &arguments).await, "4");
        } else {
            home.write_secret("client.cnf", &form(&app, database, "my.cnf").await);
            let file = home.path("client.cnf").display().to_string();
            let said = sh(&home, "mariadb --defaults-file=\"$1\" -Ne \"$2\"", &[&file, COUNT]).await;
            assert_eq!(said, "4", "{}", database.engine);
        }
    }
}

#[tokio::test]
async fn a_form_of_another_engine_is_refused_and_no_lease_is_left() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    for database in &home.databases {
        let wrong = if database.engine == Engine::Postgres { "my.cnf" } else { "pgpass" };
        let refused = app.mayfly(&["creds", &format!("{}-read", database.engine), "--format", wrong]).await;
        assert!(refused.refused(2).contains("use "), "{refused:?}");
    }
    assert_eq!(app.leases(&["active", "provisioning"]).await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn the_same_key_gives_the_same_lease_and_other_terms_a_conflict() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    let role = format!("{}-read", home.databases[0].engine);
    let first = app.issue(&role, &["--idempotency-key", "build-7"]).await;
    let again = app.mayfly(&["creds", &role, "--idempotency-key", "build-7", "-o", "json"]).await;
    assert!(again.code() == 0 || again.code() == 13, "{again:?}");
    let other = app.mayfly(&["creds", &role, "--idempotency-key", "build-7", "--ttl", "7m"]).await;
    other.refused(13);
    let leases = app.leases(&["active"]).await;
    assert!(leases.len() <= 1 && leases.iter().all(|lease| lease["name"] == *first.lease), "{leases:?}");
}

#[tokio::test]
async fn a_reader_that_left_is_no_failure() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    app.issue(&format!("{}-read", home.databases[0].engine), &[]).await;
    let mut command = Command::new("sh");
    command.args(["-c", "\"$1\" lease ls -o json | true", "sh", env!("CARGO_BIN_EXE_mayfly")]);
    command.env("MAYFLY_ADDRESS", &served.address).env("MAYFLY_TOKEN", &home.administrator);
    let ran = Process::spawn(command).ended().await;
    assert_eq!((ran.code(), &*ran.err), (0, ""));
    let version = Process::spawn({
        let mut command = program(&home.path(""));
        command.arg("--version");
        command
    });
    assert!(version.ended().await.ok().starts_with("mayfly "));
}
