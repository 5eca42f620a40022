//! `[identity.NAME]`: whose word is taken for who calls.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::Algorithm;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    ServerSettings,
    reader::{Located, Reader, quoted},
    section::Section,
    sign_in,
};
use crate::{
    domain::{GroupName, IdentityName, PrincipalKind},
    identity::{
        IdentitySettings,
        assertion::{
            ALGORITHMS, ClaimPath, KeyPlace, KeySet, KeySettings, Mapping, NameTemplate, ProviderSettings,
            is_trustworthy,
        },
        certificate::{CertificateName, CertificateSettings},
    },
};

/// Bytes an issuer, an audience or an address may have.
const LONGEST_TEXT: usize = 1_000;

/// What means nothing for certificates.
const OF_ASSERTIONS: [&str; 11] = [
    "audiences",
    "jwks_url",
    "jwks_file",
    "jwks_ca_file",
    "jwks_refresh",
    "jwks_max_stale",
    "algorithms",
    "leeway",
    "max_age",
    "replay",
    "sign_in",
];

/// One table.
enum Identity {
    Provider(Box<ProviderSettings>),
    Certificate(CertificateSettings),
}

/// Everything below `[identity]`.
pub(super) fn identity(section: &Section<'_>, server: Option<&ServerSettings>) -> Option<IdentitySettings> {
    // What is wrong with the server's section has been told: no more about it.
    let with_client_authority =
        server.is_none_or(|server| server.tls.as_ref().is_some_and(|tls| tls.clients.is_some()));
    let (mut settings, mut sound) = (IdentitySettings::default(), true);
    for (name, table) in section.children() {
        let parsed = section.reader.parse::<IdentityName>(&name);
        match (parsed, one(&table, with_client_authority)) {
            (Some(name), Some(Identity::Provider(provider))) => {
                settings.providers.insert(name.into(), *provider);
            }
            (Some(name), Some(Identity::Certificate(certificate))) => {
                settings.certificates.insert(name.into(), certificate);
            }
            _ => sound = false,
        }
    }
    sound.then_some(settings)
}

fn one(section: &Section<'_>, with_client_authority: bool) -> Option<Identity> {
    let (provider, mapping) = (provider(section), mapping(section));
    let (issuer, certificate) = (section.written("issuer"), section.choice("certificate"));
    match (issuer, certificate) {
        (Some(at), Some(_)) => {
            section.reader.complain(&at, "certificate is written as well; keep one of the two");
            None
        }
        (None, None) => {
            if section.written("certificate").is_none() && !section.is_broken() {
                section.miss(
                    "issuer",
                    "is missing: whose assertions are accepted (or certificate, for client certificates)",
                );
            }
            None
        }
        (Some(_), None) => {
            let (provider, mut mapping) = (provider?, mapping?);
            if section.written("sign_in").is_some() {
                sign_in::for_people(section, section.text("issuer").as_ref(), &mut mapping);
            }
            Some(Identity::Provider(Box::new(provider(mapping))))
        }
        (None, Some(kind)) => {
            for word in OF_ASSERTIONS {
                section.refuse(word, "is about assertions of an issuer, and means nothing for certificates");
            }
            if !with_client_authority {
                section.reader.complain(
                    &kind.at,
                    "needs server.tls.client_ca_file: the authorities that clients' certificates are verified against",
                );
            }
            let name = match kind.value.as_str() {
                "spiffe" => CertificateName::Spiffe,
                "subject" => CertificateName::Subject,
                _ => CertificateName::Dns,
            };
            Some(Identity::Certificate(CertificateSettings { name, mapping: mapping? }))
        }
    }
}

/// What makes a provider of a mapping. Everything is read, so that everything wrong is told, also where it is not needed.
fn provider(section: &Section<'_>) -> Option<impl FnOnce(Mapping) -> ProviderSettings> {
    let reader = section.reader;
    let issuer = section.name("issuer", LONGEST_TEXT);
    let audiences = section.texts("audiences");
    let keys = keys(section, issuer.as_ref());
    let algorithms = algorithms(section);
    let (leeway, max_age) = (section.duration("leeway"), section.period("max_age"));
    let replay = section.choice("replay");
    let people = section.child("sign_in");
    let sign_in = people.is_written().then(|| sign_in::sign_in(&people));
    // Where people sign in, nothing else need be accepted: ID tokens are for the client alone.
    let for_people_only = section.written("sign_in").is_some() && section.written("audiences").is_none();
    if issuer.is_some() && section.written("audiences").is_none() && !for_people_only {
        section.miss("audiences", "is missing: what assertions must be meant for, such as [\"mayfly\"]");
    }
    let audiences = if for_people_only { Vec::new() } else { audiences? };
    if let (Some(issuer), true) = (&issuer, audiences.is_empty() && !for_people_only) {
        reader.complain(
            &issuer.at,
            "has no audiences: what assertions must be meant for, such as [\"mayfly\"]",
        );
    }
    let empty = audiences.iter().filter(|audience| audience.value.is_empty());
    empty.for_each(|audience| reader.complain(&audience.at, "is empty"));
    if issuer.is_some() && section.written("bound_claims").is_none() {
        let who = if for_people_only {
            "everybody who has an account at this issuer can sign in"
        } else {
            "every assertion of this issuer for this audience makes a caller"
        };
        let message =
            format!("{who}; where others use the issuer too, say with bound_claims whose are accepted");
        section.reader.warn(&issuer.as_ref()?.at, message);
    }
    let (issuer, keys, algorithms) = (issuer?.value, keys?, algorithms?);
    let sign_in = match sign_in {
        None => None,
        Some(read) => Some(read?),
    };
    let (leeway, max_age, once) = (leeway?.value, max_age?.value, replay?.value == "once");
    let audiences = audiences.into_iter().map(|audience| audience.value).collect();
    Some(move |mapping| ProviderSettings {
        issuer,
        audiences,
        keys,
        algorithms,
        leeway,
        max_age,
        once,
        mapping,
        sign_in,
    })
}

fn algorithms(section: &Section<'_>) -> Option<Vec<Algorithm>> {
    let texts = section.texts("algorithms")?;
    let mut algorithms = Vec::new();
    for text in &texts {
        let known: Option<Algorithm> =
            ALGORITHMS.contains(&text.value.as_str()).then(|| text.value.parse().ok()).flatten();
        if known.is_none() {
            let message = format!(
                "{} is not one that may be pinned: {} (what is signed with a shared secret, or not at all, proves nothing)",
                quoted(&text.value),
                ALGORITHMS.join(", ")
            );
            section.reader.complain(&text.at, message);
        }
        algorithms.extend(known);
    }
    (algorithms.len() == texts.len()).then_some(algorithms)
}

fn keys(section: &Section<'_>, issuer: Option<&Located<String>>) -> Option<KeySettings> {
    let reader = section.reader;
    let (url, file) = (section.name("jwks_url", LONGEST_TEXT), section.path("jwks_file"));
    let authorities = authorities(section);
    let (refresh, max_stale) = (section.duration("jwks_refresh"), section.duration("jwks_max_stale"));
    if let Some(file) = file {
        for word in ["jwks_url", "jwks_ca_file", "jwks_refresh", "jwks_max_stale"] {
            section.refuse(word, "means nothing beside jwks_file");
        }
        return read_keys(reader, file);
    }
    let (refresh, max_stale) = (refresh?.value, max_stale?);
    if max_stale.value < refresh {
        reader.complain(&max_stale.at, "is shorter than jwks_refresh");
    }
    let place = match (url, issuer) {
        (Some(url), _) => trustworthy(reader, &url).then_some(KeyPlace::Url(url.value))?,
        (None, Some(issuer)) => {
            trustworthy(reader, issuer).then(|| KeyPlace::Discovery { issuer: issuer.value.clone() })?
        }
        (None, None) => return None,
    };
    // One that is named and cannot be used has been complained of.
    Some(KeySettings::Fetched { place, authorities, refresh, max_stale: max_stale.value })
}

fn trustworthy(reader: &Reader<'_>, url: &Located<String>) -> bool {
    let trustworthy = is_trustworthy(&url.value);
    if !trustworthy {
        let message = "is no https:// address: keys are fetched from it, and whoever can change them on the way can be anybody \
                       (name jwks_url or jwks_file when the issuer is not where its keys are)";
        reader.complain(&url.at, message);
    }
    trustworthy
}

fn read_keys(reader: &Reader<'_>, file: Located<std::path::PathBuf>) -> Option<KeySettings> {
    let path = quoted(&file.value.to_string_lossy());
    let keys = match reader.environment.read(&file.value) {
        Err(error) => Err(format!("cannot read {path}: {error}")),
        Ok(text) => KeySet::parse(text.as_bytes()).map_err(|error| format!("{path}: {error}")),
    };
    match keys {
        Ok(keys) => Some(KeySettings::Read { file: file.value, keys }),
        Err(message) => {
            reader.complain(&file.at, message);
            None
        }
    }
}

/// The authorities trusted instead of the system's.
fn authorities(section: &Section<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let file = section.path("jwks_ca_file")?;
    let path = quoted(&file.value.to_string_lossy());
    let message = match section.reader.environment.read(&file.value) {
        Err(error) => format!("cannot read {path}: {error}"),
        Ok(text) => {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
            match found {
                Ok(found) if !found.is_empty() => return Some(found),
                _ => format!("{path} holds no PEM certificate"),
            }
        }
    };
    section.reader.complain(&file.at, message);
    None
}

fn mapping(section: &Section<'_>) -> Option<Mapping> {
    let reader = section.reader;
    let principal = section.text("principal").and_then(|text| checked(reader, &text, NameTemplate::parse));
    let kind = section.choice("kind");
    let groups = section.texts("groups").and_then(|texts| reader.parse_all::<GroupName>(&texts));
    let groups_claim = match section.text("groups_claim") {
        Some(text) => checked(reader, &text, ClaimPath::parse).map(Some),
        None => Some(None),
    };
    let (attributes, bound) = (attributes(section), bound_claims(section));
    Some(Mapping {
        principal: principal?,
        kind: match kind?.value.as_str() {
            "human" => PrincipalKind::Human,
            "contractor" => PrincipalKind::Contractor,
            _ => PrincipalKind::Workload,
        },
        groups: groups?.into_iter().collect::<BTreeSet<_>>(),
        groups_claim: groups_claim?,
        attributes: attributes?,
        bound: bound?,
    })
}

fn attributes(section: &Section<'_>) -> Option<BTreeMap<ClaimPath, String>> {
    let (reader, mut attributes, mut sound) = (section.reader, BTreeMap::new(), true);
    for (claim, name) in section.table("attributes").unwrap_or_default() {
        let is_word = name.value.len() <= 63
            && name.value.starts_with(|c: char| c.is_ascii_lowercase())
            && name.value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_word {
            let message = format!("{} is no attribute's name: a-z, 0-9 and _, up to 63", quoted(&name.value));
            reader.complain(&name.at, message);
        }
        let twice = attributes.values().any(|other| *other == name.value);
        if twice {
            reader.complain(&name.at, "is the name of another attribute as well");
        }
        match checked(reader, &claim, ClaimPath::parse).filter(|_| is_word && !twice) {
            Some(claim) => {
                attributes.insert(claim, name.value);
            }
            None => sound = false,
        }
    }
    sound.then_some(attributes)
}

fn bound_claims(section: &Section<'_>) -> Option<BTreeMap<ClaimPath, Vec<String>>> {
    let (reader, mut bound, mut sound) = (section.reader, BTreeMap::new(), true);
    for (claim, values) in section.lists("bound_claims").unwrap_or_default() {
        if values.is_empty() {
            reader.complain(&claim.at, "allows no value: nobody would ever be accepted");
            sound = false;
        }
        match checked(reader, &claim, ClaimPath::parse) {
            Some(claim) => {
                bound.insert(claim, values.into_iter().map(|value| value.value).collect());
            }
            None => sound = false,
        }
    }
    sound.then_some(bound)
}

fn checked<T, E: ToString>(
    reader: &Reader<'_>,
    text: &Located<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    parse(&text.value).map_err(|error| reader.complain(&text.at, error.to_string())).ok()
}
