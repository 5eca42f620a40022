//! `[identity.NAME.sign_in]`: how people sign in at an identity provider.

use super::{
    reader::{Located, Reader},
    secret,
    section::Section,
};
use crate::{
    domain::PrincipalKind,
    identity::{
        assertion::{Mapping, is_trustworthy},
        sign_in::{ClientSecret, SignInSettings},
    },
};

/// Bytes of a client's name, of a scope, and of what says that a second factor was given.
const LONGEST_TEXT: usize = 300;

const SECRET_INSTEAD: &str = "a client's secret is not written into this file: put it into a file that only Mayfly can read and \
                              name that with client_secret_file = \"…\", or into an environment variable and write \
                              client_secret = \"env:NAME\"";

/// The table below a provider's, which is written; `None`: it cannot be used.
pub(super) fn sign_in(section: &Section<'_>) -> Option<SignInSettings> {
    let reader = section.reader;
    let client_id = section.name("client_id", LONGEST_TEXT);
    let secret_written = section.written("client_secret").or_else(|| section.written("client_secret_file"));
    let client_secret = secret::either(section, ("client_secret", "client_secret_file"), SECRET_INSTEAD);
    let scopes = words(section, "scopes");
    let port_written = section.written("redirect_port");
    let redirect_port = section.number("redirect_port");
    let max_age = section.period("max_age");
    let (acr, amr) = (words(section, "second_factor_acr"), words(section, "second_factor_amr"));
    let user_info = section.flag("user_info");
    if let Some(id) = &client_id
        && !id.value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    {
        reader.complain(&id.at, "has characters that no client's name has (RFC 6749)");
    }
    if secret_written.is_some() && client_secret.is_none()
        || port_written.is_some() && redirect_port.is_none()
    {
        return None;
    }
    Some(SignInSettings {
        client_id: client_id?.value,
        client_secret: client_secret.map(|secret| ClientSecret(secret.value)),
        scopes: scopes?,
        redirect_port: redirect_port.map(|port| port.value),
        max_age: max_age?.value,
        second_factor_acr: acr?,
        second_factor_amr: amr?,
        user_info: user_info?,
    })
}

/// A list of words without blanks: they are sent to the provider with blanks between them.
fn words(section: &Section<'_>, word: &'static str) -> Option<Vec<String>> {
    let texts = section.texts(word)?;
    let is_word = |text: &str| {
        !text.is_empty()
            && text.len() <= LONGEST_TEXT
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    };
    let odd: Vec<_> = texts.iter().filter(|text| !is_word(&text.value)).collect();
    for text in &odd {
        section.reader.complain(&text.at, "is no word: letters, digits and marks, without blanks or quotes");
    }
    odd.is_empty().then(|| texts.into_iter().map(|text| text.value).collect())
}

/// People are signed in as people, whatever JWTs of the same table make; what is told of who they are is looked at twice.
pub(super) fn for_people(section: &Section<'_>, issuer: Option<&Located<String>>, mapping: &mut Mapping) {
    let reader = section.reader;
    match section.written("kind") {
        None => mapping.kind = PrincipalKind::Human,
        Some(at) if mapping.kind == PrincipalKind::Workload => {
            reader.complain(&at, "is \"workload\", but people sign in here: \"human\" or \"contractor\"");
        }
        Some(_) => {}
    }
    if let Some(issuer) = issuer.filter(|issuer| !is_trustworthy(&issuer.value)) {
        let message = "is no https:// address: people sign in there, and Mayfly finds out there where";
        reader.complain(&issuer.at, message);
    }
    warn_of_unverified_addresses(section, reader, mapping);
}

fn warn_of_unverified_addresses(section: &Section<'_>, reader: &Reader<'_>, mapping: &Mapping) {
    let named_by_mail = mapping.principal.claims().any(|claim| claim.as_str() == "email");
    let verified = mapping.bound.keys().any(|claim| claim.as_str() == "email_verified");
    if let Some(at) = section.written("principal").filter(|_| named_by_mail && !verified) {
        reader.warn(
            &at,
            "is made of a mail address that people may have chosen themselves: say bound_claims = { email_verified = \"true\" }, \
             or make it of another claim, such as {sub}",
        );
    }
}
