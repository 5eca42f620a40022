//! `[roles.NAME.statements]`: each template is one sound statement, and asks only for values its step has.

use super::{reader::Located, scanner, section::Section};
use crate::domain::{Engine, Placeholder, Template};

/// When a template runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Renew,
    End,
}

/// The templates of a step, when all of them are sound.
pub(super) fn templates(
    section: &Section<'_>,
    word: &'static str,
    step: Step,
    engine: Option<Engine>,
    has_groups: bool,
) -> Option<Vec<Template>> {
    let texts = section.texts(word)?;
    let parsed: Vec<_> = texts.iter().map(|text| template(section, text, step, engine, has_groups)).collect();
    parsed.into_iter().collect()
}

fn template(
    section: &Section<'_>,
    text: &Located<String>,
    step: Step,
    engine: Option<Engine>,
    has_groups: bool,
) -> Option<Template> {
    let reader = section.reader;
    let template =
        Template::parse(&text.value).map_err(|error| reader.complain(&text.at, error.to_string())).ok()?;
    let mut problems = misplaced(&template, step, has_groups);
    if let Some(Err(problem)) = engine.map(|engine| scanner::check(&template, engine)) {
        problems.push(problem.to_string());
    }
    for problem in &problems {
        reader.complain(&text.at, problem.as_str());
    }
    if template.uses(Placeholder::Password) {
        reader.warn(
            &text.at,
            "{{password}} sends the password to the server, and into whatever logs statements there; {{verifier}} does not",
        );
    }
    problems.is_empty().then_some(template)
}

/// Placeholders that have no value in this step.
fn misplaced(template: &Template, step: Step, has_groups: bool) -> Vec<String> {
    let mut problems = Vec::new();
    for placeholder in [Placeholder::Password, Placeholder::Verifier] {
        if template.uses(placeholder) && step != Step::Create {
            problems.push(format!("has {{{{{}}}}}, which is known only in create", placeholder.word()));
        }
    }
    if template.uses(Placeholder::Expiration) && step == Step::End {
        problems.push("has {{expiration}}, which is known only in create and renew".to_owned());
    }
    if template.uses(Placeholder::Group) && !has_groups {
        problems.push("has {{group}}, but the role has no member_of: it would never run".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_known_only_in_their_step() {
        let problems =
            |text, step, has_groups| misplaced(&Template::parse(text).unwrap(), step, has_groups).len();
        assert_eq!(problems("SELECT {{password}}, {{verifier}}, {{expiration}}", Step::Create, false), 0);
        assert_eq!(problems("SELECT {{password}}, {{verifier}}, {{expiration}}", Step::Renew, false), 2);
        assert_eq!(problems("SELECT {{password}}, {{verifier}}, {{expiration}}", Step::End, false), 3);
        assert_eq!(problems("GRANT {{group}} TO {{name}}", Step::Create, false), 1);
        assert_eq!(problems("GRANT {{group}} TO {{name}}", Step::End, true), 0);
    }
}
