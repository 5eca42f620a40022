//! `[store]`.

use std::path::{Path, PathBuf};

use super::{
    reader::{Located, quoted},
    secret,
    section::Section,
    target,
};
use crate::{
    domain::Password,
    store::postgres::{Address, ReplicaName, SchemaName},
    target::TlsSettings,
};

/// Where Linux says what the host is called.
const HOST_NAME: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];

/// Where state is kept.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// In an SQLite file, for one process.
    File(PathBuf),
    /// In a PostgreSQL database, which several processes can share.
    Shared(Box<SharedStore>),
}

/// A store in a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct SharedStore {
    /// Where.
    pub address: Address,
    /// The account's password; `None` when the server asks for none (client certificate).
    pub password: Option<Password>,
    /// TLS towards it.
    pub tls: TlsSettings,
    /// The schema that holds the tables.
    pub schema: SchemaName,
    /// This process's name among those that share it.
    pub replica: ReplicaName,
}

impl StoreSettings {
    /// The SQLite file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            StoreSettings::File(path) => Some(path),
            StoreSettings::Shared(_) => None,
        }
    }
}

pub(super) fn store(section: &Section<'_>) -> Option<StoreSettings> {
    let (reader, path, place) = (section.reader, section.path("path"), section.text("postgres"));
    let shared = shared(section, place.as_ref());
    if let (Some(path), Some(_)) = (section.written("path"), section.written("postgres")) {
        reader
            .complain(&path, "postgres is written as well: state is kept in one place; keep one of the two");
        return None;
    }
    if place.is_some() || section.written("postgres").is_some() {
        return Some(StoreSettings::Shared(Box::new(shared?)));
    }
    for word in ["password", "password_file", "replica", "tls"] {
        section.refuse(word, "is for a store in PostgreSQL (postgres = \"…\") only");
    }
    if section.written("path").is_none() && !section.is_broken() {
        section.miss("path", "is missing: path, or postgres = \"postgres://USER@HOST:PORT/DATABASE\"");
    }
    Some(StoreSettings::File(path?.value))
}

fn shared(section: &Section<'_>, place: Option<&Located<String>>) -> Option<SharedStore> {
    let reader = section.reader;
    let address = place.and_then(|place| {
        let complain = |error| {
            // It may hold a password.
            let hidden = super::remark::Place { shown: super::remark::Shown::Keys, ..place.at.clone() };
            reader.complain(&hidden, format!("{error}"));
        };
        place.value.parse::<Address>().map_err(complain).ok()
    });
    let password = secret::password(section);
    let tls_section = section.child("tls");
    let tls = target::tls(&tls_section, address.as_ref().map(|address| address.hosts.as_slice()));
    let replica = replica(section, place.is_some());
    let schema = section.text("schema");
    let schema = schema.and_then(|schema| {
        let complain = |error| reader.complain(&schema.at, format!("{} {error}", quoted(&schema.value)));
        schema.value.parse::<SchemaName>().map_err(complain).ok()
    });
    let proven = section.written("password").is_some()
        || section.written("password_file").is_some()
        || tls_section.written("certificate_file").is_some();
    if let (Some(place), false) = (place, proven) {
        reader.complain(
            &place.at,
            "the account needs password_file = \"…\", password = \"env:NAME\" or a client certificate ([store.tls] \
             certificate_file and key_file)",
        );
    }
    Some(SharedStore { address: address?, password, tls: tls?, schema: schema?, replica: replica? })
}

fn replica(section: &Section<'_>, wanted: bool) -> Option<ReplicaName> {
    let reader = section.reader;
    if let Some(written) = section.text("replica") {
        let complain = |error| reader.complain(&written.at, format!("{} {error}", quoted(&written.value)));
        return written.value.parse().map_err(complain).ok();
    }
    if !wanted || section.written("replica").is_some() {
        return None;
    }
    let name = HOST_NAME.iter().find_map(|file| reader.environment.read(Path::new(file)).ok());
    let name = name.and_then(|name| name.trim().parse().ok());
    if name.is_none() {
        section.miss("replica", "is missing: the host has no name that can stand in for it");
    }
    name
}
