//! One server per engine and test process, started when the first test asks for it.

use std::env;

use mayfly::{
    domain::Engine,
    random::{Random, SystemRandom},
    sandbox::{Binaries, Locations, Sample, SampleNames, Server, ServerSpec},
};
use tokio::sync::OnceCell;

/// A failure to start is kept as well: the next test need not wait for the next one.
type Shared = OnceCell<Result<Server, String>>;

static POSTGRES: Shared = Shared::const_new();
static MYSQL: Shared = Shared::const_new();
static MARIADB: Shared = Shared::const_new();

/// Whether `MAYFLY_TEST_ENGINES` lets tests of an engine run.
#[expect(clippy::print_stderr, reason = "a test that did not run says so, under --nocapture")]
pub(crate) fn is_wanted(engine: Engine) -> bool {
    let Ok(wanted) = env::var("MAYFLY_TEST_ENGINES") else { return true };
    let known = [Engine::Postgres, Engine::Mysql, Engine::Mariadb].map(Engine::as_str);
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
    for name in &wanted {
        assert!(known.contains(name), "MAYFLY_TEST_ENGINES names {name:?}; known are {known:?}");
    }
    let is_wanted = wanted.contains(&engine.as_str());
    if !is_wanted {
        eprintln!("not run: MAYFLY_TEST_ENGINES leaves out {engine}");
    }
    is_wanted
}

async fn start(engine: Engine) -> Result<Server, String> {
    let binaries =
        Binaries::find(engine, &Locations::from_environment()).map_err(|error| error.to_string())?;
    Server::start(ServerSpec::new(binaries), &SystemRandom)
        .await
        .map_err(|error| format!("{error}: {error:?}"))
}

/// The server all tests of this process share; `None` when this engine is not to be tested. It belongs to no runtime,
/// so it does not matter whose test started it.
pub(crate) async fn shared_server(engine: Engine) -> Option<&'static Server> {
    if !is_wanted(engine) {
        return None;
    }
    let cell = match engine {
        Engine::Postgres => &POSTGRES,
        Engine::Mysql => &MYSQL,
        Engine::Mariadb => &MARIADB,
    };
    match cell.get_or_init(|| start(engine)).await {
        Ok(server) => Some(server),
        Err(error) => panic!("{error}"),
    }
}

/// A server of the test's own, to be stopped, crashed, restarted or configured as the test likes (`adjust` may change
/// the specification); `None` when this engine is not to be tested.
pub(crate) async fn own_server(engine: Engine, adjust: impl FnOnce(&mut ServerSpec)) -> Option<Server> {
    if !is_wanted(engine) {
        return None;
    }
    let binaries = Binaries::find(engine, &Locations::from_environment()).unwrap();
    let mut spec = ServerSpec::new(binaries);
    adjust(&mut spec);
    Some(Server::start(spec, &SystemRandom).await.unwrap())
}

/// A sample whose names nobody else has.
pub(super) async fn fresh_sample(server: &Server) -> Sample {
    let suffix = format!("{:08x}", SystemRandom.bits() >> 32);
    Sample::install(server, SampleNames::with_suffix(&suffix), &SystemRandom)
        .await
        .unwrap_or_else(|error| panic!("{error}: {error:?}"))
}
