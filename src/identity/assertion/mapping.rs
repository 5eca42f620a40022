//! From what an identity provider claims to a principal, as the configuration declares. Nothing is ever cleaned or cut to fit:
//! what does not fit is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::{ADMINISTRATORS, GroupName, NameError, Principal, PrincipalKind, PrincipalName};

/// Groups that claims may give one principal.
const GROUPS_LIMIT: usize = 200;

/// Bytes an attribute may have.
const ATTRIBUTE_LIMIT: usize = 500;

/// What claims must hold, and what is made of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The name.
    pub principal: NameTemplate,
    /// The kind.
    pub kind: PrincipalKind,
    /// Groups everybody is in whom this mapping makes.
    pub groups: BTreeSet<GroupName>,
    /// The claim that has further groups.
    pub groups_claim: Option<ClaimPath>,
    /// Claims that become attributes, with the attributes' names.
    pub attributes: BTreeMap<ClaimPath, String>,
    /// Claims that must have one of these values each; `*` stands for any characters.
    pub bound: BTreeMap<ClaimPath, Vec<String>>,
}

/// Why claims make no principal. Names claims as the configuration does, and no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// It is not there, or a list or an object where text is needed.
    #[error("the claim \"{0}\" is missing, or not text")]
    Missing(String),
    /// Another value is demanded.
    #[error("the claim \"{0}\" is not one that bound_claims allows")]
    Bound(String),
    /// It holds what the template has behind it, so that it would be unclear where it ends.
    #[error(
        "the claim \"{claim}\" has {separator:?} in it, which separates it from what follows in the principal's name"
    )]
    Separator {
        /// The claim.
        claim: String,
        /// What follows it in the template.
        separator: char,
    },
    /// The name is none.
    #[error("the principal's name {0}")]
    Principal(NameError),
    /// A group is none.
    #[error("a group in the claim \"{claim}\" {error}")]
    Group {
        /// The claim.
        claim: String,
        /// What is wrong.
        error: NameError,
    },
    /// A claim names the group that administers Mayfly.
    #[error("claims make nobody an administrator: the configuration's own groups do")]
    Administrators,
    /// Too many groups.
    #[error("the claim \"{0}\" has more than {GROUPS_LIMIT} groups")]
    TooManyGroups(String),
    /// An attribute is too long, or has control characters.
    #[error(
        "the claim \"{0}\" is no attribute: it is longer than {ATTRIBUTE_LIMIT} bytes or has control characters"
    )]
    Attribute(String),
}

/// Which claim: its name, or, beginning with `/`, the way to it through objects (a JSON pointer).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimPath(String);

/// The text is no way to a claim, or no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No claim's name.
    #[error("a claim is named by 1 to 200 characters without braces or control characters")]
    Claim,
    /// A brace without its counterpart.
    #[error("a claim stands in braces, such as {{sub}}, and braces stand for nothing else")]
    Braces,
    /// Nothing between two claims.
    #[error(
        "between two claims there must be something to tell where the one ends and the other begins, such as {{a}}:{{b}}"
    )]
    Adjacent,
    /// Everybody would be the same.
    #[error("names no claim: everybody would be the same principal")]
    Constant,
}

impl ClaimPath {
    /// The claim of a name or way.
    ///
    /// # Errors
    /// [`TemplateError::Claim`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let plain = |c: char| !c.is_control() && c != '{' && c != '}';
        if text.is_empty() || text == "/" || text.len() > 200 || !text.chars().all(plain) {
            return Err(TemplateError::Claim);
        }
        Ok(Self(text.to_owned()))
    }

    /// As the configuration writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of<'v>(&self, claims: &'v Value) -> Option<&'v Value> {
        if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&self.0) }
    }

    /// The claim as text; a number and `true` have a text, a list has none.
    fn text(&self, claims: &Value) -> Option<String> {
        match self.of(claims)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    fn required(&self, claims: &Value) -> Result<String, MappingError> {
        self.text(claims).ok_or_else(|| MappingError::Missing(self.0.clone()))
    }
}

/// A principal's name, made of claims: `repo:{repository}:{ref}`. Two different sets of claims never make the same name: a claim
/// must not contain the character that the template has behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate {
    head: String,
    /// Each claim, and what follows it.
    parts: Vec<(ClaimPath, String)>,
}

impl NameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = text.split('{');
        let head = pieces.next().unwrap_or_default();
        if head.contains('}') {
            return Err(TemplateError::Braces);
        }
        let mut parts = Vec::new();
        for piece in pieces {
            let (claim, literal) = piece.split_once('}').ok_or(TemplateError::Braces)?;
            if literal.contains('}') {
                return Err(TemplateError::Braces);
            }
            parts.push((ClaimPath::parse(claim)?, literal.to_owned()));
        }
        let (_, before) = parts.split_last().ok_or(TemplateError::Constant)?;
        if before.iter().any(|(_, literal)| literal.is_empty()) {
            return Err(TemplateError::Adjacent);
        }
        Ok(Self { head: head.to_owned(), parts })
    }

    /// The claims it is made of.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimPath> {
        self.parts.iter().map(|(claim, _)| claim)
    }

    fn fill(&self, claims: &Value) -> Result<PrincipalName, MappingError> {
        let mut name = self.head.clone();
        for (claim, literal) in &self.parts {
            let value = claim.required(claims)?;
            if let Some(separator) = literal.chars().next().filter(|separator| value.contains(*separator)) {
                return Err(MappingError::Separator { claim: claim.0.clone(), separator });
            }
            name.push_str(&value);
            name.push_str(literal);
        }
        name.parse().map_err(MappingError::Principal)
    }
}

impl Mapping {
    /// The principal that claims make.
    ///
    /// # Errors
    /// [`MappingError`].
    pub fn principal(&self, claims: &Value) -> Result<Principal, MappingError> {
        for (claim, allowed) in &self.bound {
            if !holds(claim.of(claims), allowed) {
                return Err(MappingError::Bound(claim.0.clone()));
            }
        }
        let mut attributes = BTreeMap::new();
        for (claim, name) in &self.attributes {
            // What is not claimed is not known: policy denies where it needs it.
            if claim.of(claims).is_none_or(Value::is_null) {
                continue;
            }
            let value = claim.required(claims)?;
            if value.len() > ATTRIBUTE_LIMIT || value.chars().any(char::is_control) {
                return Err(MappingError::Attribute(claim.0.clone()));
            }
            attributes.insert(name.clone(), value);
        }
        let (name, groups) = (self.principal.fill(claims)?, self.groups(claims)?);
        Ok(Principal { name, kind: self.kind, groups, attributes })
    }

    fn groups(&self, claims: &Value) -> Result<BTreeSet<GroupName>, MappingError> {
        let mut groups = self.groups.clone();
        let Some(claim) = &self.groups_claim else { return Ok(groups) };
        let named: Vec<&str> = match claim.of(claims) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(group)) => vec![group],
            Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect()
            }
            Some(_) => return Err(MappingError::Missing(claim.0.clone())),
        };
        if named.len() > GROUPS_LIMIT {
            return Err(MappingError::TooManyGroups(claim.0.clone()));
        }
        for group in named {
            let group: GroupName =
                group.parse().map_err(|error| MappingError::Group { claim: claim.0.clone(), error })?;
            if group.as_str() == ADMINISTRATORS {
                return Err(MappingError::Administrators);
            }
            groups.insert(group);
        }
        Ok(groups)
    }
}

/// Whether a claim has one of the values allowed; of a list, whether one of its items has.
fn holds(claim: Option<&Value>, allowed: &[String]) -> bool {
    let fits = |text: &str| allowed.iter().any(|pattern| matches(pattern, text));
    match claim {
        Some(Value::String(text)) => fits(text),
        Some(Value::Number(number)) => fits(&number.to_string()),
        Some(Value::Bool(flag)) => fits(&flag.to_string()),
        Some(Value::Array(items)) => items.iter().any(|item| item.as_str().is_some_and(fits)),
        _ => false,
    }
}

/// Whether a text fits a pattern, in which `*` stands for any characters, or none. Takes time in proportion to the product of
/// their lengths at most.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapping(principal: &str) -> Mapping {
        Mapping {
            principal: NameTemplate::parse(principal).unwrap(),
            kind: PrincipalKind::Workload,
            groups: ["ci".parse().unwrap()].into(),
            groups_claim: None,
            attributes: BTreeMap::new(),
            bound: BTreeMap::new(),
        }
    }

    fn path(text: &str) -> ClaimPath {
        ClaimPath::parse(text).unwrap()
    }

    #[test]
    fn a_template_is_filled_with_claims_and_with_claims_within_claims() {
        let claims =
            json!({"repository": "acme/shop", "ref": "refs/heads/main", "run": 7, "k8s.io": {"ns": "a"}});
        for (template, name) in [
            ("repo:{repository}:{ref}", "repo:acme/shop:refs/heads/main"),
            ("run-{run}", "run-7"),
            ("k8s:{/k8s.io/ns}", "k8s:a"),
            ("{repository}", "acme/shop"),
        ] {
            assert_eq!(mapping(template).principal(&claims).unwrap().name.as_str(), name);
        }
    }

    #[test]
    fn templates_that_would_make_one_of_many_are_refused() {
        for (text, error) in [
            ("", TemplateError::Constant),
            ("ci", TemplateError::Constant),
            ("{a}{b}", TemplateError::Adjacent),
            ("{a", TemplateError::Braces),
            ("a}", TemplateError::Braces),
            ("{a}}", TemplateError::Braces),
            ("{}", TemplateError::Claim),
            ("{/}", TemplateError::Claim),
        ] {
            assert_eq!(NameTemplate::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn names_are_refused_and_never_cleaned() {
        for (claims, words) in [
            (json!({}), "the claim \"a\" is missing"),
            (json!({"a": ["x"], "b": "y"}), "the claim \"a\" is missing, or not text"),
            (json!({"a": "x:y", "b": "z"}), "has ':' in it"),
            (json!({"a": "x y", "b": "z"}), "the principal's name has ' '"),
            (json!({"a": "x", "b": "z".repeat(300)}), "the principal's name is 303 bytes long"),
            (json!({"a": "x", "b": "ü"}), "the principal's name has 'ü'"),
        ] {
            let error = mapping("p{a}:{b}").principal(&claims).unwrap_err().to_string();
            assert!(error.starts_with(words) || error.contains(words), "{error}");
        }
        // Where it ends is clear all the same.
        assert!(mapping("p{a}:{b}").principal(&json!({"a": "x", "b": "y:z"})).is_ok());
    }

    #[test]
    fn groups_come_from_a_claim_beside_the_fixed_ones() {
        let of = |claim: Value| {
            let mapping = Mapping { groups_claim: Some(path("groups")), ..mapping("{sub}") };
            let made = mapping.principal(&json!({"sub": "x", "groups": claim}));
            made.map(|principal| {
                principal.groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(of(json!(["b", "a"])).unwrap(), "a b ci");
        assert_eq!(of(json!("a")).unwrap(), "a ci");
        assert_eq!(of(Value::Null).unwrap(), "ci");
        assert_eq!(of(json!({"a": 1})), Err(MappingError::Missing("groups".to_owned())));
        assert_eq!(of(json!([1])), Err(MappingError::Missing("groups".to_owned())));
        assert_eq!(of(json!(["administrators"])), Err(MappingError::Administrators));
        assert!(matches!(of(json!(["a b"])), Err(MappingError::Group { .. })));
        assert_eq!(of(json!(vec!["a"; 201])), Err(MappingError::TooManyGroups("groups".to_owned())));
    }

    #[test]
    fn attributes_have_the_names_the_configuration_gives_them() {
        let attributes = [(path("repository"), "repo".to_owned()), (path("none"), "none".to_owned())].into();
        let mapping = Mapping { attributes, ..mapping("{sub}") };
        let made = mapping.principal(&json!({"sub": "x", "repository": "acme/shop"})).unwrap().attributes;
        assert_eq!(made, [("repo".to_owned(), "acme/shop".to_owned())].into());
        for bad in [json!("a\nb"), json!("a".repeat(501))] {
            let refused = mapping.principal(&json!({"sub": "x", "repository": bad}));
            assert_eq!(refused, Err(MappingError::Attribute("repository".to_owned())));
        }
    }

    #[test]
    fn all_bound_claims_must_hold() {
        let bound = [
            (path("repository"), vec!["acme/shop".to_owned()]),
            (path("ref"), vec!["refs/heads/main".to_owned(), "refs/tags/v*".to_owned()]),
        ];
        let mapping = Mapping { bound: bound.into(), ..mapping("{sub}") };
        let made = |repository: Value, reference: Value| {
            mapping.principal(&json!({"sub": "x", "repository": repository, "ref": reference})).is_ok()
        };
        assert!(made(json!("acme/shop"), json!("refs/heads/main")));
        assert!(made(json!("acme/shop"), json!("refs/tags/v1")));
        assert!(made(json!(["other", "acme/shop"]), json!("refs/tags/v1")));
        assert!(!made(json!("acme/shop"), json!("refs/heads/other")));
        assert!(!made(json!("acme/shop2"), json!("refs/heads/main")));
        assert!(!made(json!("Acme/shop"), json!("refs/heads/main")));
        assert!(!made(Value::Null, json!("refs/heads/main")));
        assert!(!made(json!({"a": "acme/shop"}), json!("refs/heads/main")));
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("a**c", "ac", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
