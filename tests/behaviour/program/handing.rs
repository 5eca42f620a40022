//! Accounts that are handed to one at a time, by the command line.

use mayfly::domain::{Engine, Password};

use super::home::Home;
use crate::support::{eventually, world::Database};

/// Makes an account that reads the sample.
async fn make(database: &Database, account: &str) {
    let names = &database.sample.names;
    let statements = match database.engine {
        Engine::Postgres => vec![
            format!("CREATE ROLE \"{account}\" LOGIN PASSWORD 'known to all'"),
            format!("GRANT \"{account}\" TO \"{}\" WITH ADMIN OPTION", names.administrator),
            format!("GRANT CONNECT ON DATABASE \"{}\" TO \"{account}\"", names.database),
        ],
        _ => vec![
            format!("CREATE USER '{account}'@'%' IDENTIFIED BY 'known to all'"),
            format!("GRANT SELECT ON {}.* TO '{account}'@'%'", names.database),
        ],
    };
    for statement in statements {
        database.ask_superuser(database.server.unwrap(), &statement).await;
    }
}

#[tokio::test]
async fn who_waits_is_told_his_place_and_has_the_account_when_it_is_his_turn() {
    let home = Home::everywhere().await;
    let mut accounts = Vec::new();
    for database in &home.databases {
        let account = format!("batch{}", database.sample.names.database.trim_start_matches("shop"));
        make(database, &account).await;
        let engine = database.engine;
        home.append(&format!(
            "[roles.{engine}-batch]\ntarget = \"{engine}\"\nkind = \"checkout\"\naccount = \"{account}\"\nmax_ttl = \"1h\"\n\
             allow = [\"group:readers\"]\n"
        ));
        accounts.push(account);
    }
    let served = home.serve().await;
    let root = served.administrator();
    let (alice, bob) = (served.member("alice", &["readers"]).await, served.member("bob", &["readers"]).await);
    assert_eq!(root.mayfly(&["targets", "checkouts"]).await.err.trim(), "no account was ever handed out");
    for (database, account) in home.databases.iter().zip(&accounts) {
        let role = format!("{}-batch", database.engine);
        let held = alice.issue(&role, &["--ttl", "5m"]).await;
        assert_eq!(&held.account, account);
        let password = Password::new(held.password);
        database.login(account, &password).await.unwrap();

        let refused = bob.mayfly(&["creds", &role]).await;
        let words = refused.refused(14);
        assert!(words.contains("you are 1st in the queue") && words.contains("--wait waits"), "{words}");
        assert!(!words.contains("alice"), "{words}");
        let json = bob.mayfly(&["creds", &role, "-o", "json"]).await;
        assert!(json.err.contains("\"reason\":\"ACCOUNT_HELD\""), "{json:?}");
        let check = bob.mayfly(&["roles", "check", &role]).await;
        assert!(check.code() == 4 && check.out.contains("1 waits for it"), "{check:?}");

        let waiting = bob.start(&["creds", &role, "--wait", "--format", "json"]);
        waiting.logged("you are 1st in the queue").await;
        let seen = root.mayfly(&["targets", "checkouts", database.engine.as_str()]).await;
        let line = seen.ok().lines().last().unwrap();
        for word in [account.as_str(), "alice", "held, expires in", "bob"] {
            assert!(line.contains(word), "{word}: {line}");
        }
        let seen = root.mayfly(&["targets", "checkouts", "-o", "json"]).await.json();
        let ours = seen["checkouts"].as_array().unwrap().iter().find(|of| of["account"] == account.as_str());
        assert_eq!(ours.unwrap()["waiting"][0]["principal"], "bob", "{seen}");
        bob.mayfly(&["targets", "checkouts"]).await.refused(4);

        let released = alice.mayfly(&["lease", "release", &held.lease, "--wait"]).await;
        assert!(released.ok().ends_with("the account is locked"), "{released:?}");
        let bobs = waiting.ended().await;
        let bobs: serde_json::Value = serde_json::from_str(bobs.ok()).unwrap();
        assert_eq!(bobs["lease"]["kind"], "checkout");
        let bobs_password = Password::new(bobs["credential"]["password"].as_str().unwrap().to_owned());
        database.login(account, &bobs_password).await.unwrap();
        assert!(database.login(account, &password).await.is_err());
        let shown = bob.mayfly(&["lease", "show", bobs["lease"]["name"].as_str().unwrap()]).await;
        assert!(shown.ok().contains("checkout"), "{shown:?}");
        bob.mayfly(&["lease", "release", bobs["lease"]["name"].as_str().unwrap(), "--wait"]).await.ok();
        eventually("nobody is let in", async || {
            database.login(account, &bobs_password).await.is_err().then_some(())
        })
        .await;
        let ran = alice.mayfly(&["run", &role, "--", "sh", "-c", "test -n \"$DATABASE_URL\""]).await;
        assert_eq!(ran.code(), 0, "{ran:?}");
    }
}
