//! Contractors by the command line: invited, signed in once, used, revoked.

use jiff::SignedDuration;
use mayfly::clock::{Clock as _, SystemClock};

use super::{home::Home, process::Shell};

/// Sponsors are of this group; what they pass on is theirs to begin with.
const SPONSORS: &str = "@id(\"test.sponsors\")\npermit (principal in Group::\"readers\", action == Action::\"invite\", resource);\n";

async fn invite(sponsor: &Shell, role: &str, more: &[&str]) -> (String, String) {
    let arguments =
        [&["invite", "create", "kim@agency.example", "--role", role, "--purpose", "moving the orders"], more];
    let invited = sponsor.mayfly(&arguments.concat()).await;
    let code = invited.ok().to_owned();
    assert!(!invited.err.contains(&code), "the code alone goes to standard output: {invited:?}");
    let name = invited.err.split(':').next().unwrap().to_owned();
    assert!(name.starts_with("invitations/") && invited.err.contains("mayfly invite claim"), "{invited:?}");
    (name, code)
}

/// How an invitation stands, as its sponsor sees it.
async fn state(sponsor: &Shell, name: &str) -> String {
    let listed = sponsor.mayfly(&["invite", "ls", "-o", "json"]).await.json();
    let mut all = listed["invitations"].as_array().unwrap().iter();
    let one = all.find(|invitation| invitation["name"] == name).unwrap_or_else(|| panic!("{listed}"));
    one["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_contractor_signs_in_once_gets_what_the_invitation_names_and_is_revoked() {
    let Some(home) = Home::somewhere().await else { return };
    home.write("sponsors.cedar", SPONSORS);
    home.append("[policy]\nfiles = [\"sponsors.cedar\"]\n");
    let engine = home.databases[0].engine;
    let (role, other) = (format!("{engine}-read"), format!("{engine}-write"));
    let served = home.serve().await;
    let sponsor = served.member("sam", &["readers"]).await;
    let (name, code) = invite(&sponsor, &role, &["--window", "2d", "--group", "readers"]).await;
    assert_eq!(state(&sponsor, &name).await, "open");
    let shown = sponsor.mayfly(&["invite", "ls"]).await;
    assert!(shown.ok().contains("kim@agency.example") && !shown.out.contains(&code), "{shown:?}");

    let kim = served.of("");
    let mut claiming = kim.start(&["invite", "claim"]);
    claiming.feed(&format!("{code}\n")).await;
    let claimed = claiming.ended().await;
    assert!(
        claimed.ok().is_empty() && claimed.err.contains("signed in as contractor:kim@agency.example/"),
        "{claimed:?}"
    );
    assert_eq!(state(&sponsor, &name).await, "claimed");
    let me = kim.mayfly(&["whoami", "-o", "json"]).await.json();
    assert!(me["principal"].as_str().unwrap().starts_with("contractor:kim@agency.example/"), "{me}");
    kim.mayfly(&["run", &role, "--", "true"]).await.ok();
    // Other roles are out of reach, whatever else says yes.
    kim.mayfly(&["creds", &other]).await.refused(4);
    // Nor does a contractor vouch for another, though the group he was given may.
    kim.mayfly(&["invite", "create", "lee", "--role", &role, "--purpose", "x"]).await.refused(4);

    // The code worked once; what is wrong with it is not told.
    let again = kim.mayfly(&["invite", "claim", &code]).await;
    let guessed = kim.mayfly(&["invite", "claim", "06dp4f2h9c8x1k3m7q0r-7h3k-q9vd-2mzx-c5tn"]).await;
    assert_eq!(again.refused(3), guessed.refused(3));

    let revoked = sponsor.mayfly(&["invite", "revoke", &name]).await;
    assert!(revoked.ok().is_empty() && revoked.err.contains("is revoked"), "{revoked:?}");
    assert_eq!(state(&sponsor, &name).await, "revoked");
    kim.mayfly(&["whoami"]).await.refused(3);
    served.stop().await;
    assert!(!home.read("audit.jsonl").contains(&code), "the code is nowhere");
}

#[tokio::test]
async fn an_invitation_is_its_sponsors_business_and_its_session_can_be_kept_nowhere() {
    let Some(home) = Home::somewhere().await else { return };
    home.write("sponsors.cedar", SPONSORS);
    home.append("[policy]\nfiles = [\"sponsors.cedar\"]\n");
    let role = format!("{}-read", home.databases[0].engine);
    let served = home.serve().await;
    let (sponsor, other) =
        (served.member("sam", &["readers"]).await, served.member("eve", &["readers"]).await);
    let (root, app) = (served.administrator(), served.member("app", &[]).await);
    let create = async |shell: &Shell, more: &[&str], code: i32| {
        let arguments = [&["invite", "create", "--purpose", "an audit"], more].concat();
        shell.mayfly(&arguments).await.refused(code).to_owned()
    };
    create(&app, &["kim", "--role", &role], 4).await;
    create(&sponsor, &["kim", "--role", "nothing"], 5).await;
    create(&sponsor, &["kim lee", "--role", &role], 6).await;
    create(&sponsor, &["kim", "--role", &role, "--cidr", "198.51.100.0/99"], 6).await;
    create(&sponsor, &["kim", "--role", &role, "--window", "31d"], 6).await;
    let told = create(&sponsor, &["kim", "--role", &role, "--group", "writers"], 4).await;
    assert!(told.contains("groups of his own"), "{told}");

    let (name, code) = invite(&sponsor, &role, &["--cidr", "127.0.0.0/8"]).await;
    let none = other.mayfly(&["invite", "ls", "-o", "json"]).await.json();
    assert_eq!(none["invitations"].as_array().unwrap().len(), 0);
    other.mayfly(&["invite", "ls", "--all"]).await.refused(4);
    other.mayfly(&["invite", "revoke", &name]).await.refused(4);
    assert!(root.mayfly(&["invite", "ls", "--all"]).await.ok().contains("kim@agency.example"));
    let kim = served.of("");
    let printed = kim.mayfly(&["invite", "claim", &code, "--print"]).await;
    let token = printed.ok().to_owned();
    assert!(token.starts_with("mfs_") && !printed.err.contains(&token), "{printed:?}");
    assert!(!home.path(".local").exists(), "kept nowhere");
    served.of(&token).mayfly(&["whoami"]).await.ok();

    // Where, and when, it may not be claimed, it is as if there were none.
    let (_, elsewhere) = invite(&sponsor, &role, &["--cidr", "198.51.100.0/24"]).await;
    kim.mayfly(&["invite", "claim", &elsewhere]).await.refused(3);
    let tomorrow = (SystemClock.now() + SignedDuration::from_hours(24)).to_string();
    let (early, code) = invite(&sponsor, &role, &["--start", &tomorrow]).await;
    assert_eq!(state(&sponsor, &early).await, "early");
    kim.mayfly(&["invite", "claim", &code]).await.refused(3);
}
