//! Texts in addresses and forms.

use std::fmt::Write as _;

use data_encoding::BASE64;
use reqwest::header::HeaderValue;

/// A text in which whatever could mean something in a form or an address is escaped.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Names and values as a form or the query of an address has them.
pub(super) fn encoded(fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    fields.collect::<Vec<_>>().join("&")
}

/// Name and secret of a client, for the header `authorization` (RFC 6749, 2.3.1); `None`: they fit into none.
pub(super) fn basic(client_id: &str, secret: &str) -> Option<HeaderValue> {
    let pair = format!("{}:{}", escaped(client_id), escaped(secret));
    sensitive(&format!("Basic {}", BASE64.encode(pair.as_bytes())))
}

/// An access token, for the header `authorization`; `None`: it fits into none.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_ends_it() {
        let fields = [("a", "x&b=y"), ("scope", "openid email"), ("u", "http://127.0.0.1:1/ü#?%+")];
        let expected = "a=x%26b%3Dy&scope=openid%20email&u=http%3A%2F%2F127.0.0.1%3A1%2F%C3%BC%23%3F%25%2B";
        assert_eq!(encoded(&fields), expected);
    }

    #[test]
    fn a_colon_in_a_clients_name_does_not_end_the_name_and_the_header_is_not_shown() {
        let header = basic("a:b", "c d").unwrap();
        assert_eq!(header.to_str().unwrap(), format!("Basic {}", BASE64.encode(b"a%3Ab:c%20d")));
        assert!(!format!("{header:?}").contains("Basic"));
        assert!(bearer("a\nb").is_none());
    }
}
