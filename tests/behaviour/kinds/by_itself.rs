//! What MySQL and MariaDB are told, so that elevations end with nobody there.

use mayfly::domain::{Engine, LeaseId};

use super::{Person, alice, people};

/// The seconds the server still holds groups for a lease.
async fn left(person: &Person, lease: LeaseId) -> Vec<i64> {
    let question = format!(
        "SELECT CAST(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), expires_at) AS CHAR) FROM mayfly.elevations \
         WHERE lease = '{lease}' AND revoked_at IS NULL"
    );
    person.superuser(&question).await.iter().map(|seconds| seconds.parse().unwrap()).collect()
}

#[tokio::test]
async fn the_server_knows_how_long_each_lease_holds_a_group() {
    for person in people("alice").await {
        if person.database.engine == Engine::Postgres {
            continue;
        }
        let world = person.world().await;
        let reader = world.elevate("reader").await.unwrap().lease;
        let writer = world.elevate("writer").await.unwrap().lease;
        assert_eq!(left(&person, writer.id).await.len(), 2, "of each group it gives");
        assert!((270..=300).contains(&left(&person, reader.id).await[0]));
        world.pass(200);
        world.issuer.renew(&alice(), reader.id, None).await.unwrap();
        assert!((470..=500).contains(&left(&person, reader.id).await[0]), "a renewal moves it");
        world.give_back(writer.id).await;
        assert_eq!(left(&person, writer.id).await.len(), 0);
        assert_eq!(left(&person, reader.id).await.len(), 1);
        assert_eq!(person.groups().await, [person.read().to_owned()].into());
        world.give_back(reader.id).await;
        assert_eq!(left(&person, reader.id).await.len(), 0);
        person.assert_as_before(&[]).await;
    }
}
