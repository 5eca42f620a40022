//! Several elevations of one account, and what it had before.

use futures_util::future::join_all;
use mayfly::domain::StateName;

use super::people;
use crate::support::world::{caller, request};

#[tokio::test]
async fn one_that_ends_takes_nothing_from_another() {
    for person in people("alice").await {
        let (read, write) = (person.read().to_owned(), person.write().to_owned());
        let world = person.world().await;
        let reader = world.elevate("reader").await.unwrap().lease;
        let writer = world.elevate("writer").await.unwrap().lease;
        assert_eq!(person.groups().await, [read.clone(), write].into());
        world.give_back(writer.id).await;
        assert_eq!(person.groups().await, [read].into());
        let mut session = person.log_in().await.unwrap();
        assert!(person.reads(&mut session).await);
        world.give_back(reader.id).await;
        person.assert_as_before(&[]).await;
    }
}

#[tokio::test]
async fn what_the_account_had_before_stays() {
    for person in people("alice").await {
        let read = person.read().to_owned();
        person.superuser(&format!("GRANT {} TO {}", person.group(&read), person.quoted())).await;
        let world = person.world().await;
        let reader = world.elevate("reader").await.unwrap().lease;
        let writer = world.elevate("writer").await.unwrap().lease;
        world.give_back(reader.id).await;
        assert!(person.groups().await.contains(person.write()));
        world.give_back(writer.id).await;
        person.assert_as_before(&[&read]).await;
    }
}

#[tokio::test]
async fn many_at_once_come_and_go_without_a_trace() {
    for person in people("alice").await {
        let world = person.world().await;
        let asked = (0..10).map(|n| world.elevate(if n % 2 == 0 { "reader" } else { "writer" }));
        let leases: Vec<_> = join_all(asked).await.into_iter().map(|issued| issued.unwrap().lease).collect();
        assert_eq!(person.groups().await.len(), 2);
        let alice = caller("alice", &["readers"]);
        let released = leases.iter().skip(1).map(|lease| world.issuer.release(&alice, lease.id));
        join_all(released).await.into_iter().for_each(|released| drop(released.unwrap()));
        for lease in leases.iter().skip(1) {
            world.reaches(lease.id, StateName::Released).await;
        }
        assert_eq!(person.groups().await, [person.read().to_owned()].into());
        // Some begin while the last one ends.
        let (ended, begun) = tokio::join!(
            world.issuer.release(&alice, leases[0].id),
            join_all((0..3).map(|_| world.issuer.issue(&alice, request("reader"))))
        );
        ended.unwrap();
        world.reaches(leases[0].id, StateName::Released).await;
        assert_eq!(person.groups().await, [person.read().to_owned()].into());
        for issued in begun {
            world.give_back(issued.unwrap().lease.id).await;
        }
        person.assert_as_before(&[]).await;
    }
}
