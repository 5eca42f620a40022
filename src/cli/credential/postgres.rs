//! What libpq and its relatives read (<https://www.postgresql.org/docs/current/libpq-envars.html>).

use super::{Credential, Endpoint, quote};

/// Variables that would lead libpq to another server, or make it read other settings first.
pub(super) const MISLEADING: &[&str] = &[
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSSLMODE",
];

pub(super) fn variables(credential: &Credential) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("PGHOST", hosts(credential)),
        ("PGPORT", ports(credential)),
        ("PGUSER", credential.username.clone()),
        ("PGPASSWORD", credential.password.expose().to_owned()),
        ("PGSSLMODE", credential.tls.as_str().to_owned()),
    ];
    if !credential.database.is_empty() {
        variables.push(("PGDATABASE", credential.database.clone()));
    }
    variables
}

/// libpq takes lists of hosts and ports, tried in order.
fn hosts(credential: &Credential) -> String {
    credential.endpoints().map(|endpoint| endpoint.host.as_str()).collect::<Vec<_>>().join(",")
}

fn ports(credential: &Credential) -> String {
    credential.endpoints().map(|endpoint| endpoint.port.to_string()).collect::<Vec<_>>().join(",")
}

pub(super) fn url(credential: &Credential) -> String {
    let place = |endpoint: &Endpoint| format!("{}:{}", quote::url_host(&endpoint.host), endpoint.port);
    format!(
        "postgresql://{}:{}@{}/{}?sslmode={}",
        quote::percent(&credential.username),
        quote::percent(credential.password.expose()),
        credential.endpoints().map(place).collect::<Vec<_>>().join(","),
        quote::percent(&credential.database),
        credential.tls.as_str(),
    )
}

/// One line per endpoint, for any database: what the account may do there is decided by the server.
pub(super) fn pgpass(credential: &Credential) -> String {
    let line = |endpoint: &Endpoint| {
        format!(
            "{}:{}:*:{}:{}",
            quote::pgpass(&endpoint.host),
            endpoint.port,
            quote::pgpass(&credential.username),
            quote::pgpass(credential.password.expose()),
        )
    };
    credential.endpoints().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{TlsMode, samples::credential},
        *,
    };
    use crate::domain::Engine;

    #[test]
    fn every_endpoint_is_named() {
        let mut credential = credential(Engine::Postgres);
        credential.alternatives.push(Endpoint { host: "::1".into(), port: 5433 });
        credential.tls = TlsMode::VerifyFull;
        let variables = variables(&credential);
        assert!(variables.contains(&("PGHOST", "127.0.0.1,::1".into())));
        assert!(variables.contains(&("PGPORT", "5432,5433".into())));
        assert!(variables.contains(&("PGSSLMODE", "verify-full".into())));
        assert_eq!(
            url(&credential),
            "postgresql://mf_orders_alice_06dp4f2h9c8x1k3m7q0r:a%27b%22c%5Cd%3Ae%40f%2Fg%23h%20%24i%25\
             @127.0.0.1:5432,[::1]:5433/app?sslmode=verify-full"
        );
    }

    #[test]
    fn a_password_file_has_a_line_per_endpoint() {
        let mut credential = credential(Engine::Postgres);
        credential.alternatives.push(Endpoint { host: "::1".into(), port: 5433 });
        let user = &credential.username;
        assert_eq!(
            pgpass(&credential),
            format!(
                "127.0.0.1:5432:*:{user}:a'b\"c\\\\d\\:e@f/g#h $i%\n\\:\\:1:5433:*:{user}:a'b\"c\\\\d\\:e@f/g#h $i%"
            )
        );
    }

    #[test]
    fn the_driver_reads_the_url_back() {
        let credential = credential(Engine::Postgres);
        let config: tokio_postgres::Config = url(&credential).parse().unwrap();
        assert_eq!(config.get_password(), Some(credential.password.expose().as_bytes()));
        assert_eq!(config.get_user(), Some(credential.username.as_str()));
        assert_eq!(config.get_dbname(), Some("app"));
    }

    #[test]
    fn without_a_database_none_is_named() {
        let mut credential = credential(Engine::Postgres);
        credential.database.clear();
        assert!(variables(&credential).iter().all(|(name, _)| *name != "PGDATABASE"));
    }
}
