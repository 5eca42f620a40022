//! Statement templates: text with `{{placeholders}}`, parsed once, substituted by type and never split.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value a template may ask for. The type decides how it is quoted: the target's engine renders it as an identifier
/// or as a literal, so that no value can leave its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `{{name}}`: the account, as identifier (`"mf_…"`; MySQL and MariaDB `'mf_…'@'host'`, the statement runs once
    /// per host).
    Name,
    /// `{{name_literal}}`: the account's name as a string literal.
    NameLiteral,
    /// `{{group}}`: one database group role of the role's `member_of`, as identifier; the statement runs once per group.
    Group,
    /// `{{verifier}}`: the password verifier, as a string literal. Only when creating.
    Verifier,
    /// `{{password}}`: the password itself, as a string literal. Only when creating; it then reaches the server, and
    /// whatever logs statements there.
    Password,
    /// `{{expiration}}`: the expiry as a timestamp literal in UTC. When creating and renewing.
    Expiration,
    /// `{{lease}}`: the lease's identifier, as a string literal.
    Lease,
    /// `{{role}}`: the role's name, as a string literal.
    Role,
    /// `{{principal}}`: the requester's name, as a string literal.
    Principal,
}

impl Placeholder {
    const ALL: [(&'static str, Placeholder); 9] = [
        ("name", Placeholder::Name),
        ("name_literal", Placeholder::NameLiteral),
        ("group", Placeholder::Group),
        ("verifier", Placeholder::Verifier),
        ("password", Placeholder::Password),
        ("expiration", Placeholder::Expiration),
        ("lease", Placeholder::Lease),
        ("role", Placeholder::Role),
        ("principal", Placeholder::Principal),
    ];

    /// The word between the braces.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, placeholder)| *placeholder == self).map_or("", |(word, _)| word)
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Copied as it stands.
    Text(String),
    /// Rendered by the target's engine.
    Placeholder(Placeholder),
}

/// A parsed statement template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    segments: Vec<Segment>,
}

/// Why a template was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing but blanks.
    #[error("is empty")]
    Empty,
    /// `{{` without `}}`.
    #[error("has \"{{{{\" at byte {0} without a closing \"}}}}\"")]
    Unclosed(usize),
    /// A word that is no placeholder.
    #[error("has the unknown placeholder {{{{{0}}}}}; known are {known}", known = known())]
    Unknown(String),
    /// A placeholder between quotes would be quoted twice.
    #[error("has {{{{{0}}}}} between quotes: it is quoted by type already, remove the quotes")]
    Quoted(&'static str),
    /// A NUL byte, which no engine accepts in a statement.
    #[error("has a NUL byte")]
    Nul,
}

fn known() -> String {
    Placeholder::ALL.iter().map(|(word, _)| format!("{{{{{word}}}}}")).collect::<Vec<_>>().join(", ")
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// When it is empty, has a NUL byte, an unclosed or unknown placeholder, or one directly between quotes.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.contains('\0') {
            return Err(TemplateError::Nul);
        }
        if text.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut segments = Vec::new();
        let (mut rest, mut consumed) = (text, 0);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((word, tail)) = after.split_once("}}") else {
                return Err(TemplateError::Unclosed(consumed + before.len()));
            };
            let placeholder = Placeholder::ALL
                .iter()
                .find(|(known, _)| *known == word.trim())
                .map(|(_, placeholder)| *placeholder)
                .ok_or_else(|| TemplateError::Unknown(word.chars().take(40).collect()))?;
            if before.ends_with(['\'', '"', '`']) || tail.starts_with(['\'', '"', '`']) {
                return Err(TemplateError::Quoted(placeholder.word()));
            }
            if !before.is_empty() {
                segments.push(Segment::Text(before.to_owned()));
            }
            segments.push(Segment::Placeholder(placeholder));
            consumed += before.len() + word.len() + 4;
            rest = tail;
        }
        if !rest.is_empty() {
            segments.push(Segment::Text(rest.to_owned()));
        }
        Ok(Self { segments })
    }

    /// Its pieces, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it asks for a value.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.segments.contains(&Segment::Placeholder(placeholder))
    }

    /// Substitutes every placeholder by what `quote` renders for it. `quote` must return a complete, quoted token.
    ///
    /// # Errors
    /// The first error of `quote`.
    pub fn render<E>(&self, mut quote: impl FnMut(Placeholder) -> Result<String, E>) -> Result<String, E> {
        self.segments.iter().try_fold(String::new(), |mut statement, segment| {
            match segment {
                Segment::Text(text) => statement.push_str(text),
                Segment::Placeholder(placeholder) => statement.push_str(&quote(*placeholder)?),
            }
            Ok(statement)
        })
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::parse(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.to_string()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Text(text) => f.write_str(text),
            Segment::Placeholder(placeholder) => write!(f, "{{{{{}}}}}", placeholder.word()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_by_type_and_copies_the_rest_untouched() {
        let template = Template::parse("ALTER ROLE {{name}} SET app.x = {{ lease }}; -- a;b").unwrap();
        let rendered =
            template.render(|placeholder| Ok::<_, ()>(format!("<{}>", placeholder.word()))).unwrap();
        assert_eq!(rendered, "ALTER ROLE <name> SET app.x = <lease>; -- a;b");
        assert!(template.uses(Placeholder::Lease));
        assert!(!template.uses(Placeholder::Group));
    }

    #[test]
    fn substituted_text_is_not_parsed_again() {
        let template = Template::parse("SELECT {{principal}}").unwrap();
        let rendered = template.render(|_| Ok::<_, ()>("'{{password}}'".to_owned())).unwrap();
        assert_eq!(rendered, "SELECT '{{password}}'");
    }

    #[test]
    fn refuses_with_the_reason() {
        for (text, message) in [
            ("  ", "is empty"),
            ("GRANT {{name", "has \"{{\" at byte 6 without a closing \"}}\""),
            (
                "GRANT '{{name}}'",
                "has {{name}} between quotes: it is quoted by type already, remove the quotes",
            ),
            ("a\0b", "has a NUL byte"),
        ] {
            assert_eq!(Template::parse(text).unwrap_err().to_string(), message);
        }
        let unknown = Template::parse("GRANT {{user}}").unwrap_err().to_string();
        assert!(
            unknown.starts_with("has the unknown placeholder {{user}}; known are {{name}}, "),
            "{unknown}"
        );
    }

    #[test]
    fn reads_back_from_its_text() {
        let template = Template::parse("GRANT {{group}} TO {{name}}").unwrap();
        assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
    }
}
