//! What the clients of MySQL and MariaDB read.
//!
//! Of the environment both read `MYSQL_HOST`, `MYSQL_TCP_PORT` and `MYSQL_PWD`
//! (<https://dev.mysql.com/doc/refman/9.7/en/environment-variables.html>,
//! <https://mariadb.com/kb/en/mariadb-environment-variables/>), but no user name: that, the database and TLS need an option
//! file, which both look for in `$MYSQL_HOME/my.cnf`. `MYSQL_USER`, `MYSQL_DATABASE` and their `MARIADB_` sisters are what
//! container images and many applications go by.

use super::{Credential, TlsMode, quote};
use crate::domain::Engine;

/// Variables that would lead a client to another server, or make it read other settings last.
pub(super) const MISLEADING: &[&str] = &[
    "MYSQL_HOST",
    "MYSQL_TCP_PORT",
    "MYSQL_UNIX_PORT",
    "MYSQL_PWD",
    "MYSQL_HOME",
    "MYSQL_USER",
    "MYSQL_PASSWORD",
    "MYSQL_DATABASE",
    "MYSQL_GROUP_SUFFIX",
    "MARIADB_HOME",
    "MARIADB_UNIX_PORT",
    "MARIADB_GROUP_SUFFIX",
];

pub(super) fn variables(credential: &Credential) -> Vec<(&'static str, String)> {
    let password = || credential.password.expose().to_owned();
    let port = || credential.endpoint.port.to_string();
    let mut variables = vec![
        ("MYSQL_HOST", credential.endpoint.host.clone()),
        ("MYSQL_TCP_PORT", port()),
        ("MYSQL_PWD", password()),
        ("MYSQL_USER", credential.username.clone()),
        ("MYSQL_PASSWORD", password()),
    ];
    if credential.engine == Engine::Mariadb {
        variables.extend([
            ("MARIADB_HOST", credential.endpoint.host.clone()),
            ("MARIADB_PORT", port()),
            ("MARIADB_USER", credential.username.clone()),
            ("MARIADB_PASSWORD", password()),
        ]);
    }
    if !credential.database.is_empty() {
        variables.push(("MYSQL_DATABASE", credential.database.clone()));
        if credential.engine == Engine::Mariadb {
            variables.push(("MARIADB_DATABASE", credential.database.clone()));
        }
    }
    variables
}

/// `mysql://…` for both engines: every driver knows it, few know `mariadb://`.
pub(super) fn url(credential: &Credential) -> String {
    let tls = match credential.tls {
        TlsMode::Disable => "",
        TlsMode::Require => "?ssl-mode=REQUIRED",
        TlsMode::VerifyFull => "?ssl-mode=VERIFY_IDENTITY",
    };
    format!(
        "mysql://{}:{}@{}:{}/{}{tls}",
        quote::percent(&credential.username),
        quote::percent(credential.password.expose()),
        quote::url_host(&credential.endpoint.host),
        credential.endpoint.port,
        quote::percent(&credential.database),
    )
}

pub(super) fn my_cnf(credential: &Credential, reader: Option<Engine>) -> String {
    let mut lines = vec![
        "[client]".to_owned(),
        format!("host={}", quote::option_value(&credential.endpoint.host)),
        format!("port={}", credential.endpoint.port),
        // Without it, `localhost` would mean a Unix socket.
        "protocol=tcp".to_owned(),
        format!("user={}", quote::option_value(&credential.username)),
        format!("password={}", quote::option_value(credential.password.expose())),
    ];
    lines.extend(tls(credential.tls, reader).iter().map(|&line| line.to_owned()));
    if !credential.database.is_empty() {
        // Not under [client]: mysqldump and mysqladmin know no option of that name.
        lines.push("[mysql]".to_owned());
        lines.push(format!("database={}", quote::option_value(&credential.database)));
    }
    lines.join("\n") + "\n"
}

/// The options of the two families of clients differ. One that does not know an option ends rather than connecting without;
/// so where either may read the file, MySQL's is marked as one that others pass over, and MariaDB's are in a section that
/// only they read.
fn tls(mode: TlsMode, reader: Option<Engine>) -> &'static [&'static str] {
    match (mode, reader) {
        // The client's own default: TLS where the server offers it.
        (TlsMode::Disable, _) => &[],
        (TlsMode::Require, Some(Engine::Mariadb)) => &["ssl"],
        (TlsMode::VerifyFull, Some(Engine::Mariadb)) => &["ssl", "ssl-verify-server-cert"],
        (TlsMode::Require, Some(_)) => &["ssl-mode=REQUIRED"],
        (TlsMode::VerifyFull, Some(_)) => &["ssl-mode=VERIFY_IDENTITY"],
        (TlsMode::Require, None) => &["loose-ssl-mode=REQUIRED", "[client-mariadb]", "ssl"],
        (TlsMode::VerifyFull, None) => {
            &["loose-ssl-mode=VERIFY_IDENTITY", "[client-mariadb]", "ssl", "ssl-verify-server-cert"]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{super::samples::credential, *};

    /// What the real client would start with.
    fn read_back(contents: &str) -> Option<String> {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("my.cnf"), contents).unwrap();
        let output = Command::new("mariadb")
            .arg("--print-defaults")
            .env("MYSQL_HOME", home.path())
            .env("HOME", home.path())
            .output();
        output.ok().map(|output| String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn the_real_client_reads_the_option_file_back() {
        let credential = credential(Engine::Mariadb);
        let Some(arguments) = read_back(&my_cnf(&credential, None)) else { return };
        for expected in [
            format!("--user={} ", credential.username),
            format!("--password={} ", credential.password.expose()),
            "--host=127.0.0.1 --port=3306 --protocol=tcp ".to_owned(),
            "--database=app ".to_owned(),
        ] {
            assert!(arguments.contains(&expected), "{expected} in {arguments}");
        }
    }

    #[test]
    fn tls_is_asked_for_in_the_words_of_the_client() {
        let mut credential = credential(Engine::Mysql);
        credential.tls = TlsMode::VerifyFull;
        let of = |reader| my_cnf(&credential, reader);
        assert!(of(Some(Engine::Mysql)).contains("\nssl-mode=VERIFY_IDENTITY\n"));
        assert!(of(Some(Engine::Mariadb)).contains("\nssl\nssl-verify-server-cert\n"));
        let either =
            "\nloose-ssl-mode=VERIFY_IDENTITY\n[client-mariadb]\nssl\nssl-verify-server-cert\n[mysql]\n";
        assert!(of(None).contains(either));
        assert!(url(&credential).ends_with("/app?ssl-mode=VERIFY_IDENTITY"));
    }

    #[test]
    fn the_driver_reads_the_url_back() {
        let credential = credential(Engine::Mysql);
        let options = mysql_async::Opts::from_url(&url(&credential)).unwrap();
        assert_eq!(options.pass(), Some(credential.password.expose()));
        assert_eq!(options.user(), Some(credential.username.as_str()));
        assert_eq!(options.db_name(), Some("app"));
    }

    #[test]
    fn each_engine_gets_its_own_variables() {
        let names =
            |engine| variables(&credential(engine)).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert!(!names(Engine::Mysql).contains(&"MARIADB_USER"));
        for name in ["MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_PWD", "MYSQL_USER", "MARIADB_USER"] {
            assert!(names(Engine::Mariadb).contains(&name), "{name}");
        }
    }
}
