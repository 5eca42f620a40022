//! `[identity.NAME]`.

use super::{Machine, STORE, assert_refused, assert_warned, load_on, problems, problems_on, sound, warnings};
use crate::identity::{
    assertion::{KeyPlace, KeySettings},
    certificate::CertificateName,
};

const CI: &str = "[identity.ci]\nissuer = \"https://ci.example\"\naudiences = [\"mayfly\"]\nprincipal = \"ci:{sub}\"\n\
     bound_claims = { repository = [\"acme/*\", \"other\"], ref = \"main\" }\n";

const MTLS: &str = "[server.tls]\ncertificate_file = \"tls/cert.pem\"\nkey_file = \"tls/key.pem\"\nclient_ca_file = \"tls/cert.pem\"\n";

fn with(identity: &str) -> String {
    [STORE, identity].concat()
}

#[test]
fn a_provider_is_found_by_its_issuer_and_pins_two_algorithms_unless_told_otherwise() {
    let text = with(CI);
    let config = sound(&text).config;
    let provider = &config.identity.providers["ci"];
    assert_eq!(format!("{:?}", provider.algorithms), "[RS256, ES256]");
    assert_eq!(
        (provider.leeway.as_secs(), provider.max_age.unwrap().as_secs(), provider.once),
        (30, 3600, false)
    );
    let KeySettings::Fetched { place, authorities: None, refresh, max_stale } = &provider.keys else {
        panic!("{:?}", provider.keys)
    };
    assert_eq!(*place, KeyPlace::Discovery { issuer: "https://ci.example".to_owned() });
    assert_eq!((refresh.as_secs(), max_stale.as_secs()), (3600, 86_400));
    let bound: Vec<_> =
        provider.mapping.bound.iter().map(|(claim, values)| (claim.as_str(), values.len())).collect();
    assert_eq!(bound, [("ref", 1), ("repository", 2)]);
    assert!(warnings(&text).iter().all(|warning| !warning.starts_with("identity")));
}

#[test]
fn a_provider_that_anybody_can_use_is_warned_of() {
    let open = CI.lines().filter(|line| !line.starts_with("bound")).collect::<Vec<_>>().join("\n");
    assert_warned(&with(&open), "identity.ci.issuer: every assertion of this issuer");
}

#[test]
fn algorithms_with_a_shared_secret_and_none_cannot_be_pinned() {
    for algorithm in ["HS256", "HS512", "none", "rs256", ""] {
        let text = with(&format!("{CI}algorithms = [\"RS256\", \"{algorithm}\"]"));
        assert_refused(
            &text,
            &format!("identity.ci.algorithms: \"{algorithm}\" is not one that may be pinned"),
        );
    }
}

#[test]
fn keys_are_not_fetched_where_others_can_change_them() {
    for url in ["http://ci.example/keys", "ci.example", "file:///etc/keys", "https://user@ci.example/"] {
        let text = with(&format!("{CI}jwks_url = \"{url}\""));
        assert_refused(&text, "identity.ci.jwks_url: is no https:// address");
    }
    sound(&with(&format!("{CI}jwks_url = \"http://127.0.0.1:8080/keys\"")));
    let plain = CI.replace("https:", "http:");
    assert_refused(&with(&plain), "identity.ci.issuer: is no https:// address");
}

#[test]
fn a_file_of_keys_must_be_one() {
    let text = with(&format!("{CI}jwks_file = \"keys.json\""));
    assert_refused(&text, "identity.ci.jwks_file: cannot read");
    let machine = Machine::usual().file("/etc/mayfly/keys.json", "{\"keys\": []}", 0o644);
    let told = problems_on(&machine, &text);
    assert!(told[0].contains("it has no key to verify signatures with"), "{told:?}");
    let key = r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#;
    let machine = Machine::usual().file("/etc/mayfly/keys.json", key, 0o644);
    let config = load_on(&machine, &text).unwrap().config;
    assert!(matches!(config.identity.providers["ci"].keys, KeySettings::Read { .. }));
    let told = problems_on(&machine, &format!("{text}\njwks_url = \"https://ci.example/keys\""));
    assert_eq!(told, ["identity.ci.jwks_url: means nothing beside jwks_file"]);
}

#[test]
fn what_is_missing_or_makes_no_sense_is_told() {
    assert_refused(&with("[identity.ci]\nprincipal = \"{sub}\""), "identity.ci.issuer: is missing");
    let no_audience = CI.replace("audiences = [\"mayfly\"]\n", "");
    assert_refused(&with(&no_audience), "identity.ci.audiences: is missing");
    assert_refused(&with(&CI.replace("[\"mayfly\"]", "[]")), "identity.ci.issuer: has no audiences");
    assert_refused(&with(&CI.replace("ci:{sub}", "ci")), "identity.ci.principal: names no claim");
    assert_refused(&with(&CI.replace("{sub}", "{a}{b}")), "identity.ci.principal: between two claims");
    assert_refused(&with(&CI.replace("[identity.ci]", "[identity.\"c i\"]")), "identity.\"c i\"");
    assert_refused(&with(&format!("{CI}groups = [\"a b\"]")), "identity.ci.groups: it has ' '");
    assert_refused(&with(&format!("{CI}attributes = {{ sub = \"Sub\" }}")), "identity.ci.attributes.sub");
    assert_refused(&with(&CI.replace("\"main\"", "[]")), "identity.ci.bound_claims.ref: allows no value");
    assert_refused(&with(&CI.replace("\"main\"", "7")), "identity.ci.bound_claims.ref: expected a text");
    assert_refused(&with(&format!("{CI}jwks_max_stale = \"30m\"")), "identity.ci.jwks_max_stale: is shorter");
}

#[test]
fn certificates_need_somebody_to_verify_them_and_have_no_keys_of_their_own() {
    let mesh = "[identity.mesh]\ncertificate = \"spiffe\"\nprincipal = \"{spiffe_id}\"\n";
    assert_refused(&with(mesh), "identity.mesh.certificate: needs server.tls.client_ca_file");
    let config = sound(&[STORE, MTLS, mesh].concat()).config;
    assert_eq!(config.identity.certificates["mesh"].name, CertificateName::Spiffe);
    let told = problems(&[STORE, MTLS, mesh, "replay = \"once\"\n"].concat());
    assert!(told[0].starts_with("identity.mesh.replay: is about assertions"), "{told:?}");
    let told =
        problems(&[STORE, MTLS, mesh, "issuer = \"https://ci.example\"\naudiences = [\"a\"]\n"].concat());
    assert_eq!(told, ["identity.mesh.issuer: certificate is written as well; keep one of the two"]);
}

#[test]
fn a_change_of_an_identity_is_told_and_needs_no_restart() {
    let (old, new) = (sound(&with(CI)).config, sound(&with(&CI.replace("\"main\"", "\"release\""))).config);
    let told: Vec<_> = old.difference(&new).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["identity.ci changes"]);
    let gone: Vec<_> = old.difference(&sound(STORE).config).iter().map(ToString::to_string).collect();
    assert_eq!(gone, ["identity.ci is removed"]);
}
