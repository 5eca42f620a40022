//! The sandbox starts real servers, writes its sample, and leaves nothing behind.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use mayfly::{
    domain::Engine,
    random::SystemRandom,
    sandbox::{Binaries, Durability, Locations, SandboxError, Server, ServerSpec},
};
use mysql_async::prelude::Queryable;

use crate::support::{self, MyFixture, PgFixture, TestCertificates, eventually};

async fn leaves_nothing_when_stopped(engine: Engine) {
    let Some(server) = support::own_server(engine, |_| {}).await else { return };
    let (directory, port) = (server.directory().to_owned(), server.port());
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    server.stop().await.unwrap();
    assert!(!directory.exists());
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
}

#[tokio::test]
async fn postgres_leaves_nothing_when_stopped() {
    leaves_nothing_when_stopped(Engine::Postgres).await;
}

#[tokio::test]
async fn mariadb_leaves_nothing_when_stopped() {
    leaves_nothing_when_stopped(Engine::Mariadb).await;
}

#[tokio::test]
async fn mysql_leaves_nothing_when_stopped() {
    leaves_nothing_when_stopped(Engine::Mysql).await;
}

#[tokio::test]
async fn nothing_is_left_when_a_server_is_dropped() {
    let Some(server) = support::own_server(Engine::Postgres, |_| {}).await else { return };
    let directory = server.directory().to_owned();
    drop(server);
    eventually("the directory is gone", async || (!directory.exists()).then_some(())).await;
}

/// Names the directory in which [`holds_a_server_until_killed`] is to start a server.
const HOLD_IN: &str = "MAYFLY_TEST_HOLD_IN";
/// And of which engine.
const HOLD_ENGINE: &str = "MAYFLY_TEST_HOLD_ENGINE";

/// Not a test: the process that the tests below kill.
#[tokio::test]
async fn holds_a_server_until_killed() {
    let (Ok(parent), Ok(engine)) = (env::var(HOLD_IN), env::var(HOLD_ENGINE)) else { return };
    let engine = [Engine::Postgres, Engine::Mysql, Engine::Mariadb]
        .into_iter()
        .find(|known| known.as_str() == engine)
        .unwrap();
    let adjust = |spec: &mut ServerSpec| spec.parent = Some(PathBuf::from(&parent));
    let _server = support::own_server(engine, adjust).await.unwrap();
    fs::write(Path::new(&parent).join("started"), "").unwrap();
    std::future::pending::<()>().await;
}

fn hold(engine: Engine, parent: &Path) -> Child {
    // Root's servers run as nobody, who must be able to make a directory here.
    fs::set_permissions(parent, fs::Permissions::from_mode(0o1777)).unwrap();
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "sandbox::holds_a_server_until_killed"])
        .env(HOLD_IN, parent)
        .env(HOLD_ENGINE, engine.as_str())
        .env_remove("MAYFLY_TEST_ENGINES")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn directory_in(parent: &Path) -> Option<PathBuf> {
    fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir())
}

async fn leaves_nothing_when_killed(engine: Engine) {
    if support::shared_server(engine).await.is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let mut holder = hold(engine, parent.path());
    eventually("the server runs", async || parent.path().join("started").exists().then_some(())).await;
    let directory = directory_in(parent.path()).unwrap();
    let server: i32 = fs::read_to_string(directory.join("pid")).unwrap().trim().parse().unwrap();
    let server = rustix::process::Pid::from_raw(server).unwrap();
    assert!(rustix::process::test_kill_process(server).is_ok());
    holder.kill().unwrap();
    holder.wait().unwrap();
    eventually("the directory is gone", async || (!directory.exists()).then_some(())).await;
    assert!(rustix::process::test_kill_process(server).is_err());
}

#[tokio::test]
async fn postgres_leaves_nothing_when_its_user_is_killed() {
    leaves_nothing_when_killed(Engine::Postgres).await;
}

#[tokio::test]
async fn mariadb_leaves_nothing_when_its_user_is_killed() {
    leaves_nothing_when_killed(Engine::Mariadb).await;
}

#[tokio::test]
async fn nothing_is_left_when_we_are_killed_while_the_data_directory_is_made() {
    if support::shared_server(Engine::Postgres).await.is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let mut holder = hold(Engine::Postgres, parent.path());
    let directory = eventually("its data directory appears", async || {
        directory_in(parent.path()).filter(|directory| directory.join("data").exists())
    })
    .await;
    holder.kill().unwrap();
    holder.wait().unwrap();
    eventually("the directory is gone", async || (!directory.exists()).then_some(())).await;
    assert!(!parent.path().join("started").exists());
}

#[tokio::test]
async fn a_postgres_that_crashed_or_was_restarted_is_the_same_server() {
    let Some(server) = support::own_server(Engine::Postgres, |_| {}).await else { return };
    let mut pg = PgFixture::on(server).await;
    let port = pg.port();
    pg.server.crash().await.unwrap();
    assert!(pg.login("anybody", "x").await.is_err());
    pg.server.start_again().await.unwrap();
    pg.server.restart().await.unwrap();
    let row = pg.superuser().await.query_one("SELECT count(*) FROM orders", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), pg.port()), (4, port));
}

#[tokio::test]
async fn a_mariadb_that_crashed_or_was_restarted_is_the_same_server() {
    let Some(server) = support::own_server(Engine::Mariadb, |_| {}).await else { return };
    let mut my = MyFixture::on(server).await;
    my.server.restart().await.unwrap();
    my.server.crash().await.unwrap();
    assert!(my.login("anybody", "x").await.is_err());
    my.server.start_again().await.unwrap();
    let count: Option<i64> = my.root().await.query_first("SELECT count(*) FROM orders").await.unwrap();
    assert_eq!(count, Some(4));
}

#[tokio::test]
async fn the_postgres_sample_separates_reading_writing_and_administering() {
    let Some(pg) = support::postgres().await else { return };
    let names = &pg.sample.names;
    let superuser = pg.superuser().await;
    for (role, group) in [("reader", &names.read), ("writer", &names.write)] {
        let role = format!("{role}_{}", names.database);
        superuser
            .batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x' IN ROLE {group}"))
            .await
            .unwrap();
    }
    let reader = pg.login(&format!("reader_{}", names.database), "x").await.unwrap();
    let writer = pg.login(&format!("writer_{}", names.database), "x").await.unwrap();
    let insert = "INSERT INTO orders (customer_id, item, cents) VALUES (1, 'relay', 5)";
    assert_eq!(reader.query("SELECT * FROM orders", &[]).await.unwrap().len(), 4);
    assert!(reader.batch_execute(insert).await.is_err());
    assert!(reader.batch_execute("CREATE TABLE public.own (id int)").await.is_err());
    writer.batch_execute(insert).await.unwrap();
    writer.batch_execute("CREATE TABLE drafts.own (id int)").await.unwrap();

    let administrator = pg.administrator().await;
    assert!(administrator.query("SELECT * FROM orders", &[]).await.is_err());
    let superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    assert!(!administrator.query_one(superuser, &[]).await.unwrap().get::<_, bool>(0));
    let create =
        format!("CREATE ROLE leased_{} LOGIN IN ROLE {}, {}", names.database, names.read, names.write);
    administrator.batch_execute(&create).await.unwrap();
}

async fn sample_separates(my: MyFixture) {
    let names = &my.sample.names;
    let mut root = my.root().await;
    for (user, group) in [("r", &names.read), ("w", &names.write)] {
        let user = format!("{user}_{}", names.database);
        root.query_drop(format!("CREATE USER {user}@'%' IDENTIFIED BY 'x'")).await.unwrap();
        root.query_drop(format!("GRANT {group} TO {user}@'%'")).await.unwrap();
    }
    for (user, writes) in [("r", false), ("w", true)] {
        let group = if writes { &names.write } else { &names.read };
        let mut session = my.connect(&format!("{user}_{}", names.database), "x").await.unwrap();
        session.query_drop(format!("SET ROLE {group}")).await.unwrap();
        let table = format!("{}.orders", names.database);
        let count: Option<i64> = session.query_first(format!("SELECT count(*) FROM {table}")).await.unwrap();
        assert_eq!(count, Some(4));
        let insert = format!("INSERT INTO {table} (customer_id, item, cents) VALUES (1, 'relay', 5)");
        assert_eq!(session.query_drop(insert).await.is_ok(), writes);
    }

    let mut administrator = my.administrator().await;
    let select = format!("SELECT * FROM {}.orders", names.database);
    assert!(administrator.query_drop(select).await.is_err());
    let leased = format!("leased_{}", names.database);
    administrator.query_drop(format!("CREATE USER {leased}@'%' IDENTIFIED BY 'x'")).await.unwrap();
    administrator.query_drop(format!("GRANT {} TO {leased}@'%'", names.read)).await.unwrap();
    let link = if my.server().engine() == Engine::Mysql { "TO" } else { "FOR" };
    administrator.query_drop(format!("SET DEFAULT ROLE {} {link} {leased}@'%'", names.read)).await.unwrap();
    administrator.query_drop(format!("DROP USER {leased}@'%'")).await.unwrap();
}

#[tokio::test]
async fn the_mariadb_sample_separates_reading_writing_and_administering() {
    let Some(my) = support::mariadb().await else { return };
    sample_separates(my).await;
}

#[tokio::test]
async fn the_mysql_sample_separates_reading_writing_and_administering() {
    let Some(my) = support::mysql().await else { return };
    sample_separates(my).await;
}

#[tokio::test]
async fn a_durable_server_keeps_the_defaults_of_its_engine() {
    let durable = |spec: &mut ServerSpec| spec.durability = Durability::Full;
    let Some(server) = support::own_server(Engine::Postgres, durable).await else { return };
    let pg = PgFixture::on(server).await;
    let changed = "SELECT count(*) FROM pg_settings WHERE setting = 'off' AND \
                   name IN ('fsync', 'synchronous_commit', 'full_page_writes')";
    assert_eq!(pg.superuser().await.query_one(changed, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_leaves_nothing() {
    if support::shared_server(Engine::Postgres).await.is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let binaries = Binaries::find(Engine::Postgres, &Locations::from_environment()).unwrap();
    let mut spec = ServerSpec::new(binaries);
    spec.parent = Some(parent.path().to_owned());
    spec.settings.push(("max_connections".to_owned(), "many".to_owned()));
    let error = Server::start(spec, &SystemRandom).await.unwrap_err();
    assert!(matches!(&error, SandboxError::Ended { log, .. } if log.contains("max_connections")), "{error}");
    eventually("the directory is gone", async || directory_in(parent.path()).is_none().then_some(())).await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    if support::shared_server(Engine::Postgres).await.is_none() {
        return;
    }
    let binaries = Binaries::find(Engine::Postgres, &Locations::from_environment()).unwrap();
    let mut spec = ServerSpec::new(binaries);
    spec.parent = Some(PathBuf::from("/nonexistent/place"));
    let error = Server::start(spec, &SystemRandom).await.unwrap_err();
    assert!(error.to_string().contains("/nonexistent/place"), "{error}");
}

#[tokio::test]
async fn postgres_shows_the_certificate_it_was_given() {
    let certificates = TestCertificates::new();
    let adjust = |spec: &mut ServerSpec| spec.tls = Some(certificates.for_servers());
    let Some(server) = support::own_server(Engine::Postgres, adjust).await else { return };
    let account = server.administrator();
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.port()).dbname("postgres");
    config.user(&account.user).password(account.password.expose());
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    let (client, connection) = config.connect(certificates.postgres_connector()).await.unwrap();
    tokio::spawn(connection);
    let row =
        client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    let stranger = TestCertificates::new();
    assert!(config.connect(stranger.postgres_connector()).await.is_err());
    server.stop().await.unwrap();
}

async fn shows_its_certificate(engine: Engine) {
    let certificates = TestCertificates::new();
    let adjust = |spec: &mut ServerSpec| spec.tls = Some(certificates.for_servers());
    let Some(server) = support::own_server(engine, adjust).await else { return };
    let account = server.administrator();
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.port())
        .prefer_socket(false)
        .user(Some(&account.user))
        .pass(Some(account.password.expose()));
    let trusting = options.clone().ssl_opts(certificates.mysql_options());
    let mut connection = mysql_async::Conn::new(trusting).await.unwrap();
    let cipher: Option<(String, String)> =
        connection.query_first("SHOW STATUS LIKE 'Ssl_cipher'").await.unwrap();
    assert!(!cipher.unwrap().1.is_empty());
    connection.disconnect().await.unwrap();
    let stranger = options.ssl_opts(TestCertificates::new().mysql_options());
    assert!(mysql_async::Conn::new(stranger).await.is_err());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn mariadb_shows_the_certificate_it_was_given() {
    shows_its_certificate(Engine::Mariadb).await;
}

#[tokio::test]
async fn mysql_shows_the_certificate_it_was_given() {
    shows_its_certificate(Engine::Mysql).await;
}

#[tokio::test]
async fn mariadb_offers_ed25519() {
    let Some(my) = support::mariadb().await else { return };
    let user = format!("e_{}", my.sample.names.database);
    let create = format!("CREATE USER {user}@'%' IDENTIFIED VIA ed25519 USING PASSWORD('x')");
    my.root().await.query_drop(create).await.unwrap();
    assert!(my.connect(&user, "x").await.is_ok());
    assert!(my.connect(&user, "y").await.is_err());
}
