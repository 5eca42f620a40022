//! Jobs that call with the JWT their CI system gives them.

use mayfly::{
    clock::{Clock as _, SystemClock},
    sandbox::LocalIssuer,
};

use super::home::Home;
use crate::support::{Answer, KeyServer};

const ISSUER: &str = "https://ci.example";

/// Takes the word of an issuer whose keys are in a file.
fn trust(home: &Home, lines: &str) -> LocalIssuer {
    let issuer = LocalIssuer::generate(ISSUER, "one").unwrap();
    issuer.write_key_set(&home.path("keys.json")).unwrap();
    home.append(&format!(
        "[identity.ci]\nissuer = \"{ISSUER}\"\naudiences = [\"mayfly\"]\njwks_file = \"keys.json\"\n\
         principal = \"repo:{{repository}}:{{ref}}\"\ngroups = [\"readers\"]\n\
         bound_claims = {{ repository = \"acme/*\" }}\n{lines}"
    ));
    issuer
}

fn jwt(issuer: &LocalIssuer, id: &str) -> String {
    issuer.sign(&issuer.job("acme/shop", "main", "mayfly", SystemClock.now(), id)).unwrap()
}

#[tokio::test]
async fn a_job_calls_with_the_jwt_in_a_file_or_a_variable_and_without_a_token() {
    let home = Home::bare();
    let issuer = trust(&home, "");
    let served = home.serve().await;
    let shell = served.of("");
    let file = home.path("job.jwt").display().to_string();
    home.write_secret("job.jwt", &jwt(&issuer, "1"));
    let me = shell.mayfly(&["--identity-token-file", &file, "whoami", "-o", "json"]).await.json();
    assert_eq!(me["principal"], "repo:acme/shop:refs/heads/main");
    assert!(me["token"].as_str().unwrap().starts_with("sessions/"), "{me}");
    shell.with("MAYFLY_IDENTITY_TOKEN_FILE", &file).mayfly(&["whoami"]).await.ok();
    shell.with("MAYFLY_IDENTITY_TOKEN", &jwt(&issuer, "2")).mayfly(&["whoami"]).await.ok();
    shell.mayfly(&["whoami"]).await.refused(3);
    home.write_secret("job.jwt", "mf_x");
    let refused = shell.mayfly(&["--identity-token-file", &file, "whoami"]).await;
    assert!(refused.refused(3).contains("does not hold a JWT"), "{refused:?}");
    shell.mayfly(&["--identity-token-file", "/nonexistent", "whoami"]).await.refused(3);
    let forged = jwt(&LocalIssuer::generate(ISSUER, "one").unwrap(), "3");
    let refused = shell.with("MAYFLY_IDENTITY_TOKEN", &forged).mayfly(&["whoami"]).await;
    assert!(refused.refused(3).contains("signature is not its issuer's"), "{refused:?}");
}

#[tokio::test]
async fn github_actions_is_asked_for_a_jwt_where_there_is_no_token() {
    let home = Home::bare();
    let issuer = trust(&home, "replay = \"once\"\n");
    let served = home.serve().await;
    let github = KeyServer::start(Answer::Nothing, None).await;
    let url = format!("http://{}/token?api-version=2", github.address);
    let job = served
        .of("")
        .with("ACTIONS_ID_TOKEN_REQUEST_URL", &url)
        .with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-secret");
    let hand_out = |id: &str| github.answer(Answer::Text(format!("{{\"value\":\"{}\"}}", jwt(&issuer, id))));
    hand_out("1");
    job.mayfly(&["whoami"]).await.ok();
    hand_out("2");
    job.mayfly(&["roles", "ls"]).await.ok();
    assert_eq!(github.asked(), 2);
    github.answer(Answer::Redirect("http://127.0.0.1:1/".to_owned()));
    let refused = job.mayfly(&["whoami"]).await;
    assert!(refused.refused(3).contains("id-token: write"), "{refused:?}");
    // A token that is there wins.
    let root = served.administrator().with("ACTIONS_ID_TOKEN_REQUEST_URL", &url);
    root.with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x").mayfly(&["token", "ls"]).await.ok();
    assert_eq!(github.asked(), 3);
}

#[tokio::test]
async fn one_jwt_that_is_good_once_is_enough_for_a_command_of_many_calls_and_for_no_second_command() {
    let Some(home) = Home::somewhere().await else { return };
    let issuer = trust(&home, "replay = \"once\"\n");
    let role = format!("{}-read", home.databases[0].engine);
    let served = home.serve().await;
    let job = served.of("").with("MAYFLY_IDENTITY_TOKEN", &jwt(&issuer, "1"));
    job.mayfly(&["run", &role, "--", "true"]).await.ok();
    let refused = job.mayfly(&["run", &role, "--", "true"]).await;
    assert!(refused.refused(3).contains("used already"), "{refused:?}");
}
