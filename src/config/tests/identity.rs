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

const PEOPLE: &str = "[identity.okta]\nissuer = \"https://id.example\"\nprincipal = \"okta:{sub}\"\nbound_claims = { hd = \"acme\" }\n\
     [identity.okta.sign_in]\nclient_id = \"mayfly\"\n";

#[test]
fn people_sign_in_as_people_and_nothing_else_is_accepted_unless_it_says_so() {
    let config = sound(&with(PEOPLE)).config;
    let provider = &config.identity.providers["okta"];
    let sign_in = provider.sign_in.as_ref().unwrap();
    assert_eq!((&*sign_in.client_id, &sign_in.client_secret), ("mayfly", &None));
    assert_eq!(sign_in.scopes, ["profile", "email"]);
    assert_eq!((sign_in.redirect_port, sign_in.max_age, sign_in.user_info), (None, None, false));
    assert!(sign_in.second_factor_acr.is_empty() && sign_in.second_factor_amr.is_empty());
    assert_eq!(provider.mapping.kind, crate::domain::PrincipalKind::Human);
    assert!(provider.audiences.is_empty());
    let both = with(&PEOPLE.replace("principal", "audiences = [\"mayfly\"]\nprincipal"));
    assert_eq!(sound(&both).config.identity.providers["okta"].audiences, ["mayfly"]);
}

#[test]
fn a_clients_secret_is_outside_the_file_and_is_compared_on_reload() {
    let filed = with(&format!("{PEOPLE}client_secret_file = \"secret\""));
    let config = sound(&filed).config;
    let secret = config.identity.providers["okta"].sign_in.as_ref().unwrap().client_secret.as_ref();
    assert_eq!(secret.unwrap().0.expose(), "hunter5");
    assert!(!format!("{config:?}").contains("hunter5"));
    let told = problems(&with(&format!("{PEOPLE}client_secret = \"hunter7\"")));
    assert!(told[0].starts_with("identity.okta.sign_in.client_secret: a client's secret is not"), "{told:?}");
    let machine = Machine::usual().file("/etc/mayfly/secret", "another\n", 0o600);
    let changed = load_on(&machine, &filed).unwrap().config;
    let told: Vec<_> = config.difference(&changed).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["identity.okta changes"]);
}

#[test]
fn what_makes_no_sense_for_people_who_sign_in_is_told() {
    let sign_in = |line: &str| with(&format!("{PEOPLE}{line}"));
    assert_refused(
        &with(&PEOPLE.replace("client_id = \"mayfly\"", "")),
        "identity.okta.sign_in.client_id: is missing",
    );
    assert_refused(
        &with(&PEOPLE.replace("\"mayfly\"", "\"\u{fc}\"")),
        "identity.okta.sign_in.client_id: has characters",
    );
    assert_refused(&sign_in("scopes = [\"a b\"]"), "identity.okta.sign_in.scopes: is no word");
    assert_refused(
        &sign_in("second_factor_acr = [\"\"]"),
        "identity.okta.sign_in.second_factor_acr: is no word",
    );
    assert_refused(
        &sign_in("redirect_port = 80"),
        "identity.okta.sign_in.redirect_port: expected a number, 1024",
    );
    assert_refused(&sign_in("clientid = \"x\""), "identity.okta.sign_in.clientid: unknown key");
    let workload = PEOPLE.replace("principal", "kind = \"workload\"\nprincipal");
    assert_refused(&with(&workload), "identity.okta.kind: is \"workload\", but people sign in here");
    let plain = PEOPLE
        .replace("https:", "http:")
        .replace("principal", "jwks_url = \"https://id.example/keys\"\nprincipal");
    assert_refused(&with(&plain), "identity.okta.issuer: is no https:// address: people sign in there");
    let mesh = "[identity.mesh]\ncertificate = \"spiffe\"\nprincipal = \"{spiffe_id}\"\n[identity.mesh.sign_in]\nclient_id = \"a\"\n";
    let told = problems(&[STORE, MTLS, mesh].concat());
    assert!(told[0].starts_with("identity.mesh.sign_in: is about assertions"), "{told:?}");
    assert_warned(
        &with(&PEOPLE.replace("{sub}", "{email}")),
        "identity.okta.principal: is made of a mail address",
    );
}
