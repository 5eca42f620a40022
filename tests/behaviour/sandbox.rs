//! The sandbox starts real servers and leaves nothing behind.

use mayfly::{
    domain::Engine,
    random::SystemRandom,
    sandbox::{Binaries, Locations, Server, ServerSpec},
};

async fn comes_and_goes(engine: Engine) {
    let binaries = Binaries::find(engine, &Locations::from_environment()).unwrap();
    let server = Server::start(ServerSpec::new(binaries), &SystemRandom).await.unwrap();
    let directory = server.directory().to_owned();
    assert!(directory.is_dir());
    server.stop().await.unwrap();
    assert!(!directory.exists());
}

#[tokio::test]
async fn postgres_comes_and_goes() {
    comes_and_goes(Engine::Postgres).await;
}

#[tokio::test]
async fn mariadb_comes_and_goes() {
    comes_and_goes(Engine::Mariadb).await;
}

#[tokio::test]
async fn mysql_comes_and_goes() {
    comes_and_goes(Engine::Mysql).await;
}
