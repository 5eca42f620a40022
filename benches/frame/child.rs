//! `mayfly serve` as a process of its own, as it is in service: what it takes can be read from the system, and callers are not in it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mayfly::{
    api::proto::{
        CreateTokenRequest, PrincipalKind, lease_service_client::LeaseServiceClient,
        token_service_client::TokenServiceClient,
    },
    domain::Engine,
    identity::ApiToken,
    random::SystemRandom,
    sandbox::{Binaries, Durability, Sample, SampleNames, Server, ServerSpec},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use tonic::{
    Request,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{Line, Outcome, line::bearer, measure::moment, world};

/// The program under test, as optimised as the benchmark itself.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mayfly");

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Database servers, and a directory with the configuration of a Mayfly in front of them.
pub(crate) struct Site {
    /// The servers; the first one's target is `target-0`, and its role `role-0`.
    pub(crate) servers: Vec<Server>,
    directory: TempDir,
    authority: String,
    administrator: ApiToken,
}

/// A Mayfly that runs.
pub(crate) struct Serving {
    process: Child,
    address: String,
    /// From its start until it served.
    pub(crate) took: Duration,
}

impl Site {
    /// A server each, with a target and a role; `role` has more lines of every role.
    pub(crate) async fn build(binaries: Vec<Binaries>, role: &str) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let authority = world::certificates(directory.path())?;
        let administrator = ApiToken::generate(&SystemRandom);
        world::write_private(&directory.path().join("administrator.token"), administrator.expose())?;
        let (mut servers, mut text) = (Vec::new(), [world::SERVER, GENERAL].concat());
        for (number, binaries) in binaries.into_iter().enumerate() {
            let spec = ServerSpec { durability: Durability::Full, ..ServerSpec::new(binaries) };
            let server = Server::start(spec, &SystemRandom).await?;
            let sample = Sample::install(&server, SampleNames::default(), &SystemRandom).await?;
            let password = directory.path().join(format!("target-{number}.password"));
            world::write_private(&password, sample.administrator.password.expose())?;
            describe(&mut text, number, &server, &sample, role)?;
            servers.push(server);
        }
        fs::write(directory.path().join("mayfly.toml"), text)?;
        Ok(Self { servers, directory, authority, administrator })
    }

    /// Starts a Mayfly, and waits until it serves.
    pub(crate) async fn serve(&self) -> Outcome<Serving> {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--config"]).arg(self.path("mayfly.toml")).env("HOME", self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let began = moment();
        let mut process = command.spawn()?;
        let logs = process.stderr.take().ok_or("no standard error")?;
        let mut lines = BufReader::new(logs).lines();
        let mut address = None;
        let started = async {
            while let Some(line) = lines.next_line().await? {
                let said: Value = serde_json::from_str(&line)?;
                match said.get("message").and_then(Value::as_str) {
                    Some("listening") => {
                        address = said.get("address").and_then(Value::as_str).map(str::to_owned);
                    }
                    Some("serving") => return Ok(began.elapsed()),
                    _ => {}
                }
            }
            Err("the server ended before it served".into())
        };
        let took: Outcome<Duration> = tokio::time::timeout(PATIENCE, started).await?;
        let took = took?;
        // What it says further on is read, so that it never waits for a reader, and nobody needs it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let address = format!("https://{}", address.ok_or("it does not say where it listens")?);
        Ok(Serving { process, address, took })
    }

    /// A connection to it.
    pub(crate) async fn channel(&self, serving: &Serving) -> Outcome<Channel> {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority));
        let endpoint = Endpoint::from_shared(serving.address.clone())?;
        Ok(endpoint.tcp_nodelay(true).tls_config(tls)?.connect().await?)
    }

    /// A connection for leases.
    pub(crate) async fn leases(&self, serving: &Serving) -> Outcome<LeaseServiceClient<Channel>> {
        Ok(LeaseServiceClient::new(self.channel(serving).await?))
    }

    /// A token of a principal of that name.
    pub(crate) async fn token(&self, serving: &Serving, principal: &str) -> Outcome<String> {
        let mut request = Request::new(CreateTokenRequest {
            principal: principal.to_owned(),
            principal_kind: PrincipalKind::Workload.into(),
            ..CreateTokenRequest::default()
        });
        request.metadata_mut().insert("authorization", bearer(self.administrator.expose())?);
        let mut client = TokenServiceClient::new(self.channel(serving).await?);
        Ok(client.create_token(request).await?.into_inner().secret)
    }

    /// A command against it, with a token.
    pub(crate) fn command(&self, serving: &Serving, token: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--ca-file").arg(self.path("ca.crt")).env("HOME", self.directory.path());
        command.env("MAYFLY_ADDRESS", &serving.address).env("MAYFLY_TOKEN", token);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The administrator's line to the first server.
    pub(crate) async fn administrator(&self) -> Outcome<Line> {
        let server = self.servers.first().ok_or("there is no server")?;
        Line::to_server(server, server.administrator()).await
    }

    /// Ends the servers.
    pub(crate) async fn stop(self) -> Outcome<()> {
        for server in self.servers {
            server.stop().await?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Serving {
    /// Its `/proc/PID`.
    pub(crate) fn proc(&self) -> Outcome<PathBuf> {
        Ok(Path::new("/proc").join(self.process.id().ok_or("it has ended")?.to_string()))
    }

    /// What it has in memory, in MiB: all of it, and what of that is its own, the program's file left out.
    pub(crate) fn resident(&self) -> Outcome<(f64, f64)> {
        let status = fs::read_to_string(self.proc()?.join("status"))?;
        let of = |name: &str| -> Outcome<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
            let number = line.trim_start_matches(':').split_whitespace().next().ok_or("no number")?;
            Ok(number.parse::<f64>()? / 1024.0)
        };
        Ok((of("VmRSS")?, of("RssAnon")?))
    }

    /// Stops it in good order.
    pub(crate) async fn stop(mut self) -> Outcome<()> {
        let id = i32::try_from(self.process.id().ok_or("it has ended")?)?;
        kill_process(Pid::from_raw(id).ok_or("no process")?, Signal::TERM)?;
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("the server ended with {status}").into()) }
    }
}

const GENERAL: &str = r#"
[store]
path = "mayfly.db"
[bootstrap]
administrator_token_file = "administrator.token"
[log]
format = "json"
"#;

fn describe(text: &mut String, number: usize, server: &Server, sample: &Sample, role: &str) -> Outcome<()> {
    let names = &sample.names;
    // MySQL's accounts are made over TLS, or with a key exchange.
    let tls = if server.engine() == Engine::Mysql { "require" } else { "disable" };
    write!(
        text,
        r#"
[targets.target-{number}]
engine = "{engine}"
hosts = ["127.0.0.1:{port}"]
database = "{database}"
user = "{user}"
password_file = "target-{number}.password"
tls.mode = "{tls}"
[roles.role-{number}]
target = "target-{number}"
member_of = ["{group}"]
connection_limit = 5
owned_objects = "drop"
leases_per_principal = 1000000
leases_total = 10000000
allow = ["kind:workload"]
{role}
"#,
        engine = server.engine(),
        port = server.port(),
        database = names.database,
        user = sample.administrator.user,
        group = names.read,
    )?;
    Ok(())
}
