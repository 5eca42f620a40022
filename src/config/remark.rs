//! What is wrong or doubtful, where, and the line it is on.

use std::{fmt, io, ops::Range, path::PathBuf};

/// Characters of a line an excerpt shows at most.
const WIDTH: usize = 100;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Everything that is wrong with it, in the order of the file.
    #[error("{}", lines(.0))]
    Invalid(Vec<Remark>),
}

impl ConfigError {
    /// What is wrong with the file's text; empty when it could not be read.
    pub fn problems(&self) -> &[Remark] {
        match self {
            ConfigError::Unreadable { .. } => &[],
            ConfigError::Invalid(problems) => problems,
        }
    }
}

fn lines(problems: &[Remark]) -> String {
    problems.iter().map(Remark::to_string).collect::<Vec<_>>().join("\n")
}

/// A problem or a warning about one place of the file. Never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The file, as it was named.
    pub file: String,
    /// Line and column, from 1, in characters; `None` when it is about something that is not there.
    pub position: Option<(usize, usize)>,
    /// The dotted key; empty when the text is no TOML.
    pub key: String,
    /// What is the matter, and what to do.
    pub message: String,
    /// The line with a mark below it.
    pub excerpt: Option<String>,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        self.excerpt.as_ref().map_or(Ok(()), |excerpt| write!(f, "\n{excerpt}"))
    }
}

/// A place in the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The dotted key, as people read it.
    pub(super) key: String,
    /// Bytes of the file's text.
    pub(super) span: Option<Range<usize>>,
    /// How much of the line may be shown.
    pub(super) shown: Shown,
}

/// How much of a line an excerpt may show: lines can carry secrets, also where none belongs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Shown {
    /// The place itself, and of the rest what is not between quotes.
    #[default]
    Place,
    /// Nothing that could be part of a value.
    Keys,
}

impl Place {
    /// Makes a remark about this place of `text`.
    pub(super) fn remark(self, file: &str, text: &str, message: String) -> Remark {
        let located = self.span.and_then(|span| Some((Line::around(text, span.start)?, span)));
        let (position, excerpt) = match &located {
            None => (None, None),
            Some((line, span)) => {
                (Some((line.number, line.column(span.start))), line.excerpt(span, self.shown))
            }
        };
        Remark { file: file.to_owned(), position, key: self.key, message, excerpt }
    }
}

/// One line of the file.
struct Line<'t> {
    number: usize,
    start: usize,
    text: &'t str,
    /// Text before it has a multi-line string, so that what is between quotes cannot be told from the line alone.
    after_multiline: bool,
}

impl<'t> Line<'t> {
    fn around(text: &'t str, at: usize) -> Option<Self> {
        let before = text.get(..at)?;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.get(start..)?.split('\n').next()?.trim_end_matches('\r');
        let head = text.get(..start)?;
        Some(Self {
            number: head.matches('\n').count() + 1,
            start,
            text: line,
            after_multiline: has_multiline(head),
        })
    }

    fn column(&self, at: usize) -> usize {
        self.text.get(..at.saturating_sub(self.start)).unwrap_or(self.text).chars().count() + 1
    }

    fn excerpt(&self, span: &Range<usize>, shown: Shown) -> Option<String> {
        if self.after_multiline && (shown == Shown::Keys || has_multiline(self.text)) {
            return None;
        }
        let masked: Vec<char> = match shown {
            Shown::Place => self.without_other_strings(span),
            Shown::Keys => self.without_values(),
        };
        let column = self.column(span.start) - 1;
        let length = self.column(span.end) - 1 - column;
        let first = if masked.len() <= WIDTH { 0 } else { column.saturating_sub(WIDTH / 3) };
        let visible: String = masked.iter().skip(first).take(WIDTH).collect();
        let indent = column - first;
        let marks = "^".repeat(length.min(WIDTH.saturating_sub(indent)).max(1));
        let gutter = " ".repeat(self.number.to_string().len());
        Some(format!("{gutter} |\n{} | {visible}\n{gutter} | {}{marks}", self.number, " ".repeat(indent)))
    }

    /// The line with every string masked that `span` does not cover.
    fn without_other_strings(&self, span: &Range<usize>) -> Vec<char> {
        let (mut quote, mut escaped) = (None, false);
        let mask = |(offset, character): (usize, char)| {
            let inside = quote.is_some();
            match quote {
                _ if escaped => escaped = false,
                Some('"') if character == '\\' => escaped = true,
                Some(open) if character == open => quote = None,
                None if matches!(character, '"' | '\'') => quote = Some(character),
                _ => {}
            }
            let masked = inside && quote.is_some() && !span.contains(&(self.start + offset));
            if masked { '*' } else { plain(character) }
        };
        self.text.char_indices().map(mask).collect()
    }

    /// The line with everything masked that could be part of a value: what is not before a `=`, nor in a table's header.
    fn without_values(&self) -> Vec<char> {
        let first = self.text.find(['=', '"', '\'']);
        let names_something =
            first.is_some_and(|at| self.text.get(at..).is_some_and(|rest| rest.starts_with('=')));
        let keys = match first {
            Some(at) if names_something => at,
            other if self.text.trim_start().starts_with('[') => other.unwrap_or(self.text.len()),
            _ => 0,
        };
        let mask = |(at, c): (usize, char)| if at >= keys && c.is_alphanumeric() { '*' } else { plain(c) };
        self.text.char_indices().map(mask).collect()
    }
}

fn has_multiline(text: &str) -> bool {
    text.contains("\"\"\"") || text.contains("'''")
}

/// Control characters would act on the terminal the excerpt is shown on.
fn plain(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remark(text: &str, part: &str, shown: Shown) -> Remark {
        let start = text.find(part).unwrap();
        let place = Place { key: "a.b".into(), span: Some(start..start + part.len()), shown };
        place.remark("mayfly.toml", text, "is wrong".into())
    }

    #[test]
    fn points_at_the_place() {
        let text = "[store]\npath = \"ü\" # path\nx = 1\n";
        assert_eq!(
            remark(text, "\"ü\"", Shown::Place).to_string(),
            "mayfly.toml:2:8: a.b: is wrong\n  |\n2 | path = \"ü\" # path\n  |        ^^^"
        );
    }

    #[test]
    fn shows_no_string_but_the_one_it_is_about() {
        let text = "t = { password = \"hun\\\"ter2\", key = 'a', user = \"bob\" }";
        let shown = remark(text, "\"bob\"", Shown::Place).to_string();
        assert!(shown.contains("password = \"*********\", key = '*', user = \"bob\""), "{shown}");
        let shown = remark(text, "t =", Shown::Keys).to_string();
        assert!(!shown.contains("hun") && !shown.contains("ter2") && !shown.contains("bob"), "{shown}");
        let text = "p = \"\"\"\nhunter2\n\"\"\"";
        assert_eq!(remark(text, "hunter2", Shown::Keys).excerpt, None);
        let text = "t = { p = \"\"\"\nhunter2\"\"\", e = 'x' }";
        assert_eq!(remark(text, "'x'", Shown::Place).excerpt, None);
    }

    #[test]
    fn keeps_excerpts_short_and_harmless() {
        let text = format!("{}\u{7}BAD{}", "é".repeat(5000), "x".repeat(5000));
        let excerpt = remark(&text, "BAD", Shown::Place).excerpt.unwrap();
        assert!(excerpt.lines().all(|line| line.chars().count() <= WIDTH + 4), "{excerpt}");
        assert!(excerpt.contains(" BADx") && !excerpt.contains('\u{7}'), "{excerpt}");
    }
}
