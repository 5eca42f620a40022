//! Policy files: read, checked against the schema, and every mistake told with its place.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::LazyLock,
    thread,
};

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;

use super::bounds;

/// What is built in.
const BUILTIN: &str = include_str!("builtin.cedar");

/// What policies can speak of, as published.
pub const SCHEMA: &str = include_str!("../../policies/mayfly.cedarschema");

/// How ids of what is built in begin.
pub(super) const RESERVED: &str = "builtin.";

/// Bytes an id may have.
const ID_LIMIT: usize = 100;

/// Bytes of stack for reading policies: recursion grows with what they nest, which is bounded.
const STACK: usize = 64 * 1024 * 1024;

/// The schema; `None` never: a test sees to it.
pub(super) static PARSED_SCHEMA: LazyLock<Option<Schema>> =
    LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA).ok().map(|(schema, _)| schema));

/// One policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, as it is named.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Something that is wrong or doubtful in a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// Line and column, from 1, in characters.
    pub position: Option<(usize, usize)>,
    /// The policy's id, where it has one.
    pub policy: Option<String>,
    /// What is the matter.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(policy) = &self.policy {
            write!(f, ": {policy}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Policies that were read and found right.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// In the order of the files, those built in first.
    pub(super) policies: Vec<Policy>,
    /// What is doubtful.
    pub(super) doubts: Vec<Mistake>,
}

/// Reads files, what is built in first.
pub(super) fn read(sources: &[Source]) -> Result<Read, Vec<Mistake>> {
    let reading = thread::scope(|scope| {
        let reader = thread::Builder::new().name("policies".into()).stack_size(STACK);
        reader.spawn_scoped(scope, || read_here(sources)).ok().and_then(|thread| thread.join().ok())
    });
    reading.unwrap_or_else(|| {
        let message = "the policies could not be read: Mayfly could not start a thread for it".to_owned();
        Err(vec![Mistake { file: "policies".into(), position: None, policy: None, message }])
    })
}

fn read_here(sources: &[Source]) -> Result<Read, Vec<Mistake>> {
    let builtin = Source { name: "builtin.cedar".to_owned(), text: BUILTIN.to_owned() };
    let mut reading = Reading::default();
    reading.file(&builtin, true);
    for source in sources {
        reading.file(source, false);
    }
    reading.validate();
    if reading.mistakes.is_empty() {
        Ok(Read { policies: reading.policies, doubts: reading.doubts })
    } else {
        Err(reading.mistakes)
    }
}

/// Where a policy begins: its source, and line and column there.
type Place<'s> = (&'s Source, Option<(usize, usize)>);

#[derive(Default)]
struct Reading<'s> {
    policies: Vec<Policy>,
    mistakes: Vec<Mistake>,
    doubts: Vec<Mistake>,
    /// By id.
    places: HashMap<String, Place<'s>>,
}

impl<'s> Reading<'s> {
    fn file(&mut self, source: &'s Source, builtin: bool) {
        if let Err((at, message)) = bounds::check(&source.text) {
            return self.mistakes.push(mistake(source, Some(at), None, message));
        }
        match source.text.parse::<PolicySet>() {
            Err(errors) => {
                let told = errors.iter().map(|error| mistake(source, offset(error), None, in_words(error)));
                self.mistakes.extend(told);
            }
            Ok(set) => {
                for template in set.templates() {
                    let message = "has a slot (?principal or ?resource): templates are not for policy files";
                    self.mistakes.push(mistake(source, None, template.annotation("id"), message));
                }
                let start = |policy: &Policy| Some(policy.as_ref().loc()?.start());
                let in_order: BTreeMap<_, _> =
                    set.policies().map(|policy| ((start(policy), policy.id().to_string()), policy)).collect();
                for ((at, _), policy) in in_order {
                    self.policy(source, at, policy, builtin);
                }
            }
        }
    }

    fn policy(&mut self, source: &'s Source, at: Option<usize>, policy: &Policy, builtin: bool) {
        match self.check(source, policy, builtin) {
            Err(message) => {
                self.mistakes.push(mistake(source, at, policy.annotation("id"), message));
            }
            Ok(id) => {
                let position = at.map(|at| position(&source.text, at));
                self.policies.push(policy.new_id(PolicyId::new(&id)));
                self.places.insert(id, (source, position));
            }
        }
    }

    /// The policy's id, if that is one and new, and its annotations are known ones.
    fn check(&self, source: &Source, policy: &Policy, builtin: bool) -> Result<String, String> {
        let Some(id) = policy.annotation("id") else {
            return Err("has no id: write @id(\"…\") above it, so that decisions can name it".to_owned());
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if id.is_empty() || id.len() > ID_LIMIT || !id.chars().all(plain) {
            return Err(format!("its id is none: 1 to {ID_LIMIT} of a-z, A-Z, 0-9, and . _ - /"));
        }
        if !builtin && id.starts_with(RESERVED) {
            return Err(format!("ids that begin with {RESERVED} are for what is built in"));
        }
        if let Some((other, position)) = self.places.get(id) {
            let line = position.map_or_else(String::new, |(line, _)| format!(":{line}"));
            let place = if other.name == source.name {
                format!("line{}", line.replace(':', " "))
            } else {
                format!("{}{line}", other.name)
            };
            return Err(format!("another policy has this id: {place}"));
        }
        match policy.annotations().find(|(key, _)| !["id", "advice", "description"].contains(key)) {
            Some((key, _)) => {
                Err(format!("unknown annotation @{key}; known are @id, @advice and @description"))
            }
            None => Ok(id.to_owned()),
        }
    }

    fn validate(&mut self) {
        let Some(schema) = PARSED_SCHEMA.as_ref() else {
            let message = "the schema of this build is broken".to_owned();
            let mistake =
                Mistake { file: "mayfly.cedarschema".into(), position: None, policy: None, message };
            return self.mistakes.push(mistake);
        };
        let set = match PolicySet::from_policies(self.policies.iter().cloned()) {
            Ok(set) => set,
            Err(error) => {
                let message = error.to_string();
                let mistake = Mistake { file: "policies".into(), position: None, policy: None, message };
                return self.mistakes.push(mistake);
            }
        };
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        let mistakes: Vec<_> =
            result.validation_errors().map(|error| self.locate(error.policy_id(), error)).collect();
        let doubts: Vec<_> =
            result.validation_warnings().map(|doubt| self.locate(doubt.policy_id(), doubt)).collect();
        self.mistakes.extend(mistakes);
        self.doubts.extend(doubts);
    }

    /// Something about a policy that has its id already.
    fn locate(&self, id: &PolicyId, diagnostic: &dyn Diagnostic) -> Mistake {
        let id: &str = id.as_ref();
        let message = in_words(diagnostic);
        let prefix = format!("for policy `{id}`, ");
        let message = message.strip_prefix(&prefix).unwrap_or(&message).to_owned();
        let place = self.places.get(id);
        let exact = offset(diagnostic).and_then(|at| Some(position(&place?.0.text, at)));
        Mistake {
            file: place.map_or_else(|| "policies".to_owned(), |(source, _)| source.name.clone()),
            position: exact.or(place.and_then(|(_, position)| *position)),
            policy: Some(id.to_owned()),
            message,
        }
    }
}

fn mistake(source: &Source, at: Option<usize>, policy: Option<&str>, message: impl Into<String>) -> Mistake {
    Mistake {
        file: source.name.clone(),
        position: at.map(|at| position(&source.text, at)),
        policy: policy.map(|id| id.chars().take(ID_LIMIT).filter(|c| !c.is_control()).collect()),
        message: message.into(),
    }
}

/// What is the matter, and what may help, on one line that does nothing to a terminal.
fn in_words(diagnostic: &dyn Diagnostic) -> String {
    let help = diagnostic.help().map(|help| format!(" ({help})")).unwrap_or_default();
    let label = diagnostic.labels().and_then(|mut labels| labels.next()?.label().map(str::to_owned));
    let label = label.filter(|label| !label.is_empty()).map(|label| format!(": {label}")).unwrap_or_default();
    let words = format!("{diagnostic}{label}{help}");
    let plain = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = plain.take(500).collect();
    if words.chars().count() > 500 {
        short.push('…');
    }
    short
}

fn offset(diagnostic: &dyn Diagnostic) -> Option<usize> {
    diagnostic.labels()?.map(|label| label.offset()).next()
}

/// Line and column of a byte, from 1, in characters.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
