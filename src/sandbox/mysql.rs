//! How MySQL (8.0 and later) and MariaDB (10.6 and later) are initialised, started, asked and ended.

use std::{io, path::PathBuf};

use mysql_async::{Conn, OptsBuilder, prelude::Queryable};

use super::{
    binaries::Binaries,
    guard::{CommandLine, Signal},
    layout::Layout,
    server::{Administrator, Durability, Habits, ServerSpec},
    sql,
};
use crate::domain::Engine;

/// A server is one process: nothing is left of it after KILL.
pub(super) const HABITS: Habits =
    Habits { administrator: "root", gracefully: Signal::Terminate, abruptly: Signal::Kill };

/// Statements the server runs once, before it lets anybody in.
const FIRST_STATEMENTS: &str = "first.sql";

pub(super) fn prepare(engine: Engine, layout: &Layout, administrator: &Administrator) -> io::Result<()> {
    let password = sql::literal(engine, administrator.password.expose());
    // Names are not resolved, so those who come by TCP are at 127.0.0.1, not at localhost.
    let mut statements = format!(
        "ALTER USER 'root'@'localhost' IDENTIFIED BY {password};\n\
         CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY {password};\n\
         ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY {password};\n\
         GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
    );
    if engine == Engine::Mariadb {
        statements.push_str(MARIADB_LEFTOVERS);
    }
    layout.write(&layout.directory.join(FIRST_STATEMENTS), statements.as_bytes())
}

/// The installer also makes accounts without a password for root at other addresses of this machine.
const MARIADB_LEFTOVERS: &str = "DELETE FROM mysql.global_priv WHERE User = 'root' AND Host NOT IN \
                                 ('localhost', '127.0.0.1');\nFLUSH PRIVILEGES;\n";

pub(super) fn initialise(binaries: &Binaries, layout: &Layout) -> CommandLine {
    // In a shared directory, a starting MariaDB takes the temporary tables of another for its own leftovers.
    let command = binaries
        .initialise()
        .arg("--no-defaults")
        .option("--tmpdir", &layout.directory)
        .option("--datadir", layout.data())
        .option("--basedir", binaries.base());
    match binaries.engine() {
        Engine::Mysql => command.args(MYSQL_INITIALISE),
        _ => command.args(MARIADB_INITIALISE),
    }
}

const MYSQL_INITIALISE: [&str; 5] = [
    "--initialize-insecure",
    "--mysqlx=OFF",
    "--secure-file-priv=",
    "--innodb-redo-log-capacity=64M",
    "--innodb-flush-method=nosync",
];

const MARIADB_INITIALISE: [&str; 4] = [
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    "--skip-name-resolve",
    "--innodb-log-file-size=16M",
];

pub(super) fn serve(spec: &ServerSpec, layout: &Layout, first: bool) -> CommandLine {
    let engine = spec.binaries.engine();
    let mut command = spec
        .binaries
        .serve()
        .arg("--no-defaults")
        .option("--datadir", layout.data())
        .option("--basedir", spec.binaries.base())
        .option("--tmpdir", &layout.directory)
        .option("--socket", layout.directory.join("socket"))
        .option("--pid-file", layout.directory.join("server.pid"))
        .option("--port", layout.port.to_string())
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--max-connections=300"]);
    command = match engine {
        Engine::Mysql => command.args(MYSQL_SERVE).args(foreign_plugins(&spec.binaries)),
        _ => command.arg("--innodb-log-file-size=16M").args(ed25519(&spec.binaries)),
    };
    if spec.durability == Durability::Throwaway {
        command = command.args(THROWAWAY);
        command = if engine == Engine::Mysql { command.arg("--skip-log-bin") } else { command };
    }
    if let Some(tls) = &spec.tls {
        command = command.option("--ssl-cert", layout.certificate()).option("--ssl-key", layout.key());
        if tls.client_authority.is_some() {
            command = command.option("--ssl-ca", layout.client_authority());
        }
    }
    if first {
        command = command.option("--init-file", layout.directory.join(FIRST_STATEMENTS));
    }
    command.args(spec.settings.iter().map(|(name, value)| format!("--{name}={value}")))
}

const MYSQL_SERVE: [&str; 3] = ["--mysqlx=OFF", "--secure-file-priv=", "--innodb-redo-log-capacity=64M"];

/// Small, and careless about its data: it survives a crash of the server, if not of the machine.
const THROWAWAY: [&str; 4] = [
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0",
    "--innodb-flush-method=nosync",
];

/// The plugins of a MySQL that was built to be installed elsewhere.
fn foreign_plugins(binaries: &Binaries) -> Option<String> {
    let directory = binaries.base().join("lib/mysql/plugin");
    directory.is_dir().then(|| format!("--plugin-dir={}", directory.display()))
}

/// MariaDB's ed25519 authentication, if its plugin is found: it comes in another package than the server.
fn ed25519(binaries: &Binaries) -> Vec<String> {
    let directories: [Option<PathBuf>; 4] = [
        Some(binaries.base().join("lib/mysql/plugin")),
        Some(binaries.base().join("lib64/mysql/plugin")),
        Some(binaries.base().join("lib/plugin")),
        binaries.cache().map(|cache| cache.join("mariadb-plugins")),
    ];
    let found =
        directories.into_iter().flatten().find(|directory| directory.join("auth_ed25519.so").is_file());
    found.map_or_else(Vec::new, |directory| {
        vec![format!("--plugin-dir={}", directory.display()), "--plugin-load-add=auth_ed25519".to_owned()]
    })
}

/// A connection for setting things up, over loopback.
pub(super) async fn connect(port: u16, administrator: &Administrator) -> mysql_async::Result<Conn> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .prefer_socket(false)
        .user(Some(&administrator.user))
        .pass(Some(administrator.password.expose()));
    Conn::new(options).await
}

/// Whether the server lets its administrator in.
pub(super) async fn answers(port: u16, administrator: &Administrator) -> bool {
    let Ok(mut connection) = connect(port, administrator).await else { return false };
    let answered = connection.query_drop("SELECT 1").await.is_ok();
    answered && connection.disconnect().await.is_ok()
}
