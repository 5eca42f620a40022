//! Credentials in the forms that clients of each engine read.

mod mysql;
mod postgres;
mod quote;

use clap::ValueEnum;
use serde::Serialize;

use super::{CliError, Exit, error::printable, table, view};
use crate::{
    api::proto,
    domain::{Engine, Password},
};

/// The form a credential is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CredentialFormat {
    /// An aligned block for people
    Text,
    /// One JSON document: the lease and the credential
    Json,
    /// `export` lines for a shell
    Env,
    /// A connection URL
    Url,
    /// Lines for ~/.pgpass (PostgreSQL)
    Pgpass,
    /// A [client] section for an option file (MySQL, MariaDB)
    #[value(name = "my.cnf")]
    MyCnf,
}

/// How far TLS towards the target must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// Encrypted.
    Require,
    /// Encrypted, to a server whose certificate carries the host's name.
    VerifyFull,
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A credential, checked.
#[derive(Debug, Clone)]
pub struct Credential {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Password,
    /// Engine.
    pub engine: Engine,
    /// The preferred endpoint.
    pub endpoint: Endpoint,
    /// The others, in order.
    pub alternatives: Vec<Endpoint>,
    /// The database to connect to; may be empty.
    pub database: String,
    /// TLS.
    pub tls: TlsMode,
}

impl Credential {
    /// Checks what the server sent.
    ///
    /// # Errors
    /// When it lacks something or has something unknown (a newer server).
    pub fn from_proto(credential: proto::Credential) -> Result<Self, CliError> {
        let unknown = |what: &str| {
            CliError::new(
                Exit::Internal,
                format!("the server sent a credential with {what} this client does not know"),
            )
        };
        let engine = engine_of(credential.engine()).ok_or_else(|| unknown("an engine"))?;
        let tls = match credential.tls_mode.as_str() {
            "disable" => TlsMode::Disable,
            "require" => TlsMode::Require,
            "verify-full" => TlsMode::VerifyFull,
            _ => return Err(unknown("a TLS mode")),
        };
        let mut endpoints = Vec::new();
        for endpoint in credential.endpoints {
            let port = u16::try_from(endpoint.port).map_err(|_| unknown("a port"))?;
            endpoints.push(Endpoint { host: endpoint.host, port });
        }
        let mut endpoints = endpoints.into_iter();
        let endpoint = endpoints.next().ok_or_else(|| unknown("no endpoint, which"))?;
        Ok(Self {
            username: credential.username,
            password: Password::new(credential.password),
            engine,
            endpoint,
            alternatives: endpoints.collect(),
            database: credential.database,
            tls,
        })
    }

    /// Whether the account was there before its lease, and keeps the password it has.
    pub fn keeps_its_own(&self) -> bool {
        self.password.expose().is_empty()
    }

    /// The refusal of whatever needs a password.
    pub fn has_no_password(&self) -> CliError {
        let message = format!(
            "this role elevates the account {}, which keeps its own password: there is none to hand out",
            printable(&self.username)
        );
        CliError::usage(message)
            .hint("ask with --format text or json, and log in as ever; or have it elevated while a command runs: mayfly run ROLE -- …")
    }

    /// All endpoints, the preferred one first.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.endpoint).chain(&self.alternatives)
    }

    /// The variables that the engine's own clients read, password included.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self.engine {
            Engine::Postgres => postgres::variables(self),
            Engine::Mysql | Engine::Mariadb => mysql::variables(self),
        }
    }

    /// Variables that would lead the engine's clients elsewhere, to be removed from a child's environment.
    pub fn misleading_variables(&self) -> &'static [&'static str] {
        match self.engine {
            Engine::Postgres => postgres::MISLEADING,
            Engine::Mysql | Engine::Mariadb => mysql::MISLEADING,
        }
    }

    /// A connection URL with the password in it.
    pub fn url(&self) -> String {
        match self.engine {
            Engine::Postgres => postgres::url(self),
            Engine::Mysql | Engine::Mariadb => mysql::url(self),
        }
    }

    /// Lines for a password file of libpq.
    ///
    /// # Errors
    /// When the engine is another.
    pub fn pgpass(&self) -> Result<String, CliError> {
        match self.engine {
            Engine::Postgres => Ok(postgres::pgpass(self)),
            other => Err(wrong_form("pgpass", other, "my.cnf")),
        }
    }

    /// Sections for an option file of MySQL's and MariaDB's clients. `reader` is whose client will read it; `None`: either's.
    ///
    /// # Errors
    /// When the engine is another.
    pub fn my_cnf(&self, reader: Option<Engine>) -> Result<String, CliError> {
        match self.engine {
            Engine::Postgres => Err(wrong_form("my.cnf", self.engine, "pgpass")),
            Engine::Mysql | Engine::Mariadb => Ok(mysql::my_cnf(self, reader)),
        }
    }

    /// Renders the credential in a form. JSON carries the lease as well.
    ///
    /// # Errors
    /// When the form is one of another engine.
    pub fn render(&self, format: CredentialFormat, lease: &proto::Lease) -> Result<String, CliError> {
        if self.keeps_its_own() && !matches!(format, CredentialFormat::Text | CredentialFormat::Json) {
            return Err(self.has_no_password());
        }
        match format {
            CredentialFormat::Text => Ok(self.block()),
            CredentialFormat::Json => self.json(lease),
            CredentialFormat::Env => Ok(self
                .variables()
                .iter()
                .map(|(name, value)| quote::export(name, value))
                .collect::<Vec<_>>()
                .join("\n")),
            CredentialFormat::Url => Ok(self.url()),
            CredentialFormat::Pgpass => self.pgpass(),
            CredentialFormat::MyCnf => self.my_cnf(None),
        }
    }

    fn block(&self) -> String {
        let all = |part: fn(&Endpoint) -> String| self.endpoints().map(part).collect::<Vec<_>>().join(",");
        table::facts(&[
            ("host", all(|endpoint| endpoint.host.clone())),
            ("port", all(|endpoint| endpoint.port.to_string())),
            ("database", self.database.clone()),
            ("user", self.username.clone()),
            (
                "password",
                if self.keeps_its_own() {
                    "(the account's own)".to_owned()
                } else {
                    self.password.expose().to_owned()
                },
            ),
        ])
    }

    fn json(&self, lease: &proto::Lease) -> Result<String, CliError> {
        let document = Issued {
            lease: lease.into(),
            credential: CredentialView {
                username: &self.username,
                password: self.password.expose(),
                engine: self.engine.as_str(),
                host: &self.endpoint.host,
                port: self.endpoint.port,
                endpoints: self.endpoints().map(|e| EndpointView { host: &e.host, port: e.port }).collect(),
                database: &self.database,
                tls_mode: self.tls.as_str(),
                url: if self.keeps_its_own() { String::new() } else { self.url() },
            },
        };
        serde_json::to_string(&document)
            .map_err(|error| CliError::local("cannot write the reply as JSON", &error))
    }
}

impl TlsMode {
    /// As in the configuration and in libpq.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsMode::Disable => "disable",
            TlsMode::Require => "require",
            TlsMode::VerifyFull => "verify-full",
        }
    }
}

#[derive(Serialize)]
struct Issued<'a> {
    lease: view::LeaseView,
    credential: CredentialView<'a>,
}

#[derive(Serialize)]
struct CredentialView<'a> {
    username: &'a str,
    password: &'a str,
    engine: &'a str,
    host: &'a str,
    port: u16,
    endpoints: Vec<EndpointView<'a>>,
    database: &'a str,
    tls_mode: &'a str,
    url: String,
}

#[derive(Serialize)]
struct EndpointView<'a> {
    host: &'a str,
    port: u16,
}

fn engine_of(engine: proto::Engine) -> Option<Engine> {
    match engine {
        proto::Engine::Postgres => Some(Engine::Postgres),
        proto::Engine::Mysql => Some(Engine::Mysql),
        proto::Engine::Mariadb => Some(Engine::Mariadb),
        proto::Engine::Unspecified => None,
    }
}

fn wrong_form(format: &str, engine: Engine, instead: &str) -> CliError {
    CliError::usage(format!("the format {format} is not one that clients of {} read", engine.title()))
        .hint(format!("use {instead}, env, url or json"))
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// A credential with a hostile password, as no server of ours makes them.
    pub(crate) fn credential(engine: Engine) -> Credential {
        Credential {
            username: "mf_orders_alice_06dp4f2h9c8x1k3m7q0r".into(),
            password: Password::new(r#"a'b"c\d:e@f/g#h $i%"#.into()),
            engine,
            endpoint: Endpoint { host: "127.0.0.1".into(), port: engine.default_port() },
            alternatives: Vec::new(),
            database: "app".into(),
            tls: TlsMode::Disable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{samples::credential, *};

    #[test]
    fn a_form_of_another_engine_is_a_usage_error() {
        let lease = proto::Lease::default();
        for (engine, format) in [
            (Engine::Postgres, CredentialFormat::MyCnf),
            (Engine::Mysql, CredentialFormat::Pgpass),
            (Engine::Mariadb, CredentialFormat::Pgpass),
        ] {
            assert_eq!(credential(engine).render(format, &lease).unwrap_err().exit(), Exit::Usage);
        }
    }

    #[test]
    fn an_account_that_keeps_its_own_password_is_written_only_where_none_is_needed() {
        let mut credential = credential(Engine::Postgres);
        credential.password = Password::new(String::new());
        let lease = proto::Lease::default();
        for format in [CredentialFormat::Env, CredentialFormat::Url, CredentialFormat::Pgpass] {
            let refused = credential.render(format, &lease).unwrap_err();
            assert_eq!(refused.exit(), Exit::Usage);
            assert!(refused.to_string().contains("keeps its own password"), "{refused}");
        }
        let text = credential.render(CredentialFormat::Text, &lease).unwrap();
        assert!(text.contains("password  (the account's own)"), "{text}");
        let json = credential.render(CredentialFormat::Json, &lease).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["credential"]["password"], &json["credential"]["url"]), (&"".into(), &"".into()));
    }

    #[test]
    fn the_block_is_aligned() {
        let mut credential = credential(Engine::Postgres);
        credential.password = Password::new("pw".into());
        assert_eq!(
            credential.render(CredentialFormat::Text, &proto::Lease::default()).unwrap(),
            "host      127.0.0.1\nport      5432\ndatabase  app\nuser      mf_orders_alice_06dp4f2h9c8x1k3m7q0r\npassword  pw"
        );
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let good = proto::Credential {
            username: "u".into(),
            password: "p".into(),
            engine: proto::Engine::Postgres.into(),
            endpoints: vec![proto::Endpoint { host: "h".into(), port: 5432 }],
            database: String::new(),
            tls_mode: "require".into(),
        };
        assert!(Credential::from_proto(good.clone()).is_ok());
        for bad in [
            proto::Credential { engine: 99, ..good.clone() },
            proto::Credential { endpoints: vec![], ..good.clone() },
            proto::Credential {
                endpoints: vec![proto::Endpoint { host: "h".into(), port: 70_000 }],
                ..good.clone()
            },
            proto::Credential { tls_mode: "maybe".into(), ..good.clone() },
        ] {
            assert_eq!(Credential::from_proto(bad).unwrap_err().exit(), Exit::Internal);
        }
    }

    #[test]
    fn json_has_the_lease_and_the_credential() {
        let lease = proto::Lease { name: "leases/x".into(), ..Default::default() };
        let text = credential(Engine::Mysql).render(CredentialFormat::Json, &lease).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["lease"]["name"], "leases/x");
        assert_eq!(json["credential"]["password"], r#"a'b"c\d:e@f/g#h $i%"#);
        assert_eq!(json["credential"]["port"], 3306);
    }
}
