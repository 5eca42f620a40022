//! `docker-compose.yml` with `deploy/mayfly.toml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env::VarError,
    io,
    path::Path,
};

use mayfly::config::{Config, Environment, FileFacts, Loaded};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{image, path, read, secrets};

const CONFIGURATION: &str = "/etc/mayfly/mayfly.toml";

/// YAML as JSON, which is easier to look into.
fn json(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        Yaml::Value(Scalar::Boolean(flag)) => Value::from(*flag),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(entries) => {
            entries.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), json(value))).collect()
        }
        other => panic!("unexpected in docker-compose.yml: {other:?}"),
    }
}

fn compose() -> Value {
    json(&Yaml::load_from_str(&read("docker-compose.yml")).unwrap()[0])
}

fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"].as_object().unwrap().iter()
}

fn texts(node: &Value) -> Vec<String> {
    node.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn keys(node: &Value) -> BTreeSet<String> {
    node.as_object().unwrap().keys().cloned().collect()
}

/// What a service mounts: source and place.
fn mounts(service: &Value) -> Vec<(String, String)> {
    let parts = |text: String| {
        let mut parts = text.split(':').map(str::to_owned);
        (parts.next().unwrap(), parts.next().unwrap())
    };
    texts(&service["volumes"]).into_iter().map(parts).collect()
}

/// What a service publishes: the port on this machine and the port inside.
fn published(service: &Value) -> Vec<(u16, u16)> {
    let ports = |text: String| {
        let inner =
            text.strip_prefix("127.0.0.1:").unwrap_or_else(|| panic!("{text} is not on loopback only"));
        let (outside, inside) = inner.split_once(':').unwrap();
        (outside.parse().unwrap(), inside.parse().unwrap())
    };
    texts(&service["ports"]).into_iter().map(ports).collect()
}

/// The machine as the container would find it: nothing but its own secrets, which orchestrators make readable.
struct Container {
    secrets: BTreeMap<String, String>,
}

impl Container {
    fn secret(&self, path: &Path) -> io::Result<&String> {
        let name = path.strip_prefix("/run/secrets").ok().and_then(Path::to_str);
        name.and_then(|name| self.secrets.get(name)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Environment for Container {
    fn variable(&self, _: &str) -> Result<String, VarError> {
        Err(VarError::NotPresent)
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        self.secret(path).map(|secret| Zeroizing::new(secret.clone()))
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        self.secret(path).map(|_| FileFacts { mode: 0o644, is_link: false })
    }
}

fn configuration(compose: &Value) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    let mut secrets = secrets::made_in(directory.path());
    let granted = texts(&compose["services"]["mayfly"]["secrets"]);
    secrets.retain(|name, _| granted.contains(name));
    let container = Container { secrets };
    Config::parse(&read("deploy/mayfly.toml"), Path::new(CONFIGURATION), &container)
        .unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

#[test]
fn every_file_it_names_exists() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for (source, _) in mounts(service).iter().filter(|(source, _)| source.starts_with('.')) {
            assert!(path(source).is_file(), "{name} mounts {source}, which does not exist");
        }
        let context = service["build"].as_str();
        assert!(context.is_none_or(|context| path(context).join("Dockerfile").is_file()), "{name}");
    }
}

#[test]
fn volumes_and_secrets_are_declared_used_and_made() {
    let compose = compose();
    let (mut volumes, mut granted) = (BTreeSet::new(), BTreeSet::new());
    for (_, service) in services(&compose) {
        volumes.extend(mounts(service).into_iter().map(|(source, _)| source).filter(|s| !s.starts_with('.')));
        granted.extend(texts(&service["secrets"]));
    }
    assert_eq!(volumes, keys(&compose["volumes"]));
    assert_eq!(granted, keys(&compose["secrets"]));
    let directory = tempfile::tempdir().unwrap();
    let made: BTreeSet<String> = secrets::made_in(directory.path()).into_keys().collect();
    assert_eq!(granted, made);
    for (name, secret) in compose["secrets"].as_object().unwrap() {
        assert_eq!(secret["file"], format!("./deploy/secrets/{name}"));
    }
    assert!(read(".gitignore").lines().any(|line| line == "/deploy/secrets/"));
}

#[test]
fn every_service_is_granted_the_secrets_it_reads() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let granted = texts(&service["secrets"]);
        let scripts = mounts(service).into_iter().filter(|(source, _)| source.starts_with('.'));
        let mut said: String = scripts.map(|(source, _)| read(&source)).collect();
        said.push_str(&service["environment"].to_string());
        let named = said.split("/run/secrets/").skip(1);
        let read: BTreeSet<&str> = named
            .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap())
            .collect();
        assert_eq!(read, granted.iter().map(String::as_str).collect(), "{name}");
    }
}

#[test]
fn mayfly_waits_for_databases_that_say_when_they_are_ready() {
    let compose = compose();
    let awaited = &compose["services"]["mayfly"]["depends_on"];
    for (name, service) in services(&compose).filter(|(name, _)| *name != "mayfly") {
        assert_eq!(awaited[name]["condition"], "service_healthy", "{name}");
        assert_eq!(service["healthcheck"]["test"][0], "CMD", "{name}");
    }
}

#[test]
fn the_configuration_is_valid_and_doubtful_only_where_it_says_so() {
    let loaded = configuration(&compose());
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let expected = ["server.listen", "orders.tls.mode", "stock.tls.mode", "billing.tls.mode"];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, key) in warnings.iter().zip(expected) {
        assert!(warning.contains(key), "{warning} is not about {key}");
    }
}

#[test]
fn the_configuration_points_at_the_services_and_clients_at_their_published_ports() {
    let compose = compose();
    let Config { server, targets, .. } = configuration(&compose).config;
    for target in targets.values() {
        let (host, port) = &target.hosts[0];
        let [(outside, inside)] = published(&compose["services"][host])[..] else {
            panic!("{host}: one port")
        };
        assert_eq!(*port, inside, "{host}");
        assert_eq!(target.client_hosts, [("127.0.0.1".to_owned(), outside)], "{host}");
        let image = compose["services"][host]["image"].as_str().unwrap();
        assert!(image.starts_with(&format!("{}:", target.engine)), "{host} runs {image}");
    }
    assert_eq!(targets.len(), services(&compose).count() - 1);
    let port = server.listen.port();
    assert_eq!(published(&compose["services"]["mayfly"]), [(port, port)]);
    assert_eq!(image::last("EXPOSE"), port.to_string());
}

#[test]
fn state_and_configuration_are_where_image_and_mounts_put_them() {
    let compose = compose();
    let mounts = mounts(&compose["services"]["mayfly"]);
    let volume = image::last("VOLUME");
    let at = |place: &str| mounts.iter().find(|(_, at)| at == place).map(|(source, _)| source.as_str());
    assert_eq!(at(CONFIGURATION), Some("./deploy/mayfly.toml"));
    assert_eq!(at(&volume), Some("mayfly-state"));
    assert_eq!(image::exec_form(&image::last("CMD")), ["serve", "--config", CONFIGURATION]);
    let Config { store, audit, .. } = configuration(&compose).config;
    assert!(store.path().is_some_and(|path| path.starts_with(&volume)));
    assert!(audit.file.is_some_and(|file| file.starts_with(&volume)));
}

#[test]
fn the_sample_is_the_one_the_sandbox_writes() {
    let compose = compose();
    let Config { roles, targets, .. } = configuration(&compose).config;
    for role in roles.values() {
        let engine = targets[&role.target].engine;
        let script = read(&format!("deploy/init/{engine}.sh"));
        for group in &role.member_of {
            let created =
                script.lines().any(|line| line.starts_with("CREATE ROLE") && line.contains(group.as_str()));
            assert!(created, "{}: deploy/init/{engine}.sh does not create {group}", role.name);
        }
    }
    let names = mayfly::sandbox::SampleNames::default();
    for engine in ["postgres", "mysql", "mariadb"] {
        let script = read(&format!("deploy/init/{engine}.sh"));
        for name in [&names.database, &names.read, &names.write, &names.administrator] {
            assert!(script.contains(name.as_str()), "deploy/init/{engine}.sh does not know {name}");
        }
    }
}

#[test]
fn the_image_bears_the_packages_version() {
    let image = compose()["services"]["mayfly"]["image"].as_str().unwrap().to_owned();
    assert_eq!(image, format!("mayfly:{}", env!("CARGO_PKG_VERSION")));
}
