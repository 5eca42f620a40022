//! `[server]`, `[audit]`, `[bootstrap]`, `[log]` and `[metrics]`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    Environment, SecretFileError,
    reader::{Located, Reader, quoted},
    secret::{self, Pem, pem},
    section::Section,
    store::StoreSettings,
};
use crate::domain::Password;

/// How Mayfly serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where it listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// TLS; without it `listen` is a loopback address, unless clear text beyond it was allowed in so many words.
    pub tls: Option<ServerTls>,
    /// Clear text beyond loopback was allowed.
    pub allow_clear_text_beyond_loopback: bool,
    /// Bytes of the largest message taken.
    pub max_message_bytes: usize,
    /// Calls served at once.
    pub max_concurrent_calls: usize,
    /// Calls a principal can make in the long run, per second.
    pub calls_per_second_per_principal: u32,
    /// Calls a principal can make at once after a pause.
    pub call_burst_per_principal: u32,
    /// How long calls in flight may take to finish when it stops.
    pub shutdown_grace: Duration,
}

/// TLS of the API. The files were readable PEM when the configuration was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file with the certificate chain.
    pub certificate_file: PathBuf,
    /// PEM file with its private key.
    pub key_file: PathBuf,
    /// Whether, and by whom, clients' certificates are verified.
    pub clients: Option<ClientCertificates>,
}

/// Mutual TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file with the authorities clients' certificates are verified against.
    pub ca_file: PathBuf,
    /// Clients without a certificate are turned away.
    pub required: bool,
}

/// Where audit records go besides the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditSettings {
    /// JSON lines, appended.
    pub file: Option<PathBuf>,
}

/// The first administrator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootstrapSettings {
    /// The token is taken from here instead of being printed; read only while the store is empty.
    pub administrator_token_file: Option<PathBuf>,
}

impl BootstrapSettings {
    /// The administrator token from its file, if one is named.
    ///
    /// # Errors
    /// When the file cannot be read, is empty or holds more than a line.
    pub fn administrator_token(
        &self,
        environment: &dyn Environment,
    ) -> Result<Option<Password>, SecretFileError> {
        self.administrator_token_file
            .as_deref()
            .map(|path| secret::read_secret(environment, path))
            .transpose()
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// Where numbers are shown: in clear text, to anybody who can connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Where it listens; port 0 lets the system choose.
    pub listen: SocketAddr,
}

/// Severity, most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is doubtful.
    Warn,
    /// What happens.
    Info,
    /// How it happens.
    Debug,
    /// Every step.
    Trace,
}

impl LogLevel {
    /// As written in the file, and as `tracing` reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

pub(super) fn server(section: &Section<'_>) -> Option<ServerSettings> {
    let tls_section = section.child("tls");
    let tls = tls_section.is_written().then(|| server_tls(&tls_section));
    let allowed = section.flag("allow_clear_text_beyond_loopback");
    let listen = listen(section, tls.is_some(), allowed);
    let max_message_bytes = section.number("max_message_bytes");
    let max_concurrent_calls = section.number("max_concurrent_calls");
    let calls_per_second = section.number("calls_per_second_per_principal");
    let burst = section.number("call_burst_per_principal");
    let shutdown_grace = section.duration("shutdown_grace");
    Some(ServerSettings {
        listen: listen?,
        tls: match tls {
            None => None,
            Some(tls) => Some(tls?),
        },
        allow_clear_text_beyond_loopback: allowed?,
        max_message_bytes: max_message_bytes?.value,
        max_concurrent_calls: max_concurrent_calls?.value,
        calls_per_second_per_principal: calls_per_second?.value,
        call_burst_per_principal: burst?.value,
        shutdown_grace: shutdown_grace?.value,
    })
}

fn listen(section: &Section<'_>, has_tls: bool, allowed: Option<bool>) -> Option<SocketAddr> {
    let text = section.text("listen")?;
    let reader = section.reader;
    let address = address(reader, &text, "127.0.0.1:7440 or [::]:7440")?;
    if has_tls || address.ip().to_canonical().is_loopback() {
        return Some(address);
    }
    if allowed? {
        reader.warn(
            &text.at,
            "passwords and tokens cross the network in clear text: anybody on the way can read them",
        );
        return Some(address);
    }
    reader.complain(
        &text.at,
        "beyond loopback Mayfly does not speak clear text: add [server.tls], listen on 127.0.0.1, or, when something in \
         front of it speaks TLS, set allow_clear_text_beyond_loopback = true",
    );
    None
}

fn address(reader: &Reader<'_>, text: &Located<String>, such_as: &str) -> Option<SocketAddr> {
    let parsed = text.value.parse::<SocketAddr>().ok();
    if parsed.is_none() {
        let message = format!("{} is not an address and port, such as {such_as}", quoted(&text.value));
        reader.complain(&text.at, message);
    }
    parsed
}

/// What is wrong here is complained of, so that the file is refused.
pub(super) fn metrics(section: &Section<'_>) -> Option<MetricsSettings> {
    let (text, allowed) = (section.text("listen"), section.flag("allow_beyond_loopback"));
    let text = text?;
    let listen = address(section.reader, &text, "127.0.0.1:9464 or [::1]:9464")?;
    if !listen.ip().to_canonical().is_loopback() && !allowed? {
        section.reader.complain(
            &text.at,
            "beyond loopback anybody who can connect sees which targets and roles there are, and how much they are used: \
             listen on 127.0.0.1, or set allow_beyond_loopback = true",
        );
        return None;
    }
    Some(MetricsSettings { listen })
}

fn server_tls(section: &Section<'_>) -> Option<ServerTls> {
    let certificate_file = pem(section, "certificate_file", Pem::Certificates);
    let key_file = pem(section, "key_file", Pem::PrivateKey);
    let named = section.written("client_ca_file").is_some();
    let ca_file = pem(section, "client_ca_file", Pem::Certificates);
    let required = section.flag("require_client_certificate");
    if !named {
        section.refuse(
            "require_client_certificate",
            "needs client_ca_file: certificates are verified against it",
        );
    }
    let clients = match (named, ca_file) {
        (true, ca_file) => Some(ClientCertificates { ca_file: ca_file?, required: required.unwrap_or(true) }),
        (false, _) => None,
    };
    Some(ServerTls { certificate_file: certificate_file?, key_file: key_file?, clients })
}

pub(super) fn audit(section: &Section<'_>, store: Option<&StoreSettings>) -> AuditSettings {
    let file = section.path("file");
    if let (Some(file), Some(store)) = (&file, store)
        && store.path() == Some(&file.value)
    {
        section.reader.complain(&file.at, "is the store's file; name another");
    }
    AuditSettings { file: file.map(|file| file.value) }
}

pub(super) fn bootstrap(section: &Section<'_>) -> BootstrapSettings {
    let (file, reader) = (section.path("administrator_token_file"), section.reader);
    if let Some(file) = &file {
        secret::warn_if_exposed(reader, file);
        // Needed once: later, to have removed it is the tidy thing to have done.
        match secret::read_secret(reader.environment, &file.value) {
            Ok(_) => {}
            Err(SecretFileError::Unreadable(_)) => {
                reader.warn(&file.at, "cannot be read; it is needed only as long as the store is empty");
            }
            Err(error) => reader.complain(&file.at, secret::about(file, &error)),
        }
    }
    BootstrapSettings { administrator_token_file: file.map(|file| file.value) }
}

pub(super) fn log(section: &Section<'_>) -> Option<LogSettings> {
    let (level, format) = (section.choice("level"), section.choice("format"));
    Some(LogSettings {
        level: match level?.value.as_str() {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            _ => LogLevel::Info,
        },
        format: if format?.value == "json" { LogFormat::Json } else { LogFormat::Text },
    })
}
