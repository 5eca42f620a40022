//! What the gRPC face needs to be told.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::rate::Rate;

/// The gRPC face, as configured.
#[derive(Debug, Clone)]
pub struct GrpcSettings {
    /// Where to listen; port 0: any free one.
    pub listen: SocketAddr,
    /// Serve without TLS even where others than this machine can connect.
    pub allow_clear_text_beyond_loopback: bool,
    /// Bytes a request may have. Replies have up to 4 MiB, the most a client takes unless told otherwise.
    pub max_message_bytes: usize,
    /// Calls worked on at once; further ones are refused, not queued.
    pub max_concurrent_calls: usize,
    /// How often one principal may call; `None`: as often as it likes.
    pub rate_per_principal: Option<Rate>,
    /// How long calls under way may take to finish when the server is told to stop; then they are cut off.
    pub shutdown_grace: Duration,
    /// TLS; `None`: clear text.
    pub tls: Option<TlsFiles>,
}

/// TLS for callers, from PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its authority.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// The authorities whose client certificates are accepted.
    pub client_ca_file: Option<PathBuf>,
    /// Refuse callers without a client certificate. Needs `client_ca_file`.
    pub require_client_certificate: bool,
}
