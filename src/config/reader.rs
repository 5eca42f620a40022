//! What is found while the file is read: every problem and every doubt, instead of the first.
//!
//! Reading a key that is missing or wrong gives `None` and leaves a remark; whoever reads goes on with the other keys and
//! gives up only when the value is to be put together.

use std::{cell::RefCell, path::Path, str::FromStr};

use toml::de::DeTable;

use super::{
    Environment,
    remark::{Place, Remark},
    section::Section,
};

/// Names the file does not call by a bare word are cut to this many characters in messages.
pub(super) const LONGEST_QUOTE: usize = 60;

/// Places with what is the matter there.
pub(super) type Findings = Vec<(Place, String)>;

/// What reading has found so far.
pub(super) struct Reader<'a> {
    pub(super) environment: &'a dyn Environment,
    pub(super) directory: &'a Path,
    problems: RefCell<Findings>,
    warnings: RefCell<Findings>,
    /// Problems and doubts in other files.
    elsewhere: RefCell<(Vec<Remark>, Vec<Remark>)>,
    /// Keys somebody asked for: tests hold them against the list.
    #[cfg(test)]
    pub(super) asked: RefCell<std::collections::BTreeSet<&'static str>>,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: Place,
}

impl<'a> Reader<'a> {
    /// A reader that resolves relative paths against `directory`.
    pub(super) fn new(environment: &'a dyn Environment, directory: &'a Path) -> Self {
        Self {
            environment,
            directory,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            elsewhere: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// The file itself, as a section.
    pub(super) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section::open(self, String::new(), String::new(), Some(table), None)
    }

    /// Notes a problem.
    pub(super) fn complain(&self, at: &Place, message: impl Into<String>) {
        self.problems.borrow_mut().push((at.clone(), message.into()));
    }

    /// Notes a doubt.
    pub(super) fn warn(&self, at: &Place, message: impl Into<String>) {
        self.warnings.borrow_mut().push((at.clone(), message.into()));
    }

    /// Notes a problem in another file.
    pub(super) fn complain_elsewhere(&self, problem: Remark) {
        self.elsewhere.borrow_mut().0.push(problem);
    }

    /// Notes a doubt about another file.
    pub(super) fn warn_elsewhere(&self, doubt: Remark) {
        self.elsewhere.borrow_mut().1.push(doubt);
    }

    /// Problems and doubts in other files.
    pub(super) fn elsewhere(&self) -> (Vec<Remark>, Vec<Remark>) {
        self.elsewhere.take()
    }

    /// Problems and warnings, each in the order of the file.
    pub(super) fn into_findings(self) -> (Findings, Findings) {
        let sorted = |remarks: RefCell<Findings>| {
            let mut remarks = remarks.into_inner();
            remarks.sort_by_key(|(place, _)| place.span.as_ref().map(|span| span.start));
            remarks
        };
        (sorted(self.problems), sorted(self.warnings))
    }

    /// The keys that were asked for.
    #[cfg(test)]
    pub(super) fn asked(&self) -> std::collections::BTreeSet<&'static str> {
        self.asked.borrow().clone()
    }

    /// Parses a text; a failure is a problem: what it `is`, then why not.
    pub(super) fn parse<T: FromStr<Err: std::fmt::Display>>(&self, text: &Located<String>) -> Option<T> {
        text.value.parse().map_err(|error: T::Err| self.complain(&text.at, sentence(&error.to_string()))).ok()
    }

    /// Parses each of several texts.
    pub(super) fn parse_all<T: FromStr<Err: std::fmt::Display>>(
        &self,
        texts: &[Located<String>],
    ) -> Option<Vec<T>> {
        // Collected before it is judged, so that every wrong one is told.
        let parsed: Vec<Option<T>> = texts.iter().map(|text| self.parse(text)).collect();
        parsed.into_iter().collect()
    }
}

/// Errors of the domain are predicates ("is empty"); anything else stands by itself.
fn sentence(error: &str) -> String {
    if error.starts_with("is ") || error.starts_with("has ") {
        format!("it {error}")
    } else {
        error.to_owned()
    }
}

/// A text from the file in a message: quoted, with nothing that acts on a terminal, and short.
pub(super) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(LONGEST_QUOTE).collect();
    let shown = format!("{cut:?}");
    if cut.len() < text.len() { format!("{}…\"", shown.trim_end_matches('"')) } else { shown }
}

/// Refuses a name that no database or file system takes.
pub(super) fn check_name(reader: &Reader<'_>, name: &Located<String>, limit: usize) -> bool {
    let message = match name.value.as_str() {
        "" => "is empty".to_owned(),
        text if text.contains('\0') => "has a NUL byte".to_owned(),
        text if text.len() > limit => format!("is {} bytes long; at most {limit} are allowed", text.len()),
        _ => return true,
    };
    reader.complain(&name.at, message);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_short_and_harmless() {
        assert_eq!(quoted("a\u{1b}[31m\"b"), "\"a\\u{1b}[31m\\\"b\"");
        assert!(quoted(&"x".repeat(10_000)).len() < 100);
    }
}
