//! TLS between commands and the server.

use super::{home::Home, process::Mayfly};
use crate::support::TestCertificates;

fn home(certificates: &TestCertificates, more: &str) -> Home {
    let home = Home::bare();
    let file = |name: &str| certificates.file(name).display().to_string();
    home.append(&format!(
        "[server.tls]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n{more}",
        file("server.crt"),
        file("server.key"),
    ));
    home
}

fn secure(served: &Mayfly<'_>) -> String {
    served.address.replace("http://", "https://")
}

#[tokio::test]
async fn a_command_speaks_to_a_server_whose_authority_it_is_given_and_to_no_other() {
    let certificates = TestCertificates::new();
    let home = home(&certificates, "");
    let served = home.serve().await;
    let shell = served.administrator().towards(&secure(&served));
    let authority = certificates.file("authority.crt").display().to_string();
    shell.mayfly(&["--ca-file", &authority, "whoami"]).await.ok();
    shell.with("MAYFLY_CA_FILE", &authority).mayfly(&["health"]).await.ok();
    let refused = shell.mayfly(&["whoami"]).await;
    let words = refused.refused(8);
    assert!(words.contains("certificate") && words.contains(&secure(&served)), "{words}");
    let foreign = TestCertificates::new().file("authority.crt").display().to_string();
    shell.mayfly(&["--ca-file", &foreign, "whoami"]).await.refused(1);
    let other = TestCertificates::new();
    let other = other.file("authority.crt").display().to_string();
    shell.mayfly(&["--ca-file", &other, "whoami"]).await.refused(8);
    // In clear text the server does not even listen to the token.
    let refused = served.administrator().mayfly(&["whoami"]).await;
    let words = refused.refused(8);
    assert!(words.contains("https://") || words.contains("cannot reach"), "{words}");
    let clear = Home::bare();
    let clear = clear.serve().await;
    shell.towards(&secure(&clear)).mayfly(&["--ca-file", &authority, "whoami"]).await.refused(8);
}

#[tokio::test]
async fn mutual_tls_wants_a_certificate_of_the_command() {
    let certificates = TestCertificates::new();
    let authority = certificates.file("authority.crt").display().to_string();
    let home = home(&certificates, &format!("client_ca_file = \"{authority}\"\n"));
    let served = home.serve().await;
    let shell = served.administrator().towards(&secure(&served)).with("MAYFLY_CA_FILE", &authority);
    let refused = shell.mayfly(&["whoami"]).await;
    assert!(refused.refused(8).contains("--client-certificate"), "{refused:?}");
    let (certificate, key) = (certificates.file("client.crt"), certificates.file("client.key"));
    let arguments = [
        "--client-certificate",
        certificate.to_str().unwrap(),
        "--client-key",
        key.to_str().unwrap(),
        "whoami",
    ];
    shell.mayfly(&arguments).await.ok();
}

#[tokio::test]
async fn a_token_is_not_sent_to_another_machine_in_clear_text() {
    let shell = Home::bare().shell();
    // An address that belongs to nobody: had the command called it, it would have waited in vain.
    let refused = shell.towards("http://192.0.2.1:7440").mayfly(&["whoami"]).await;
    assert!(refused.refused(2).contains("clear text"), "{refused:?}");
}
