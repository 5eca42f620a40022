//! Client certificates as identities. TLS has verified that an authority configured for clients signed it and that the client
//! has its key; here it is read who that is.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::FromDer as _,
    x509::{AttributeTypeAndValue, X509Name},
};

use super::assertion::{Mapping, MappingError};
use crate::domain::Principal;

/// Bytes a SPIFFE ID may have.
const SPIFFE_LIMIT: usize = 2048;

/// What of a certificate says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateName {
    /// The SPIFFE ID, its one URI.
    Spiffe,
    /// The one common name of the subject.
    Subject,
    /// The one DNS name.
    Dns,
}

/// Certificates that are accepted as identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    /// What says who it is.
    pub name: CertificateName,
    /// Who that is here.
    pub mapping: Mapping,
}

/// Why a certificate makes no caller known. The text is fit for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is past its time, or before it: a connection may outlive its certificate.
    #[error("the client certificate has expired, or is not valid yet")]
    Time,
    /// What says who it is, is not there once.
    #[error("the client certificate has {found} of what says who it is: it needs exactly one {what}")]
    Name {
        /// What it needs.
        what: &'static str,
        /// How many it has.
        found: &'static str,
    },
    /// Its URI is no SPIFFE ID.
    #[error("the client certificate's URI is no SPIFFE ID (spiffe://TRUST-DOMAIN/PATH)")]
    Spiffe,
    /// It does not say who it is here.
    #[error("the client certificate does not make a caller known here: {0}")]
    Mapping(#[from] MappingError),
    /// It would be several.
    #[error(
        "several identities accept the client certificate ({0}): their bound_claims must tell them apart"
    )]
    Ambiguous(String),
}

/// A verified client certificate, as far as it says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    fingerprint: String,
    start: i64,
    end: i64,
    common_names: Vec<String>,
    dns_names: Vec<String>,
    uris: Vec<String>,
    claims: Map<String, Value>,
}

impl ClientCertificate {
    /// Reads a certificate (DER) that TLS has verified; `None` when it cannot be read.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let alternative = certificate.subject_alternative_name().ok()?;
        let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
        for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                _ => {}
            }
        }
        let subject = certificate.subject();
        let claims = [
            ("organization", texts(subject.iter_organization())),
            ("organizational_unit", texts(subject.iter_organizational_unit())),
            ("dns_names", dns_names.clone()),
            ("uris", uris.clone()),
            ("issuer_common_name", texts(common_names(certificate.issuer()))),
        ];
        Some(Self {
            fingerprint: HEXLOWER.encode(digest::digest(&digest::SHA256, der).as_ref()),
            start: certificate.validity().not_before.timestamp(),
            end: certificate.validity().not_after.timestamp(),
            common_names: texts(common_names(subject)),
            dns_names,
            uris,
            claims: claims.into_iter().map(|(name, values)| (name.to_owned(), json!(values))).collect(),
        })
    }

    /// SHA-256 of it, in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whom it makes known, if exactly one of the settings accepts it.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn principal(
        &self,
        settings: &BTreeMap<String, CertificateSettings>,
        now: Timestamp,
    ) -> Result<Principal, CertificateError> {
        if now.as_second() < self.start || now.as_second() > self.end {
            return Err(CertificateError::Time);
        }
        let mut refused = CertificateError::Time;
        let mut accepted: Vec<(&str, Principal)> = Vec::new();
        for (name, settings) in settings {
            match self.by(settings) {
                Ok(principal) => accepted.push((name, principal)),
                Err(error) => refused = error,
            }
        }
        match (accepted.pop(), accepted.is_empty()) {
            (None, _) => Err(refused),
            (Some((_, principal)), true) => Ok(principal),
            (Some(last), false) => {
                let names = accepted.iter().chain([&last]).map(|(name, _)| *name);
                Err(CertificateError::Ambiguous(names.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    fn by(&self, settings: &CertificateSettings) -> Result<Principal, CertificateError> {
        let mut claims = self.claims.clone();
        match settings.name {
            CertificateName::Spiffe => {
                let id = one(&self.uris, "URI")?;
                let (domain, path) = spiffe(id).ok_or(CertificateError::Spiffe)?;
                claims.insert("spiffe_id".to_owned(), id.into());
                claims.insert("trust_domain".to_owned(), domain.into());
                claims.insert("path".to_owned(), path.into());
            }
            CertificateName::Subject => {
                let name = one(&self.common_names, "common name")?;
                claims.insert("common_name".to_owned(), name.into());
            }
            CertificateName::Dns => {
                let name = one(&self.dns_names, "DNS name")?;
                claims.insert("dns_name".to_owned(), name.into());
            }
        }
        Ok(settings.mapping.principal(&Value::Object(claims))?)
    }
}

fn common_names<'n>(name: &'n X509Name<'n>) -> impl Iterator<Item = &'n AttributeTypeAndValue<'n>> {
    name.iter_common_name()
}

/// The values that are text.
fn texts<'n>(values: impl Iterator<Item = &'n AttributeTypeAndValue<'n>>) -> Vec<String> {
    values.filter_map(|value| value.as_str().ok()).map(str::to_owned).collect()
}

fn one<'v>(values: &'v [String], what: &'static str) -> Result<&'v str, CertificateError> {
    match values {
        [value] => Ok(value),
        [] => Err(CertificateError::Name { what, found: "none" }),
        _ => Err(CertificateError::Name { what, found: "several" }),
    }
}

/// Trust domain and path (without its first `/`) of a SPIFFE ID.
fn spiffe(id: &str) -> Option<(&str, &str)> {
    let (domain, path) =
        id.strip_prefix("spiffe://").filter(|_| id.len() <= SPIFFE_LIMIT)?.split_once('/')?;
    let in_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    let in_path = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let segment = |text: &str| !text.is_empty() && text != "." && text != ".." && text.chars().all(in_path);
    let right = !domain.is_empty() && domain.len() <= 255 && domain.chars().all(in_domain);
    (right && path.split('/').all(segment)).then_some((domain, path))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;
    use crate::{
        domain::PrincipalKind,
        identity::assertion::{ClaimPath, NameTemplate},
    };

    fn settings(name: CertificateName, template: &str) -> CertificateSettings {
        let mapping = Mapping {
            principal: NameTemplate::parse(template).unwrap(),
            kind: PrincipalKind::Workload,
            groups: [].into(),
            groups_claim: None,
            attributes: BTreeMap::new(),
            bound: BTreeMap::new(),
        };
        CertificateSettings { name, mapping }
    }

    fn certificate(common_name: Option<&str>, dns: &[&str], uris: &[&str]) -> ClientCertificate {
        let mut params =
            CertificateParams::new(dns.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.distinguished_name.push(DnType::OrganizationName, "acme");
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::read(der.der()).unwrap()
    }

    fn named(certificate: &ClientCertificate, settings: CertificateSettings) -> Result<String, String> {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let made = certificate.principal(&[("a".to_owned(), settings)].into(), now);
        made.map(|principal| principal.name.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_spiffe_id_is_a_certificates_one_uri() {
        let spiffe = |uris: &[&str], template| {
            named(&certificate(None, &[], uris), settings(CertificateName::Spiffe, template))
        };
        let id = "spiffe://acme.example/ns/shop/sa/web";
        assert_eq!(spiffe(&[id], "{spiffe_id}").unwrap(), id);
        assert_eq!(spiffe(&[id], "{trust_domain}:{path}").unwrap(), "acme.example:ns/shop/sa/web");
        assert!(spiffe(&[], "{spiffe_id}").unwrap_err().contains("has none"));
        assert!(
            spiffe(&[id, "spiffe://acme.example/other"], "{spiffe_id}").unwrap_err().contains("has several")
        );
        for uri in [
            "https://acme.example/x",
            "spiffe://acme.example",
            "spiffe://acme.example/",
            "spiffe://acme.example/a/../b",
            "spiffe://ACME.example/a",
            "spiffe://acme.example:1/a",
            "spiffe://u@acme.example/a",
            "spiffe://acme.example/a?b",
            "spiffe:///a",
        ] {
            assert!(spiffe(&[uri], "{spiffe_id}").unwrap_err().contains("no SPIFFE ID"), "{uri}");
        }
    }

    #[test]
    fn a_subject_or_a_dns_name_is_an_identity_where_it_is_configured() {
        let web = certificate(Some("web"), &["web.acme.example"], &[]);
        assert_eq!(
            named(&web, settings(CertificateName::Subject, "host:{common_name}")).unwrap(),
            "host:web"
        );
        assert_eq!(named(&web, settings(CertificateName::Dns, "{dns_name}")).unwrap(), "web.acme.example");
        let many = certificate(None, &["a.example", "b.example"], &[]);
        assert!(named(&many, settings(CertificateName::Dns, "{dns_name}")).unwrap_err().contains("several"));
        assert!(
            named(&many, settings(CertificateName::Subject, "{common_name}")).unwrap_err().contains("none")
        );
        let hostile = certificate(Some("a b"), &[], &[]);
        assert!(
            named(&hostile, settings(CertificateName::Subject, "{common_name}"))
                .unwrap_err()
                .contains("has ' '")
        );
    }

    #[test]
    fn bound_claims_hold_for_certificates_too_and_one_setting_must_accept() {
        let web = certificate(Some("web"), &[], &[]);
        let mut bound = settings(CertificateName::Subject, "{common_name}");
        let organization = ClaimPath::parse("organization").unwrap();
        bound.mapping.bound = [(organization, vec!["other".to_owned()])].into();
        assert!(named(&web, bound.clone()).unwrap_err().contains("bound_claims"));
        let plain = settings(CertificateName::Subject, "{common_name}");
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let two = [("a".to_owned(), bound), ("b".to_owned(), plain.clone())].into();
        assert_eq!(web.principal(&two, now).unwrap().name.as_str(), "web");
        let both = [("a".to_owned(), plain.clone()), ("b".to_owned(), plain)].into();
        assert_eq!(web.principal(&both, now), Err(CertificateError::Ambiguous("a, b".to_owned())));
    }

    #[test]
    fn a_certificate_counts_only_within_its_time() {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2025, 2, 1);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = ClientCertificate::read(der.der()).unwrap();
        for now in ["2024-12-31T00:00:00Z", "2025-02-02T00:00:00Z"] {
            let refused = read.principal(&BTreeMap::new(), now.parse().unwrap());
            assert_eq!(refused, Err(CertificateError::Time));
        }
        assert_eq!(ClientCertificate::read(b"words"), None);
    }
}
