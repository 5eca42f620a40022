//! Which server answers: known by what its replicas share, refused when it is another, and looked at all the same.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mayfly::{
    domain::{Engine, TargetName},
    target::{Recognition, ServerIdentity, Severity, Target, TargetError, TargetErrorKind, mysql::Mysql},
};

use super::{
    on_both,
    rig::{self, Rig},
};

on_both!(
    a_server_is_known_by_what_was_drawn_for_it_and_its_replicas,
    a_replaced_server_is_neither_issued_nor_ended_on_and_yet_examined,
    without_the_switch_mysql_is_known_by_its_uuid_and_mariadb_by_nothing,
);

/// Knows the first server it meets, as the store does; `None`: one without an identity.
#[derive(Default)]
struct Acquaintance {
    known: Mutex<Option<ServerIdentity>>,
    met: Mutex<Vec<Option<ServerIdentity>>>,
}

impl Acquaintance {
    fn of(identity: &str) -> Arc<Self> {
        let known = Mutex::new(Some(ServerIdentity(identity.to_owned())));
        Arc::new(Self { known, met: Mutex::default() })
    }

    fn met(&self) -> Vec<Option<String>> {
        let met = self.met.lock().unwrap();
        met.iter().map(|met| met.as_ref().map(|identity| identity.0.clone())).collect()
    }
}

fn replaced() -> TargetError {
    TargetError::new(TargetErrorKind::Replaced, "another server answers")
}

#[async_trait]
impl Recognition for Acquaintance {
    async fn recognise(&self, _: &TargetName, identity: &ServerIdentity) -> Result<(), TargetError> {
        self.met.lock().unwrap().push(Some(identity.clone()));
        let mut known = self.known.lock().unwrap();
        if known.get_or_insert_with(|| identity.clone()) == identity { Ok(()) } else { Err(replaced()) }
    }

    async fn recognise_nameless(&self, _: &TargetName) -> Result<(), TargetError> {
        self.met.lock().unwrap().push(None);
        if self.known.lock().unwrap().is_none() { Ok(()) } else { Err(replaced()) }
    }
}

fn meeting(rig: &Rig, acquaintance: &Arc<Acquaintance>) -> Mysql {
    let recognition = Arc::clone(acquaintance) as Arc<dyn Recognition>;
    let surroundings = mayfly::target::Surroundings { recognition, ..rig::surroundings() };
    Mysql::new(rig.settings.clone(), surroundings).unwrap()
}

async fn a_server_is_known_by_what_was_drawn_for_it_and_its_replicas(rig: Rig) {
    let acquaintance = Arc::new(Acquaintance::default());
    meeting(&rig, &acquaintance).ping().await.unwrap();
    meeting(&rig, &acquaintance).ping().await.unwrap();
    let drawn = rig.root_knows("SELECT identity FROM mayfly.server").await;
    assert!(drawn.as_ref().is_some_and(|text| text.len() == 36), "{drawn:?}");
    assert_eq!(acquaintance.met(), [drawn.clone(), drawn]);
}

async fn a_replaced_server_is_neither_issued_nor_ended_on_and_yet_examined(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let acquaintance = Acquaintance::of("another one");
    let target = meeting(&rig, &acquaintance);
    let planned = rig.plan(&rig.role()).await;
    let outcomes = [
        target.create(planned.new_account(), &planned.secret).await.unwrap_err(),
        target.renew(issued.leased(), issued.new_account().expires_at).await.unwrap_err(),
        target.disable(issued.leased()).await.unwrap_err(),
        target.remove(issued.leased()).await.unwrap_err(),
        target.ping().await.unwrap_err(),
    ];
    assert!(outcomes.iter().all(|error| error.kind == TargetErrorKind::Replaced), "{outcomes:?}");
    assert!(rig.login(&issued).await.is_ok() && !rig.has(&planned).await);
    let examination = target.examine(&[&rig.role()]).await;
    assert!(examination.server.is_some() && examination.clock_offset.is_some());
    let problems: Vec<_> =
        examination.findings.iter().filter(|finding| finding.severity == Severity::Problem).collect();
    assert!(problems.len() == 1 && problems[0].summary.contains("another server"), "{problems:?}");
    assert_eq!(target.ping().await.unwrap_err().kind, TargetErrorKind::Replaced, "looking agrees to nothing");
    *acquaintance.known.lock().unwrap() = None;
    assert!(target.disable(issued.leased()).await.unwrap().present);
}

async fn without_the_switch_mysql_is_known_by_its_uuid_and_mariadb_by_nothing(rig: Rig) {
    let known = Arc::new(Acquaintance::default());
    meeting(&rig, &known).ping().await.unwrap();
    let rights = "CREATE, ALTER, EVENT, SELECT, INSERT, UPDATE, DELETE ON mayfly.*";
    rig.as_root(format!("REVOKE {rights} FROM {}", rig.administrator())).await;
    let before = Arc::new(Acquaintance::default());
    meeting(&rig, &before).ping().await.unwrap();
    if rig.engine == Engine::Mysql {
        assert_eq!(before.met(), [rig.root_knows("SELECT @@server_uuid").await]);
    } else {
        assert_eq!(before.met(), [None]);
        let error = meeting(&rig, &known).ping().await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Replaced, "it had an identity before");
    }
    rig.as_root(format!("GRANT {rights} TO {}", rig.administrator())).await;
    meeting(&rig, &before).ping().await.unwrap();
    meeting(&rig, &known).ping().await.unwrap();
}
