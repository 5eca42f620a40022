//! The statements Mayfly sends, made ahead, for the loop that has nothing else to do.
//!
//! Every account has a verifier of its own, of the same form and cost as a real one, with random bytes where the keys are:
//! what a server does with a verifier does not depend on whether there is a password to it.

use std::sync::Arc;

use data_encoding::{BASE64, HEXUPPER};
use jiff::{SignedDuration, Timestamp};
use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::{AccountName, Engine, LeaseId},
    random::{Random as _, SystemRandom},
};

use super::{Kind, Outcome};

/// One account: its name, and the message that makes it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) account: String,
    pub(crate) message: String,
}

/// Who asks, in names and marks.
const PRINCIPAL: &str = "caller-00";

/// The jobs of a round. Every name in them is of letters, digits, `_` and `-`, so quotes are all the quoting there is.
pub(crate) fn jobs(kind: Kind, group: &str, count: usize) -> Outcome<Arc<[Job]>> {
    let now = SystemClock.now();
    let expiry = now + SignedDuration::from_hours(1);
    (0..count).map(|_| job(kind, group, (now, expiry))).collect()
}

fn job(kind: Kind, group: &str, (now, expiry): (Timestamp, Timestamp)) -> Outcome<Job> {
    let lease = LeaseId::new(now, SystemRandom.bits());
    let account = AccountName::compose(kind.engine, &kind.role.parse()?, &PRINCIPAL.parse()?, lease);
    let name = account.as_str();
    let message = match kind.engine {
        Engine::Postgres => on_postgres(kind, name, group, lease, expiry),
        Engine::Mysql => format!(
            "CREATE USER '{name}'@'%' IDENTIFIED WITH caching_sha2_password AS 0x{} DEFAULT ROLE `{group}` \
             WITH MAX_USER_CONNECTIONS 5 ATTRIBUTE \
             '{{\"mayfly\":{{\"lease\":\"{lease}\",\"principal\":\"{PRINCIPAL}\",\"role\":\"{}\"}}}}'",
            HEXUPPER.encode(format!("$A$005${}{}", letters(20), letters(43)).as_bytes()),
            kind.role
        ),
        Engine::Mariadb => format!(
            "CREATE USER '{name}'@'%' IDENTIFIED VIA mysql_native_password USING '*{}' \
             WITH MAX_USER_CONNECTIONS 5;\nGRANT `{group}` TO '{name}'@'%';\n\
             SET DEFAULT ROLE `{group}` FOR '{name}'@'%'",
            HEXUPPER.encode(&bytes::<20>())
        ),
    };
    Ok(Job { account: name.to_owned(), message })
}

fn on_postgres(kind: Kind, name: &str, group: &str, lease: LeaseId, expiry: Timestamp) -> String {
    format!(
        "CREATE ROLE \"{name}\" LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
         PASSWORD '{}' VALID UNTIL '{}+00' CONNECTION LIMIT 5 IN ROLE \"{group}\";\n\
         COMMENT ON ROLE \"{name}\" IS 'mayfly lease={lease} role={} requester=workload:{PRINCIPAL}'",
        scram_verifier(kind.iterations),
        expiry.strftime("%Y-%m-%d %H:%M:%S%.6f"),
        kind.role
    )
}

/// What PostgreSQL takes for a SCRAM verifier.
pub(crate) fn scram_verifier(iterations: u32) -> String {
    let (salt, stored, server) = (bytes::<16>(), bytes::<32>(), bytes::<32>());
    let [salt, stored, server] = [&salt[..], &stored[..], &server[..]].map(|part| BASE64.encode(part));
    format!("SCRAM-SHA-256${iterations}:{salt}${stored}:{server}")
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom.fill(&mut bytes);
    bytes
}

fn letters(count: usize) -> String {
    std::iter::repeat_with(|| char::from(b'a' + u8::try_from(SystemRandom.below(26)).unwrap_or(0)))
        .take(count)
        .collect()
}
