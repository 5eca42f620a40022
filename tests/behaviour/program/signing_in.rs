//! Signing in at a real OpenID provider by the command line: in the browser, with another device, and once more.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{
    home::Home,
    process::{Mayfly, Process, Ran, Shell},
};
use crate::support::{
    eventually,
    provider::{Browser, OpenIdProvider, Person, openid_provider},
};

/// A server whose people sign in at a provider.
fn home(provider: &OpenIdProvider) -> Home {
    let home = Home::bare();
    home.append(&format!(
        "[identity.okta]\nissuer = \"{}\"\nprincipal = \"okta:{{sub}}\"\nbound_claims = {{ email_verified = \"true\" }}\n\
         [identity.okta.sign_in]\nclient_id = \"mayfly\"\nsecond_factor_amr = [\"mfa\"]\n",
        provider.issuer
    ));
    home
}

/// Commands of somebody whose browser writes down where it is sent, and does nothing else.
fn desk(served: &Mayfly<'_>) -> Shell {
    let (browser, opened) = (served.home.path("browser"), served.home.path("opened"));
    fs::write(
        &browser,
        format!("#!/bin/sh\nprintf '%s' \"$1\" >'{0}.new'\nmv '{0}.new' '{0}'\n", opened.display()),
    )
    .unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    served.of("").with("BROWSER", &browser.display().to_string())
}

/// The address that the browser was sent to; it is forgotten.
async fn opened(home: &Home) -> String {
    let url =
        eventually("the browser is sent somewhere", async || fs::read_to_string(home.path("opened")).ok())
            .await;
    fs::remove_file(home.path("opened")).unwrap();
    url
}

/// Signs somebody in where the browser was sent, and comes back.
async fn come_back(home: &Home, browser: &mut Browser, who: Person<'_>) -> String {
    let url = opened(home).await;
    let back = browser.sign_in(&url, who).await;
    let (status, page) = browser.get(&back).await;
    assert!(status == 200 && page.contains("You may close this"), "{page}");
    back
}

/// Nothing that a provider handed out, or that completes a sign-in, is in what the server wrote down.
fn nothing_leaked(home: &Home, process: &Process, back: &str) {
    let code = back.split("code=").nth(1).unwrap().split('&').next().unwrap();
    for text in [process.err(), home.read("audit.jsonl")] {
        assert!(!text.contains(code) && !text.contains("mfi_") && !text.contains("code_verifier"), "{text}");
    }
}

#[tokio::test]
async fn somebody_signs_in_in_the_browser_gives_a_second_factor_and_signs_out() {
    let Some(provider) = openid_provider(false).await else { return };
    let home = home(&provider);
    let served = home.serve().await;
    let (desk, mut browser) = (desk(&served), Browser::new());

    let login = desk.start(&["login"]);
    let back = come_back(&home, &mut browser, Person::Named("alice")).await;
    let ended = login.ended().await;
    assert!(
        ended.ok().is_empty() && ended.err.contains("signed in as okta:alice; the session ends in 8h"),
        "{ended:?}"
    );
    assert!(
        ended.err.contains("signing in at okta in the browser") && ended.err.contains(&provider.issuer),
        "{ended:?}"
    );
    let me = desk.mayfly(&["whoami", "-o", "json"]).await.json();
    assert_eq!((&me["principal"], &me["principal_kind"]), (&"okta:alice".into(), &"human".into()));
    assert_eq!((&me["session"]["origin"], &me["second_factor_time"]), (&"providers/okta".into(), &().into()));
    nothing_leaked(&home, &served.process, &back);

    let step = desk.start(&["login", "--step-up"]);
    come_back(&home, &mut browser, Person::Named("alice+mfa")).await;
    let ended = step.ended().await;
    assert!(
        ended.ok().is_empty() && ended.err.contains("signed in as okta:alice with a second factor"),
        "{ended:?}"
    );
    let sessions = desk.mayfly(&["session", "ls", "-o", "json"]).await.json();
    let live =
        sessions["sessions"].as_array().unwrap().iter().filter(|session| session["end_time"].is_null());
    assert_eq!(live.count(), 1, "the session before is over: {sessions}");

    // Somebody else at the same desk does not take the session over.
    let step = desk.start(&["login", "--step-up"]);
    come_back(&home, &mut browser, Person::Named("bob+mfa")).await;
    failed(&step.ended().await, 2, "error: you signed in as okta:bob, but the session here is of okta:alice");
    let of_bob = served.administrator();
    let of_bob = of_bob.mayfly(&["session", "ls", "--principal", "okta:bob", "-o", "json"]).await.json();
    assert!(of_bob["sessions"][0]["end_time"].is_string(), "nobody has the token of bob's session: {of_bob}");
    let me = desk.mayfly(&["whoami", "-o", "json"]).await.json();
    assert!(me["principal"] == "okta:alice" && me["second_factor_time"].is_string(), "{me}");
    desk.mayfly(&["logout"]).await.ok();
    desk.mayfly(&["whoami"]).await.refused(3);

    let login = desk.start(&["login", "--provider", "okta"]);
    come_back_denied(&home, &mut browser).await;
    failed(
        &login.ended().await,
        3,
        "error: the sign-in was refused at the identity provider (access_denied)",
    );
}

/// It said where to sign in, and then why it came to nothing.
#[track_caller]
fn failed(ran: &Ran, code: i32, words: &str) {
    assert!(ran.code() == code && ran.out.is_empty() && ran.err.contains(words), "{ran:?}");
}

async fn come_back_denied(home: &Home, browser: &mut Browser) {
    let url = opened(home).await;
    // Signed in there already, and asked again: the browser of somebody else.
    *browser = Browser::new();
    let back = browser.sign_in(&url, Person::Unwilling).await;
    assert_eq!(browser.get(&back).await.0, 200);
}

#[tokio::test]
async fn somebody_signs_in_with_another_device_and_the_session_can_be_written_out() {
    let Some(provider) = openid_provider(false).await else { return };
    let home = home(&provider);
    let served = home.serve().await;
    let desk = desk(&served);
    let login = desk.start(&["login", "--device", "--print"]);
    let code = eventually("the code", async || {
        let (shown, code) = (login.err(), "and type the code\n  ");
        shown.split_once(code)?.1.split_once('\n').map(|(code, _)| code.to_owned())
    })
    .await;
    let url = format!("{}/device", provider.issuer);
    assert!(login.err().contains(&url), "{}", login.err());
    assert_eq!(Browser::new().type_code(&url, &code, Person::Named("carol")).await, "done");
    let ended = login.ended().await;
    let token = ended.ok().to_owned();
    assert!(token.starts_with("mfs_") && ended.err.contains("signed in as okta:carol"), "{ended:?}");
    let me = served.of(&token).mayfly(&["whoami", "-o", "json"]).await.json();
    assert_eq!(me["principal"], "okta:carol");

    // Another provider of the name, or none any more: what it vouched for is over.
    home.replace("identity.okta", "identity.entra");
    served.reload("identity.okta is removed").await;
    served.of(&token).mayfly(&["whoami"]).await.refused(3);
    let refused = desk.mayfly(&["login", "--provider", "okta"]).await;
    assert!(refused.refused(5).contains("known are entra"), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_is_told_without_a_provider() {
    let home = Home::bare();
    let served = home.serve().await;
    let stranger = served.of("");
    let refused = stranger.mayfly(&["login", "--provider", "okta"]).await;
    assert!(refused.refused(5).contains("nobody signs in at okta here"), "{refused:?}");
    let refused = stranger.mayfly(&["login", "--device"]).await;
    assert!(refused.refused(2).contains("no identity provider is configured for people"), "{refused:?}");
    stranger.mayfly(&["login", "--device", "--code", "1"]).await.refused(2);
    let remote = stranger.towards("http://192.0.2.1:7440");
    assert!(remote.mayfly(&["login", "--provider", "okta"]).await.refused(2).contains("in clear text"));
}
