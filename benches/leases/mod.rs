//! A store with a million live leases and many more that ended: what starting, issuing, renewing, looking and revoking take there, beside
//! an empty store of the same kind in the same rounds. Both kinds of store.

mod fill;
mod look;
mod peers;
mod start;

use std::path::Path;

use mayfly::{
    domain::Engine,
    random::SystemRandom,
    sandbox::{Binaries, Durability, Server, ServerSpec},
};

use self::{fill::Size, peers::Peers, start::Program};
use super::frame::{self, Figure, Kind, Options, Outcome, Report, Setup, World};

/// What is issued: the cheapest credential, so that the store counts for as much as it can.
const KIND: Kind =
    Kind { name: "postgres.scram-1", role: "bench-1", engine: Engine::Postgres, iterations: 1 };

/// Callers that issue while much is revoked.
const CALLERS: usize = 4;

/// A full store and an empty one of the same kind.
struct Place<'a> {
    /// Their kind, in figures.
    name: &'static str,
    /// The lines of `[store]` for either.
    full: String,
    empty: String,
    kind: Kept<'a>,
}

/// Where stores are kept.
enum Kept<'a> {
    Files(&'a Path, &'a Path),
    Schemas(&'a Server),
}

/// The schemas.
const FULL: &str = "mayfly";
const EMPTY: &str = "mayfly_empty";

impl Place<'_> {
    /// After others started on them: the next is to be the first again.
    async fn forget_tokens(&self) -> Outcome<()> {
        match self.kind {
            Kept::Files(full, empty) => [full, empty].into_iter().try_for_each(fill::forget_tokens_in_file),
            Kept::Schemas(server) => {
                for schema in [FULL, EMPTY] {
                    fill::forget_tokens_on_server(server, schema).await?;
                }
                Ok(())
            }
        }
    }
}

/// Measures it, store by store.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    let Some(binaries) = frame::binaries(Engine::Postgres, report) else { return Ok(()) };
    let size = Size::of(options);
    let directory = tempfile::tempdir()?;
    if options.measures("sqlite") {
        let (path, empty) = (directory.path().join("full.db"), directory.path().join("empty.db"));
        fill::sqlite(&path, size).await?;
        let place = Place {
            name: "sqlite",
            full: format!("path = \"{}\"", path.display()),
            empty: format!("path = \"{}\"", empty.display()),
            kind: Kept::Files(&path, &empty),
        };
        let before = look::of_file(&path, options).await?;
        measure_store(&binaries, &place, before, options, report).await?;
    }
    if options.measures("postgres") {
        let spec = ServerSpec { durability: Durability::Full, ..ServerSpec::new(binaries.clone()) };
        let server = Server::start(spec, &SystemRandom).await?;
        fill::postgres(&server, size).await?;
        let password = directory.path().join("store-password");
        frame::write_private(&password, server.administrator().password.expose())?;
        let place = Place {
            name: "postgres",
            full: of_server(&server, &password, FULL),
            empty: of_server(&server, &password, EMPTY),
            kind: Kept::Schemas(&server),
        };
        let before = look::of_server(&server, options).await?;
        measure_store(&binaries, &place, before, options, report).await?;
        server.stop().await?;
    }
    Ok(())
}

/// The lines of `[store]` for a schema on a server.
fn of_server(server: &Server, password: &Path, schema: &str) -> String {
    format!(
        "postgres = \"postgres://{}@127.0.0.1:{}/postgres\"\npassword_file = \"{password}\"\nschema = \"{schema}\"\nreplica = \"bench\"\n\
         [store.tls]\nmode = \"disable\"",
        server.administrator().user,
        server.port(),
        password = password.display(),
    )
}

/// What issues from a store.
fn setup(store: &str) -> Setup<'_> {
    Setup { kinds: &[KIND], callers: CALLERS, store, ..Setup::default() }
}

async fn measure_store(
    binaries: &Binaries,
    place: &Place<'_>,
    looked: Vec<Figure>,
    options: &Options,
    report: &mut Report,
) -> Outcome<()> {
    for figure in looked {
        report.add(figure);
    }
    let named = |what: &str| format!("leases.{}.{what}", place.name);
    frame::say(&format!("leases: {}, starting", place.name));
    let (mut starts, mut sizes, mut empty_sizes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds.min(3) {
        let full = Program::start(&place.full).await?;
        starts.push(full.took.as_secs_f64());
        sizes.push(full.stop().await?);
        empty_sizes.push(Program::start(&place.empty).await?.stop().await?);
    }
    report.add(Figure::of(named("start"), "s", &starts, &[]).at_most(1.0));
    report.add(Figure::of(named("resident"), "MB", &sizes, &empty_sizes).at_most(200.0));

    place.forget_tokens().await?;
    let full = World::start(binaries.clone(), setup(&place.full)).await?;
    let empty = World::start(binaries.clone(), setup(&place.empty)).await?;
    let mut peers = Peers::of(&full, &empty).await?;
    frame::say(&format!("leases: {}, issuing and renewing", place.name));
    for figure in peers.compare(options, &named).await? {
        report.add(figure);
    }
    frame::say(&format!("leases: {}, revoking", place.name));
    for figure in peers.revoke(options, &named).await? {
        report.add(figure);
    }
    full.stop().await?;
    empty.stop().await
}
