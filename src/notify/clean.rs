//! Words of others, made harmless for whoever reads them.
//!
//! A reason is whatever somebody typed. It stays on one line, does not change the direction of writing, is not endless, and does
//! nothing in the place it is shown in: it calls nobody, links nowhere, and adds no header to a mail.

/// Characters of a value that are shown.
const LONGEST: usize = 500;

/// Breaks what would be acted on, and is not seen.
const BREAK: char = '\u{200b}';

/// Words that call many people when an at sign is in front of them.
const CALLS: [&str; 5] = ["here", "channel", "everyone", "all", "group"];

/// Where a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// As it is: mail, JSON.
    Plain,
    /// In the markup of Slack and those who took it over.
    Slack,
}

/// A value as it may be shown.
pub(super) fn clean(value: &str, place: Place) -> String {
    let line = one_line(value);
    match place {
        Place::Plain => line,
        Place::Slack => for_slack(&line),
    }
}

/// On one line, without what is not seen but acts, and not longer than is read.
pub(super) fn one_line(value: &str) -> String {
    let mut line = String::with_capacity(value.len().min(LONGEST));
    for (count, character) in value.chars().enumerate() {
        if count == LONGEST {
            line.push('…');
            break;
        }
        let acts = character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
        line.push(if acts { ' ' } else { character });
    }
    line
}

/// Slack's three characters are written as it wants them; addresses do not become links, and nobody is called.
fn for_slack(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '@' if calls(after) => text.extend(['@', BREAK]),
            ':' if after.starts_with("//") => text.extend([':', BREAK]),
            // What would make the rest of the line bold, struck out or code.
            '*' | '_' | '~' | '`' => text.extend([BREAK, character, BREAK]),
            _ => text.push(character),
        }
        rest = after;
    }
    text
}

fn calls(after: &str) -> bool {
    CALLS.iter().any(|word| after.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_on_its_line_and_is_not_endless() {
        assert_eq!(
            clean("a\r\nBcc: eve@example.com\u{202e}\u{2028}b\0", Place::Plain),
            "a  Bcc: eve@example.com  b "
        );
        let long = clean(&"é".repeat(1_000_000), Place::Plain);
        assert_eq!(long.chars().count(), LONGEST + 1);
    }

    #[test]
    fn nothing_in_a_value_calls_anybody_or_links_anywhere_on_slack() {
        for (value, shown) in [
            ("<!channel> & <@U123>", "&lt;!channel&gt; &amp; &lt;@U123&gt;"),
            ("<https://evil|fix>", "&lt;https:\u{200b}//evil|fix&gt;"),
            ("@here @Channel @everyone", "@\u{200b}here @\u{200b}Channel @\u{200b}everyone"),
            ("alice@example.com", "alice@example.com"),
            ("`rm`", "\u{200b}`\u{200b}rm\u{200b}`\u{200b}"),
            ("12:30", "12:30"),
        ] {
            assert_eq!(clean(value, Place::Slack), shown, "{value}");
        }
    }
}
