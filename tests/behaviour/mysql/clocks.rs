//! Clocks and time zones of servers: no lease is shortened or lengthened by them.

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock, SystemClock},
    domain::Engine,
    sandbox::Server,
    target::{NewAccount, Target, Which, mysql::Mysql},
};
use mysql_async::prelude::Queryable;

use super::rig::{self, Issued};
use crate::support::{MyFixture, eventually, own_server};

#[tokio::test]
async fn a_shifted_time_zone_changes_no_expiry_on_mysql() {
    a_shifted_time_zone_changes_no_expiry(Engine::Mysql).await;
}

#[tokio::test]
async fn a_shifted_time_zone_changes_no_expiry_on_mariadb() {
    a_shifted_time_zone_changes_no_expiry(Engine::Mariadb).await;
}

fn target(engine: Engine, fixture: &MyFixture<Server>) -> Mysql {
    let administrator = fixture.sample.administrator.clone();
    let settings = rig::settings(engine, fixture.port(), &administrator.user, administrator.password);
    Mysql::new(settings, rig::surroundings()).unwrap()
}

async fn issue(engine: Engine, fixture: &MyFixture<Server>, target: &Mysql, seconds: i64) -> Issued {
    let issued = Issued::planned(engine, &rig::role(&fixture.sample.names.read), target).await;
    let expires_at = SystemClock.now() + SignedDuration::from_secs(seconds);
    target.create(NewAccount { expires_at, ..issued.new_account() }, &issued.secret).await.unwrap();
    issued
}

async fn a_shifted_time_zone_changes_no_expiry(engine: Engine) {
    let shifted = own_server(engine, |spec| {
        spec.settings.push(("default-time-zone".to_owned(), "+13:00".to_owned()));
    });
    let Some(server) = shifted.await else { return };
    let fixture = MyFixture::on(server).await;
    let mut root = fixture.root().await;
    for zone in ["+13:00", "-11:00", "SYSTEM"] {
        root.query_drop(format!("SET GLOBAL time_zone = '{zone}'")).await.unwrap();
        let target = target(engine, &fixture);
        let (short, long) =
            (issue(engine, &fixture, &target, 4).await, issue(engine, &fixture, &target, 600).await);
        for issued in [&short, &long] {
            let session = fixture.login(issued.name(), issued.secret.password.expose()).await;
            assert!(session.is_ok(), "nothing is cut short under {zone}");
        }
        let names = [&long.account.name];
        let found = target.accounts(Which::Named(&names)).await.unwrap().remove(0);
        let left = found.expires_at.unwrap().duration_since(SystemClock.now());
        assert!((540..=600).contains(&left.as_secs()), "{left:?} under {zone}");
        let offset = target.examine(&[]).await.clock_offset.unwrap();
        assert!(offset.abs() < SignedDuration::from_secs(2), "{offset:?}");
        let later = SystemClock.now() + SignedDuration::from_secs(1200);
        target.renew(long.leased(), later).await.unwrap();
        let found = target.accounts(Which::Named(&names)).await.unwrap().remove(0);
        let off = found.expires_at.unwrap().duration_since(later).abs();
        assert!(off < SignedDuration::from_secs(20), "{off:?} under {zone}");
        let question = format!(
            "SELECT TIMESTAMPDIFF(MICROSECOND, expires_at, locked_at) / 1e6 FROM mayfly.accounts \
             WHERE user = '{}' AND locked_at IS NOT NULL",
            short.name()
        );
        let late: f64 =
            eventually("what is due is locked", async || root.query_first(&question).await.unwrap()).await;
        assert!((0.0..5.0).contains(&late), "locked {late} s after the expiry under {zone}");
        assert!(fixture.login(long.name(), long.secret.password.expose()).await.is_ok());
    }
}
