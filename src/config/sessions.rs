//! `[sessions]`: how long people stay signed in.

use super::section::Section;
use crate::identity::people::SessionSettings;

/// `None`: something is wrong.
pub(super) fn sessions(section: &Section<'_>) -> Option<SessionSettings> {
    let (life, idle) = (section.duration("life"), section.duration("idle"));
    let (life, idle) = (life?, idle?);
    if idle.value > life.value && section.written("idle").is_some() {
        section.reader.warn(&idle.at, "is longer than life, so it never ends a session");
    }
    Some(SessionSettings { life: life.value, idle: idle.value.min(life.value) })
}
