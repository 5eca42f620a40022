//! How PostgreSQL (13 and later) is initialised, started, asked and ended.

use std::io;

use tokio_postgres::{Client, Config, NoTls};

use super::{
    binaries::Binaries,
    guard::{CommandLine, Signal},
    layout::{Layout, ServerTls},
    server::{Administrator, Durability, Habits, ServerSpec},
};

/// "Fast" shutdown writes data and ends sessions. "Immediate" shutdown leaves on disk what a crash leaves, but no
/// orphaned server processes as KILL does.
pub(super) const HABITS: Habits =
    Habits { administrator: "postgres", gracefully: Signal::Interrupt, abruptly: Signal::Quit };

const PASSWORD_FILE: &str = "superuser";

pub(super) fn prepare(layout: &Layout, administrator: &Administrator) -> io::Result<()> {
    layout.write(&layout.directory.join(PASSWORD_FILE), administrator.password.expose().as_bytes())
}

pub(super) fn initialise(binaries: &Binaries, layout: &Layout) -> CommandLine {
    binaries
        .initialise()
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"])
        .option("--username", HABITS.administrator)
        .option("--pwfile", layout.directory.join(PASSWORD_FILE))
        .option("--pgdata", layout.data())
}

/// Says who may come in, and how, once there is a data directory.
pub(super) fn configure(layout: &Layout, tls: Option<&ServerTls>) -> io::Result<()> {
    std::fs::remove_file(layout.directory.join(PASSWORD_FILE))?;
    layout.write(&layout.data().join("pg_hba.conf"), access(tls).as_bytes())
}

fn access(tls: Option<&ServerTls>) -> String {
    let certified = tls.is_some_and(|tls| tls.client_authority.is_some());
    let everybody = if certified {
        "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca"
    } else {
        "host all all 127.0.0.1/32 scram-sha-256"
    };
    let administrator = HABITS.administrator;
    format!("local all all scram-sha-256\nhost all {administrator} 127.0.0.1/32 scram-sha-256\n{everybody}\n")
}

pub(super) fn serve(spec: &ServerSpec, layout: &Layout) -> CommandLine {
    let mut settings: Vec<(&str, String)> = vec![
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", layout.port.to_string()),
        ("unix_socket_directories", layout.directory.display().to_string()),
        ("max_connections", "300".to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("cluster_name", "mayfly-sandbox".to_owned()),
    ];
    if spec.durability == Durability::Throwaway {
        // Commits still reach the operating system: they survive a crash of the server, if not of the machine.
        let off = ["fsync", "full_page_writes"];
        settings.extend(off.map(|name| (name, "off".to_owned())));
    }
    if let Some(tls) = &spec.tls {
        settings.push(("ssl", "on".to_owned()));
        settings.push(("ssl_cert_file", layout.certificate().display().to_string()));
        settings.push(("ssl_key_file", layout.key().display().to_string()));
        if tls.client_authority.is_some() {
            settings.push(("ssl_ca_file", layout.client_authority().display().to_string()));
        }
    }
    settings.extend(spec.settings.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let command = spec.binaries.serve().arg("-D").arg(layout.data());
    settings.iter().fold(command, |command, (name, value)| command.arg("-c").arg(format!("{name}={value}")))
}

/// A connection for setting things up, over loopback.
pub(super) async fn connect(
    port: u16,
    administrator: &Administrator,
    database: &str,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).dbname(database);
    config.user(&administrator.user).password(administrator.password.expose());
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Whether the server lets its administrator in.
pub(super) async fn answers(port: u16, administrator: &Administrator) -> bool {
    match connect(port, administrator, "postgres").await {
        Ok(client) => client.simple_query("SELECT 1").await.is_ok(),
        Err(_) => false,
    }
}
