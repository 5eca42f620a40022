//! `[targets.NAME]`.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use super::{
    reader::{Located, Reader, quoted},
    secret::{self, Pem, pem},
    section::Section,
};
use crate::{
    domain::{Engine, TargetName},
    policy::TargetFacts,
    sealing::Keyring,
    target::{
        AuthPlugin, Expiry, OnDrift, PoolSettings, ReconcileSettings, TargetSettings, TlsMode, TlsSettings,
    },
};

/// A target as far as it could be read: roles are checked against it also when the rest of it is wrong.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) engine: Option<Engine>,
    pub(super) settings: Option<TargetSettings>,
    labels: BTreeMap<String, String>,
    rotate_every: Option<Located<Duration>>,
}

pub(super) fn target(name: &Located<String>, section: &Section<'_>) -> Draft {
    let engine = section.choice("engine").map(|engine| match engine.value.as_str() {
        "mysql" => Engine::Mysql,
        "mariadb" => Engine::Mariadb,
        _ => Engine::Postgres,
    });
    let settings = settings(name, section, engine);
    let (labels, rotate_every) = (labels(section), section.duration("rotate_every"));
    Draft { name: name.value.clone(), engine, settings, labels, rotate_every }
}

impl Draft {
    /// What policy is told of it.
    pub(super) fn labels(&self) -> Option<(TargetName, BTreeMap<String, String>)> {
        let settings = self.settings.as_ref()?;
        Some((settings.name.clone(), self.labels.clone()))
    }

    /// Likewise, with what it runs.
    pub(super) fn facts(&self) -> Option<(TargetName, TargetFacts)> {
        let (name, labels) = self.labels()?;
        Some((name, TargetFacts { engine: self.engine?, labels }))
    }
}

/// Labels by name. One that is wrong is told and left out.
fn labels(section: &Section<'_>) -> BTreeMap<String, String> {
    let (mut labels, reader) = (BTreeMap::new(), section.reader);
    for (name, value) in section.table("labels").unwrap_or_default() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
        if name.value.is_empty() || name.value.len() > 63 || !name.value.chars().all(plain) {
            reader.complain(&name.at, "is not a label: 1 to 63 of a-z, 0-9, _, - and .");
        } else if value.value.is_empty()
            || value.value.len() > 256
            || value.value.chars().any(char::is_control)
        {
            reader.complain(&value.at, "is not a label's value: 1 to 256 bytes on one line");
        } else {
            labels.insert(name.value, value.value);
        }
    }
    labels
}

/// How often which administration passwords are rotated. `keys`: what they are sealed with; `None`: that is wrong already.
pub(super) fn rotation(
    reader: &Reader<'_>,
    drafts: &[Draft],
    keys: Option<&Keyring>,
) -> BTreeMap<TargetName, Duration> {
    let mut rotation = BTreeMap::new();
    for draft in drafts {
        let (Some(settings), Some(every)) = (&draft.settings, &draft.rotate_every) else { continue };
        if keys.is_some_and(|keys| keys.first().is_none()) {
            reader.complain(&every.at, "needs [sealing]: what is rotated is kept sealed with a key of yours");
        }
        if settings.password.is_none() {
            reader.complain(&every.at, "has nothing to rotate: the administration account has no password");
        }
        rotation.insert(settings.name.clone(), every.value);
    }
    rotation
}

fn settings(name: &Located<String>, section: &Section<'_>, engine: Option<Engine>) -> Option<TargetSettings> {
    let reader = section.reader;
    let target: Option<TargetName> = reader.parse(name);
    let hosts = addresses(section, "hosts", engine);
    let client_hosts = addresses(section, "client_hosts", engine);
    let database = section.name("database", database_limit(engine));
    let user = section.name("user", user_limit(engine));
    let tls_section = section.child("tls");
    let tls = tls(&tls_section, hosts.as_deref());
    let password = secret::password(section);
    let password_written = section.written("password").or_else(|| section.written("password_file")).is_some();
    let certificate_written = tls_section.written("certificate_file").is_some();
    if !password_written && !certificate_written && section.is_written() {
        reader.complain(
            &section.at,
            "the administration account needs password_file = \"…\", password = \"env:NAME\" or a client certificate ([tls] \
             certificate_file and key_file)",
        );
    }
    let reconcile = reconcile(section);
    let pool = pool(&section.child("pool"));
    let auth_plugin = section.choice("auth_plugin");
    if engine.is_some_and(|engine| engine != Engine::Mariadb) {
        section.refuse("auth_plugin", "is for MariaDB only; the others have one way to keep a password");
    }
    let expiry = section.choice("expiry");
    warn_of_issuer(section, expiry.as_ref());
    if engine == Some(Engine::Postgres) {
        section.refuse("expiry", "is for MySQL and MariaDB only; PostgreSQL refuses expired accounts itself");
    }
    if hosts.as_ref().is_some_and(Vec::is_empty) {
        reader.complain(&section.written("hosts").unwrap_or(section.at.clone()), "names no host");
    }
    Some(TargetSettings {
        name: target?,
        engine: engine?,
        hosts: hosts?,
        client_hosts: client_hosts?,
        database: database.map(|database| database.value),
        user: user?.value,
        password,
        tls: tls?,
        pool: pool?,
        auth_plugin: if auth_plugin?.value == "ed25519" {
            AuthPlugin::Ed25519
        } else {
            AuthPlugin::NativePassword
        },
        expiry: if expiry?.value == "issuer" { Expiry::Issuer } else { Expiry::Server },
        reconcile: reconcile?,
    })
}

/// Bytes a database's name may have. PostgreSQL: `NAMEDATALEN - 1`; MySQL and MariaDB: 64 characters, of up to 4 bytes.
pub(super) fn database_limit(engine: Option<Engine>) -> usize {
    if engine == Some(Engine::Postgres) { 63 } else { 256 }
}

/// Bytes the administration account's name may have. MariaDB allows 128 characters, Mayfly's own names are shorter.
fn user_limit(engine: Option<Engine>) -> usize {
    match engine {
        Some(Engine::Postgres) => 63,
        Some(Engine::Mysql) => 32,
        Some(Engine::Mariadb) | None => 128,
    }
}

fn addresses(
    section: &Section<'_>,
    word: &'static str,
    engine: Option<Engine>,
) -> Option<Vec<(String, u16)>> {
    let port = engine.map_or(0, Engine::default_port);
    let mut seen = Vec::new();
    let mut sound = true;
    for text in section.texts(word)? {
        match address(&text.value, port) {
            Ok(address) if seen.contains(&address) => {
                section.reader.complain(&text.at, format!("{} is named twice", quoted(&text.value)));
                sound = false;
            }
            Ok(address) => seen.push(address),
            Err(message) => {
                section.reader.complain(&text.at, format!("{} {message}", quoted(&text.value)));
                sound = false;
            }
        }
    }
    sound.then_some(seen)
}

/// `host`, `host:port`, `[IPv6]` or `[IPv6]:port`; the host comes out without brackets.
fn address(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    const FORM: &str = "is not a host: write it like \"db1\", \"db1:5432\", \"10.0.0.7\" or \"[::1]:5432\"";
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(FORM)?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("has no IPv6 address between its brackets");
        }
        (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(FORM)?) })
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err("is an IPv6 address: write it in brackets");
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    if host.is_empty() || host.len() > 253 || host.starts_with(['-', '.']) || !host.chars().all(is_host) {
        return Err(FORM);
    }
    let port = match port {
        None => default_port,
        // `parse` alone would take "+5432".
        Some(digits) if digits.chars().all(|c| c.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0).ok_or("has no port between 1 and 65535")?
        }
        Some(_) => return Err(FORM),
    };
    Ok((host.to_owned(), port))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

pub(super) fn tls(section: &Section<'_>, hosts: Option<&[(String, u16)]>) -> Option<TlsSettings> {
    let written = section.choice("mode");
    let local = hosts.map(|hosts| hosts.iter().all(|(host, _)| is_loopback(host)));
    let ca_file = pem(section, "ca_file", Pem::Certificates);
    let certificate = client_certificate(section);
    let mode = match written.as_ref().map(|mode| mode.value.as_str()) {
        Some("disable") => TlsMode::Disable,
        Some("require") => TlsMode::Require,
        None if section.written("mode").is_some() => return None,
        // Whoever writes about certificates wants them looked at, on loopback too.
        None if local? && !section.is_written() => TlsMode::Disable,
        Some(_) | None => TlsMode::VerifyFull,
    };
    if mode != TlsMode::VerifyFull {
        section.refuse("ca_file", "is looked at only with mode = \"verify-full\"");
    }
    if mode == TlsMode::Disable {
        section.refuse("certificate_file", "has no use with mode = \"disable\"");
        section.refuse("key_file", "has no use with mode = \"disable\"");
    }
    if let (Some(written), Some(false)) = (&written, local) {
        warn_of_mode(section.reader, written, mode);
    }
    Some(TlsSettings { mode, ca_file, client_certificate: certificate? })
}

fn warn_of_issuer(section: &Section<'_>, expiry: Option<&Located<String>>) {
    if let Some(expiry) = expiry.filter(|expiry| expiry.value == "issuer") {
        let words =
            "without the dead-man's switch on the server, accounts do not expire there while Mayfly is down";
        section.reader.warn(&expiry.at, words);
    }
}

fn warn_of_mode(reader: &Reader<'_>, written: &Located<String>, mode: TlsMode) {
    match mode {
        TlsMode::Disable => {
            reader.warn(
                &written.at,
                "what Mayfly and the server say to each other crosses the network in clear text",
            );
        }
        TlsMode::Require => {
            reader.warn(
                &written.at,
                "the server's certificate is not verified: anybody on the way can pose as it",
            );
        }
        TlsMode::VerifyFull => {}
    }
}

/// `None`: something is wrong. `Some(None)`: there is none.
#[expect(clippy::option_option, reason = "absent and unusable are different, as everywhere in this room")]
fn client_certificate(section: &Section<'_>) -> Option<Option<(std::path::PathBuf, std::path::PathBuf)>> {
    let (has_certificate, has_key) = (section.written("certificate_file"), section.written("key_file"));
    let certificate = pem(section, "certificate_file", Pem::Certificates);
    let key = pem(section, "key_file", Pem::PrivateKey);
    match (has_certificate, has_key) {
        (None, None) => Some(None),
        (Some(_), Some(_)) => Some(Some((certificate?, key?))),
        (Some(at), None) => {
            section.reader.complain(&at, "needs key_file as well");
            None
        }
        (None, Some(at)) => {
            section.reader.complain(&at, "needs certificate_file as well");
            None
        }
    }
}

fn reconcile(section: &Section<'_>) -> Option<ReconcileSettings> {
    let (every, on_drift) = (section.period("reconcile_every"), section.choice("on_drift"));
    let on_drift = match on_drift?.value.as_str() {
        "report" => OnDrift::Report,
        "end" => OnDrift::End,
        _ => OnDrift::PutRight,
    };
    Some(ReconcileSettings { every: every?.value, on_drift })
}

fn pool(section: &Section<'_>) -> Option<PoolSettings> {
    let (issuing, ending) = (section.number("issuing"), section.number("ending"));
    let (wait, connect) = (section.duration("wait"), section.duration("connect"));
    let (statement, per_deputy) = (section.duration("statement"), section.number("accounts_per_deputy"));
    let (queue, turn) = (section.number("queue"), section.duration("turn"));
    Some(PoolSettings {
        issuing: issuing?.value,
        ending: ending?.value,
        wait: wait?.value,
        connect: connect?.value,
        statement: statement?.value,
        accounts_per_deputy: per_deputy?.value,
        queue: queue?.value,
        turn: turn?.value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_ports() {
        for (text, host, port) in [
            ("db1", "db1", 5432),
            ("db1:6000", "db1", 6000),
            ("10.0.0.7", "10.0.0.7", 5432),
            ("[::1]", "::1", 5432),
            ("[fe80::1]:6000", "fe80::1", 6000),
            ("db_1.example.com:1", "db_1.example.com", 1),
        ] {
            assert_eq!(address(text, 5432), Ok((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":5432",
            "db1:",
            "db1:0",
            "db1:65536",
            "db1:+1",
            "db1:-1",
            "db1:x",
            "::1",
            "[db1]",
            "[::1",
            "[::1]5432",
            "db 1",
            "db1;",
            "/tmp",
            "user@db1",
            "db1:1:2",
            "-db1",
            "dä",
            "db1\0",
        ] {
            assert!(address(text, 5432).is_err(), "{text:?}");
        }
        assert!(address(&"a".repeat(254), 5432).is_err());
    }

    #[test]
    fn knows_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["10.0.0.1", "db1", "localhost.example.com", "0.0.0.0", "::"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
