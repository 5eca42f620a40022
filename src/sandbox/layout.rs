//! Where a server lives, and the files we put there for it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::identity::Identity;

/// The certificate a server shows, in PEM files that need not be readable for the user it runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Its certificate chain.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// Who signs clients' certificates. On PostgreSQL everybody but the administrator must then show one; on MySQL and
    /// MariaDB the accounts say who must.
    pub client_authority: Option<PathBuf>,
}

/// Where a server lives.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) directory: PathBuf,
    pub(super) port: u16,
    pub(super) identity: Identity,
}

impl Layout {
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Writes a file that only the server's user can read.
    pub(super) fn write(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        fs::write(path, b"")?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        fs::write(path, contents)?;
        self.identity.own(path)
    }

    /// Brings the certificate files to where, and so that, the server can read them.
    pub(super) fn install_tls(&self, tls: Option<&ServerTls>) -> io::Result<()> {
        let Some(tls) = tls else { return Ok(()) };
        self.write(&self.certificate(), &fs::read(&tls.certificate)?)?;
        self.write(&self.key(), &fs::read(&tls.key)?)?;
        match &tls.client_authority {
            Some(authority) => self.write(&self.client_authority(), &fs::read(authority)?),
            None => Ok(()),
        }
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.directory.join("server.crt")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.directory.join("server.key")
    }

    pub(super) fn client_authority(&self) -> PathBuf {
        self.directory.join("clients.crt")
    }
}
