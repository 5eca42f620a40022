//! How much a policy file may hold, and how deep: what reads and evaluates policies recurses over them.

/// Bytes a file may have.
pub(super) const LONGEST_FILE: usize = 1024 * 1024;

/// Brackets that may be open at once.
const DEEPEST: usize = 64;

/// Operators, dots and `if`s that one policy may have.
const MOST_OPERATORS: usize = 1_000;

/// Refuses a text that is too long or nests too deep; with the byte where that is.
pub(super) fn check(text: &str) -> Result<(), (usize, String)> {
    if text.len() > LONGEST_FILE {
        return Err((
            0,
            format!("is {} bytes long; at most {LONGEST_FILE} are allowed: split it", text.len()),
        ));
    }
    let (mut depth, mut operators) = (0_usize, 0_usize);
    let mut scanner = text.char_indices().peekable();
    while let Some((at, character)) = scanner.next() {
        match character {
            '"' => {
                while let Some((_, inside)) = scanner.next() {
                    match inside {
                        '\\' => drop(scanner.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '/' if scanner.peek().is_some_and(|(_, next)| *next == '/') => {
                while scanner.next_if(|(_, inside)| *inside != '\n').is_some() {}
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ';' => operators = 0,
            '&' | '|' | '+' | '-' | '*' | '!' | '=' | '<' | '>' | '.' | '?' => operators += 1,
            'i' if text.get(at..).is_some_and(|rest| rest.starts_with("if")) => operators += 1,
            _ => {}
        }
        if depth > DEEPEST {
            return Err((at, format!("nests more than {DEEPEST} brackets")));
        }
        if operators > MOST_OPERATORS {
            return Err((at, format!("has more than {MOST_OPERATORS} operators in one policy: split it")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_policies_are_within_bounds() {
        assert_eq!(check(include_str!("builtin.cedar")), Ok(()));
        assert_eq!(check("// ((((\n@id(\"((((\\\"((((\")\npermit(principal, action, resource);"), Ok(()));
    }

    #[test]
    fn what_would_exhaust_the_stack_is_refused() {
        for text in
            ["(".repeat(65), "a && ".repeat(600), "a.".repeat(1001), "if ".repeat(1001), "!".repeat(5000)]
        {
            assert!(check(&text).is_err(), "{}", &text[..10]);
        }
        assert!(check(&" ".repeat(LONGEST_FILE + 1)).is_err());
        assert_eq!(check(&" ".repeat(LONGEST_FILE)), Ok(()));
    }
}
