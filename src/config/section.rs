//! Walks the parsed file table by table, and takes from `keys` what each key may be.

use std::{ops::Range, path::PathBuf, time::Duration};

use jiff::{SignedDuration, SpanRelativeTo, fmt::friendly::SpanParser};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    keys::{self, Kind, Presence},
    reader::{LONGEST_QUOTE, Located, Reader, check_name, quoted},
    remark::{Place, Shown},
};

/// A table of the file; also one that is not there, whose keys then have their defaults.
pub(super) struct Section<'a> {
    pub(super) reader: &'a Reader<'a>,
    pattern: String,
    pub(super) at: Place,
    table: Option<&'a DeTable<'a>>,
    /// Something else than a table stands in its place, which has been told: its keys are not missing.
    is_broken: bool,
}

impl<'a> Section<'a> {
    pub(super) fn open(
        reader: &'a Reader<'a>,
        pattern: String,
        key: String,
        table: Option<&'a DeTable<'a>>,
        span: Option<Range<usize>>,
    ) -> Self {
        let section =
            Self { reader, pattern, at: Place { key, span, shown: Shown::Place }, table, is_broken: false };
        section.refuse_unknown();
        section
    }

    fn refuse_unknown(&self) {
        let known = keys::below(&self.pattern);
        if known.contains(&"NAME") {
            return;
        }
        for key in self.table.into_iter().flatten().map(|(key, _)| key) {
            let word = key.get_ref().as_ref();
            if !known.contains(&word) {
                let hint = keys::nearest(word, known.iter().copied()).map_or_else(
                    || format!("known here are {}", known.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                // The value may be a secret under a misspelt key.
                let place = Place { shown: Shown::Keys, ..self.place(word, Some(key.span())) };
                self.reader.complain(&place, format!("unknown key; {hint}"));
            }
        }
    }

    /// Whether the table is in the file.
    pub(super) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    fn place(&self, word: &str, span: Option<Range<usize>>) -> Place {
        let bare = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let word = if bare && word.len() <= LONGEST_QUOTE { word.to_owned() } else { quoted(word) };
        let key = if self.at.key.is_empty() { word } else { format!("{}.{word}", self.at.key) };
        Place { key, span, shown: Shown::Place }
    }

    fn pattern_of(&self, word: &str) -> String {
        if self.pattern.is_empty() { word.to_owned() } else { format!("{}.{word}", self.pattern) }
    }

    /// The table below `word`.
    pub(super) fn child(&self, word: &'static str) -> Section<'a> {
        let entry = self.table.and_then(|table| table.get_key_value(word));
        let span = entry.map(|(key, _)| key.span());
        self.section(word, self.pattern_of(word), entry.map(|(_, value)| value.get_ref()), span)
    }

    /// The tables below, by the names the operator gave them.
    pub(super) fn children(&self) -> Vec<(Located<String>, Section<'a>)> {
        let entries = self.table.into_iter().flatten();
        entries
            .map(|(key, value)| {
                let span = Some(key.span());
                let name =
                    Located { value: key.get_ref().to_string(), at: self.place(key.get_ref(), span.clone()) };
                let pattern = self.pattern_of("NAME");
                (name, self.section(key.get_ref(), pattern, Some(value.get_ref()), span))
            })
            .collect()
    }

    /// The tables of a list of tables (`[[word]]`), in order.
    pub(super) fn items(&self, word: &'static str) -> Vec<Section<'a>> {
        let Some((name, value)) = self.table.and_then(|table| table.get_key_value(word)) else {
            return Vec::new();
        };
        let place = self.place(word, Some(name.span()));
        let Some(items) = value.get_ref().as_array() else {
            let message =
                format!("expected a list of tables ([[{}]]), found {}", place.key, article(value.get_ref()));
            self.reader.complain(&Place { shown: Shown::Keys, ..place }, message);
            return Vec::new();
        };
        let item = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| {
            let place =
                Place { key: format!("{}[{index}]", place.key), span: Some(item.span()), ..place.clone() };
            self.below(place, self.pattern_of(word), Some(item.get_ref()))
        };
        items.iter().enumerate().map(item).collect()
    }

    fn section(
        &self,
        word: &str,
        pattern: String,
        value: Option<&'a DeValue<'a>>,
        span: Option<Range<usize>>,
    ) -> Section<'a> {
        self.below(self.place(word, span.or_else(|| self.at.span.clone())), pattern, value)
    }

    fn below(&self, place: Place, pattern: String, value: Option<&'a DeValue<'a>>) -> Section<'a> {
        let table = value.and_then(|value| {
            if value.as_table().is_none() {
                let place = Place { shown: Shown::Keys, ..place.clone() };
                self.reader.complain(&place, format!("expected a table, found {}", article(value)));
            }
            value.as_table()
        });
        let is_broken = self.is_broken || (value.is_some() && table.is_none());
        Section { is_broken, ..Section::open(self.reader, pattern, place.key, table, place.span) }
    }

    /// Whether something else than a table stands in its place.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Complains of a key that is not written although it must be.
    pub(super) fn miss(&self, word: &'static str, message: impl Into<String>) {
        self.reader.complain(&self.place(word, self.at.span.clone()), message);
    }

    /// Where a key is written, if it is.
    pub(super) fn written(&self, word: &'static str) -> Option<Place> {
        let (key, _) = self.table?.get_key_value(word)?;
        Some(self.place(word, Some(key.span())))
    }

    /// Refuses a key that is written although it means nothing here.
    pub(super) fn refuse(&self, word: &'static str, message: impl Into<String>) {
        if let Some(place) = self.written(word) {
            self.reader.complain(&place, message);
        }
    }

    fn raw(&self, word: &'static str) -> Option<(Located<DeValue<'a>>, Kind)> {
        let key = keys::find(&self.pattern_of(word));
        debug_assert!(key.is_some(), "{}.{word} is not listed", self.pattern);
        let key = key?;
        #[cfg(test)]
        self.reader.asked.borrow_mut().insert(key.path);
        if let Some((name, value)) = self.table.and_then(|table| table.get_key_value(word)) {
            // A table's own span is all of its content when it is inline, and odd when it is not.
            let span = if value.get_ref().is_table() { name.span() } else { value.span() };
            let place = self.place(word, Some(span));
            return Some((Located { value: value.get_ref().clone(), at: place }, key.kind));
        }
        if self.is_broken {
            return None;
        }
        let place = self.place(word, self.at.span.clone());
        match key.presence {
            Presence::Optional => None,
            Presence::Required => {
                self.reader.complain(&place, format!("is missing: {}", key.kind));
                None
            }
            Presence::Default(text) => {
                let value = DeValue::parse(text).ok()?.into_inner();
                Some((Located { value, at: place }, key.kind))
            }
        }
    }

    fn read<T>(
        &self,
        word: &'static str,
        convert: impl FnOnce(&DeValue<'a>, Kind) -> Result<T, String>,
    ) -> Option<Located<T>> {
        let (raw, kind) = self.raw(word)?;
        match convert(&raw.value, kind) {
            Ok(value) => Some(Located { value, at: raw.at }),
            Err(message) => {
                self.reader.complain(&Place { shown: shown(word), ..raw.at }, message);
                None
            }
        }
    }

    /// A text.
    pub(super) fn text(&self, word: &'static str) -> Option<Located<String>> {
        self.read(word, |value, _| as_text(value))
    }

    /// A text that must not be empty, have a NUL byte or be longer than `limit` bytes.
    pub(super) fn name(&self, word: &'static str, limit: usize) -> Option<Located<String>> {
        let name = self.text(word)?;
        check_name(self.reader, &name, limit).then_some(name)
    }

    /// One of the words the key allows.
    pub(super) fn choice(&self, word: &'static str) -> Option<Located<String>> {
        self.read(word, |value, kind| match (value, kind) {
            (DeValue::String(text), Kind::Choice(words)) if words.contains(&text.as_ref()) => {
                Ok(text.to_string())
            }
            (DeValue::String(text), Kind::Choice(words)) => {
                let hint = keys::nearest(text, words.iter().copied());
                let hint = hint.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
                Err(format!("expected {kind}, found {}{hint}", quoted(text)))
            }
            _ => Err(format!("expected {kind}, found {}", article(value))),
        })
    }

    /// True or false.
    pub(super) fn flag(&self, word: &'static str) -> Option<bool> {
        let flag = self.read(word, |value, kind| {
            value.as_bool().ok_or_else(|| format!("expected {kind} (no quotes), found {}", article(value)))
        });
        flag.map(|flag| flag.value)
    }

    /// A whole number within the key's bounds.
    pub(super) fn number<T: TryFrom<i64>>(&self, word: &'static str) -> Option<Located<T>> {
        self.read(word, |value, kind| {
            let digits =
                value.as_integer().ok_or_else(|| format!("expected a {kind}, found {}", article(value)))?;
            let number = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
            let within = |number: &i64| match kind {
                Kind::Number(min, max) => {
                    u64::try_from(*number).is_ok_and(|number| (min..=max).contains(&number))
                }
                _ => true,
            };
            number.filter(within).and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
                format!("expected a {kind}, found {}", quoted(digits.as_str()).trim_matches('"'))
            })
        })
    }

    /// A duration within the key's bounds.
    pub(super) fn duration(&self, word: &'static str) -> Option<Located<Duration>> {
        self.read(word, |value, kind| {
            let DeValue::String(text) = value else {
                return Err(format!("expected a {kind}, such as \"30m\", found {}", article(value)));
            };
            let duration = parse_duration(text).ok_or_else(|| {
                format!("{} is not a duration: write it like \"30s\", \"1h30m\" or \"7d\"", quoted(text))
            })?;
            match kind {
                Kind::Duration(min, max) if !(min..=max).contains(&duration) => {
                    Err(format!("expected a {kind}, found {}", quoted(text)))
                }
                _ => Ok(duration),
            }
        })
    }

    /// A duration within the key's bounds; `None` within: never.
    pub(super) fn period(&self, word: &'static str) -> Option<Located<Option<Duration>>> {
        self.read(word, |value, kind| {
            let DeValue::String(text) = value else {
                return Err(format!("expected a {kind}, such as \"30m\", found {}", article(value)));
            };
            if text == "never" {
                return Ok(None);
            }
            match (parse_duration(text), kind) {
                (Some(duration), Kind::Period(min, max)) if (min..=max).contains(&duration) => {
                    Ok(Some(duration))
                }
                _ => Err(format!("expected a {kind}, found {}", quoted(text))),
            }
        })
    }

    /// A path; a relative one starts at the directory of the file.
    pub(super) fn path(&self, word: &'static str) -> Option<Located<PathBuf>> {
        let text = self.name(word, 4096)?;
        Some(Located { value: self.reader.directory.join(text.value), at: text.at })
    }

    /// A list of texts.
    pub(super) fn texts(&self, word: &'static str) -> Option<Vec<Located<String>>> {
        let (raw, kind) = self.raw(word)?;
        let Some(items) = raw.value.as_array() else {
            self.reader.complain(&raw.at, format!("expected a {kind}, found {}", article(&raw.value)));
            return None;
        };
        let texts: Vec<_> = items
            .iter()
            .map(|item| {
                let place = Place { span: Some(item.span()), ..raw.at.clone() };
                match as_text(item.get_ref()) {
                    Ok(value) => Some(Located { value, at: place }),
                    Err(message) => {
                        self.reader.complain(&place, message);
                        None
                    }
                }
            })
            .collect();
        texts.into_iter().collect()
    }

    /// A table of texts, or of lists of texts, with free keys.
    pub(super) fn lists(&self, word: &'static str) -> Option<Vec<Listed>> {
        let (raw, kind) = self.raw(word)?;
        let Some(table) = raw.value.as_table() else {
            self.reader.complain(&raw.at, format!("expected a {kind}, found {}", article(&raw.value)));
            return None;
        };
        let below = self.free(raw.at);
        let mut entries = Vec::new();
        for (key, value) in table {
            let at = below.place(key.get_ref(), Some(key.span()));
            let name = Located { value: key.get_ref().to_string(), at };
            let items = match value.get_ref() {
                DeValue::Array(items) => items.iter().map(|item| (item.get_ref(), item.span())).collect(),
                other => vec![(other, value.span())],
            };
            let texts: Vec<_> = items.into_iter().map(|item| below.item(&name, item)).collect();
            entries.push(texts.into_iter().collect::<Option<Vec<_>>>().map(|texts| (name, texts)));
        }
        entries.into_iter().collect()
    }

    fn item(
        &self,
        name: &Located<String>,
        (item, span): (&DeValue<'a>, Range<usize>),
    ) -> Option<Located<String>> {
        let at = Place { span: Some(span), ..name.at.clone() };
        match as_text(item) {
            Ok(value) => Some(Located { value, at }),
            Err(message) => {
                self.reader.complain(&at, message);
                None
            }
        }
    }

    /// What is below a table with free keys, for the places of those.
    fn free(&self, at: Place) -> Section<'a> {
        Section { reader: self.reader, pattern: String::new(), at, table: None, is_broken: false }
    }

    /// A table of texts with free keys.
    pub(super) fn table(&self, word: &'static str) -> Option<Vec<(Located<String>, Located<String>)>> {
        let (raw, kind) = self.raw(word)?;
        let Some(table) = raw.value.as_table() else {
            self.reader.complain(&raw.at, format!("expected a {kind}, found {}", article(&raw.value)));
            return None;
        };
        let below = self.free(raw.at);
        let entries = table.iter().filter_map(|(key, value)| {
            let at = below.place(key.get_ref(), Some(value.span()));
            match as_text(value.get_ref()) {
                Ok(value) => {
                    let name = below.place(key.get_ref(), Some(key.span()));
                    Some((Located { value: key.get_ref().to_string(), at: name }, Located { value, at }))
                }
                Err(message) => {
                    self.reader.complain(&at, message);
                    None
                }
            }
        });
        Some(entries.collect())
    }
}

/// A name in a table, and the texts listed under it.
pub(super) type Listed = (Located<String>, Vec<Located<String>>);

/// What of the line a remark on a key's value may show.
fn shown(word: &str) -> Shown {
    if matches!(word, "password" | "key" | "url" | "secret" | "client_secret") {
        Shown::Keys
    } else {
        Shown::Place
    }
}

fn as_text(value: &DeValue<'_>) -> Result<String, String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("expected a text in quotes, found {}", article(value)))
}

/// The kind of a value in words; never the value.
fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A duration as people write it; a day is 24 hours. `None` also for a negative one, and for months and years, which
/// have no length.
fn parse_duration(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    let duration: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    duration.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_what_people_write_and_never_negative() {
        for (text, seconds) in
            [("30m", 1800), ("1h30m", 5400), ("24h", 86_400), ("7d", 604_800), ("2 days", 172_800)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("0s"), Some(Duration::ZERO));
        for text in ["", "30", "m", "-30m", "30m ago", "1mo", "1y", "30x", "P1D", "9999999999999999h", "1h\0"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
