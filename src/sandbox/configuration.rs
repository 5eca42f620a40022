//! The configuration of a trial installation: the one that `mayfly dev` and `mayfly demo` serve, and that documents show.

use std::{fmt::Write as _, net::SocketAddr};

use super::sample::SampleNames;
use crate::domain::Engine;

/// The file that holds the configuration; everything it names is beside it.
pub(super) const CONFIGURATION: &str = "mayfly.toml";
/// The file that holds the first administrator's token.
pub(super) const ADMINISTRATOR_TOKEN: &str = "administrator.token";
/// The file audit records are written to as JSON lines.
pub(super) const AUDIT_LOG: &str = "audit.jsonl";

/// The directory of the policies.
pub(super) const POLICIES: &str = "policies";

/// The starter policies, each under its file's name.
pub(super) const STARTER: [(&str, &str); 6] = [
    ("apps.cedar", include_str!("../../policies/apps.cedar")),
    ("break-glass.cedar", include_str!("../../policies/break-glass.cedar")),
    ("ci.cedar", include_str!("../../policies/ci.cedar")),
    ("contractors.cedar", include_str!("../../policies/contractors.cedar")),
    ("developers.cedar", include_str!("../../policies/developers.cedar")),
    ("production.cedar", include_str!("../../policies/production.cedar")),
];

/// The file that holds the key second factors are sealed with.
pub(super) const SEALING_KEY: &str = "sealing.key";

/// The keys of the identity provider of CI jobs.
pub(super) const PROVIDER_KEYS: &str = "ci-keys.json";

/// Who that provider says it is.
pub(super) const PROVIDER: &str = "https://ci.invalid";

/// Roles that others have to agree to, or that CI jobs get by policy; on PostgreSQL only, to keep the trial small.
const AGREED: &str = r#"
[sealing]
key_file = "sealing.key"

# CI jobs: who they are is said by an identity provider, by a JWT for each job that is good once.
[identity.ci]
issuer = "https://ci.invalid"
audiences = ["mayfly"]
algorithms = ["ES256"]
jwks_file = "ci-keys.json"
principal = "repo:{repository}:{ref}"
groups = ["ci"]
attributes = { repository = "repository", ref = "ref" }
bound_claims = { repository = "shop/orders" }
replay = "once"

[[approvals.colleague.steps]]
name = "colleague"
reviewers = ["group:developers"]

[roles.orders-fix]
target = "orders"
description = "Change the orders, once a colleague agrees"
member_of = ["WRITE"]
default_ttl = "30m"
max_ttl = "1h"
owned_objects = "drop"
allow = ["group:developers"]
approval = "colleague"

# An account that there is once: one holder at a time, and the others wait.
[roles.orders-batch]
target = "orders"
description = "The batch account, for one at a time"
kind = "checkout"
account = "batch"
max_ttl = "1h"
allow = ["group:developers"]

# Who else gets these is said by the policies.
[roles.orders-guest-read]
target = "orders"
description = "Read the orders, for contractors"
member_of = ["READ"]
max_ttl = "4h"
owned_objects = "drop"
approval = "colleague"

[roles.orders-migrate]
target = "orders"
description = "Migrate the orders, for CI jobs"
member_of = ["WRITE"]
default_ttl = "10m"
max_ttl = "30m"
owned_objects = "drop"
"#;

/// A target of a trial installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialTarget {
    /// What kind of server it is; this decides the target's name.
    pub engine: Engine,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl TrialTarget {
    /// `orders` on PostgreSQL, `stock` on MySQL and MariaDB.
    pub fn name(&self) -> &'static str {
        match self.engine {
            Engine::Postgres => "orders",
            Engine::Mysql | Engine::Mariadb => "stock",
        }
    }

    /// The file that holds the password of Mayfly's account.
    pub(super) fn password_file(&self) -> String {
        format!("{}.password", self.name())
    }
}

/// A configuration for the sample of [`super::Sample`] with its usual names. Passwords and tokens are in files beside it.
///
/// The group `developers` may use every role; the starter policies are beside it, and see targets labelled as development.
pub fn trial_configuration(listen: SocketAddr, targets: &[TrialTarget]) -> String {
    let mut text = format!(
        "# A trial of Mayfly on throwaway databases; docs/configuration.md explains every key.\n\
         # Relative paths start at the directory of this file.\n\
         \n\
         [server]\n\
         listen = \"{listen}\"\n\
         shutdown_grace = \"5s\"\n\
         \n\
         [store]\n\
         path = \"mayfly.db\"\n\
         \n\
         [audit]\n\
         file = \"{AUDIT_LOG}\"\n\
         \n\
         [bootstrap]\n\
         administrator_token_file = \"{ADMINISTRATOR_TOKEN}\"\n\
         \n\
         [log]\n\
         level = \"warn\"\n\
         \n\
         [policy]\n\
         directory = \"{POLICIES}\"\n"
    );
    for target in targets {
        section(&mut text, target, &SampleNames::default());
    }
    if targets.iter().any(|target| target.engine == Engine::Postgres) {
        let SampleNames { read, write, .. } = SampleNames::default();
        text.push_str(&AGREED.replace("READ", &read).replace("WRITE", &write));
    }
    text
}

fn section(text: &mut String, target: &TrialTarget, names: &SampleNames) {
    let name = target.name();
    let (engine, port, file) = (target.engine, target.port, target.password_file());
    let SampleNames { database, administrator, read, write, owner, .. } = names;
    // MySQL makes itself a certificate, and its clients want TLS or a key exchange for the first login of an account.
    let tls = if engine == Engine::Mysql { "tls.mode = \"require\"\n" } else { "" };
    let (read_only, owned) = match engine {
        Engine::Postgres => (
            "settings = { statement_timeout = \"30s\" }\nowned_objects = \"drop\"\n",
            format!("owned_objects = \"reassign:{owner}\"\n"),
        ),
        Engine::Mysql | Engine::Mariadb => ("", "owned_objects = \"drop\"\n".to_owned()),
    };
    // Writing into a string cannot fail.
    let _ = write!(
        text,
        "\n\
         [targets.{name}]\n\
         engine = \"{engine}\"\n\
         hosts = [\"127.0.0.1:{port}\"]\n\
         database = \"{database}\"\n\
         user = \"{administrator}\"\n\
         password_file = \"{file}\"\n\
         labels = {{ environment = \"development\", sensitivity = \"low\", repository = \"shop/{name}\" }}\n\
         {tls}\
         \n\
         [roles.{name}-read]\n\
         target = \"{name}\"\n\
         description = \"Read the {name}\"\n\
         member_of = [\"{read}\"]\n\
         default_ttl = \"15m\"\n\
         max_ttl = \"8h\"\n\
         {read_only}\
         allow = [\"group:developers\"]\n\
         \n\
         [roles.{name}-write]\n\
         target = \"{name}\"\n\
         description = \"Change the {name}\"\n\
         member_of = [\"{write}\"]\n\
         default_ttl = \"5m\"\n\
         max_ttl = \"1h\"\n\
         {owned}\
         allow = [\"group:developers\"]\n"
    );
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::{
        config::{Config, SystemEnvironment},
        domain::TargetName,
        random::SeededRandom,
        sandbox::LocalIssuer,
        sealing::SealingKey,
    };

    #[test]
    fn it_is_accepted_without_a_warning_whatever_the_engines() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["orders.password", "stock.password", ADMINISTRATOR_TOKEN] {
            let file = directory.path().join(file);
            fs::write(&file, "secret\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::create_dir(directory.path().join(POLICIES)).unwrap();
        for (name, text) in STARTER {
            fs::write(directory.path().join(POLICIES).join(name), text).unwrap();
        }
        fs::write(directory.path().join(SEALING_KEY), SealingKey::draw(&SeededRandom::new(1)).as_bytes())
            .unwrap();
        fs::set_permissions(directory.path().join(SEALING_KEY), fs::Permissions::from_mode(0o600)).unwrap();
        let provider = LocalIssuer::generate(PROVIDER, "trial").unwrap();
        provider.write_key_set(&directory.path().join(PROVIDER_KEYS)).unwrap();
        let target = |engine| TrialTarget { engine, port: 15_432 };
        let listen: SocketAddr = "127.0.0.1:7440".parse().unwrap();
        for engines in [
            vec![Engine::Postgres, Engine::Mariadb],
            vec![Engine::Postgres, Engine::Mysql],
            vec![Engine::Postgres],
            vec![Engine::Mariadb],
            vec![Engine::Mysql],
        ] {
            let targets: Vec<TrialTarget> = engines.iter().copied().map(target).collect();
            let text = trial_configuration(listen, &targets);
            let loaded =
                Config::parse(&text, &directory.path().join(CONFIGURATION), &SystemEnvironment).unwrap();
            assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
            assert_eq!(loaded.config.server.listen, listen);
            let names: Vec<&str> = loaded.config.targets.keys().map(TargetName::as_str).collect();
            assert_eq!(names, targets.iter().map(TrialTarget::name).collect::<Vec<_>>());
            let agreed = if engines.contains(&Engine::Postgres) { 4 } else { 0 };
            assert_eq!(loaded.config.roles.len(), 2 * engines.len() + agreed);
        }
    }
}
