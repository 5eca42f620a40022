//! Quoting for shells, URLs and files: each rule in one place.

use std::fmt::Write as _;

/// `export NAME='value'` for POSIX shells. Single quotes keep everything but themselves.
pub(super) fn export(name: &str, value: &str) -> String {
    format!("export {name}='{}'", value.replace('\'', r"'\''"))
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, so that the text is fit for any part of a URL.
pub(super) fn percent(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// A host for a URL: IPv6 addresses in brackets.
pub(super) fn url_host(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { percent(host) }
}

/// A field of a libpq password file: `\` and `:` escaped by a backslash.
pub(super) fn pgpass(text: &str) -> String {
    text.replace('\\', r"\\").replace(':', r"\:")
}

/// A value in an option file of MySQL or MariaDB: between double quotes, with the escapes both of them read.
pub(super) fn option_value(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str(r"\\"),
            '"' => quoted.push_str("\\\""),
            '\n' => quoted.push_str(r"\n"),
            '\r' => quoted.push_str(r"\r"),
            '\t' => quoted.push_str(r"\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_exported() {
        let hostile = "a'b\"c$(id)`id`\\ \n;*";
        let script = format!("{}\nprintf %s \"$X\"", export("X", hostile));
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), hostile);
    }

    #[test]
    fn urls_are_percent_encoded() {
        assert_eq!(percent("aZ0-._~"), "aZ0-._~");
        assert_eq!(percent("p@ss/w:rd%#ü"), "p%40ss%2Fw%3Ard%25%23%C3%BC");
        assert_eq!(url_host("::1"), "[::1]");
    }

    #[test]
    fn password_files_are_escaped() {
        assert_eq!(pgpass(r"a:b\c"), r"a\:b\\c");
    }
}
