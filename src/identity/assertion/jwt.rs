//! The parts of a JWT, read without trusting any of them: [`read`] verifies nothing.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::AssertionError;

/// Bytes a JWT may have. Those of CI systems have 1 to 3 KiB.
pub const JWT_LIMIT: usize = 16 * 1024;

/// Kinds of JWT that say who calls. Others (logout tokens, security events …) are signed with the same keys, and say something
/// else.
const TYPES: [&str; 3] = ["jwt", "jose", "at+jwt"];

/// What a JWT says, as long as nobody has verified it.
pub(super) struct Unverified<'t> {
    /// What it claims to be signed with.
    pub(super) algorithm: Algorithm,
    /// Which key it claims to be signed with.
    pub(super) key: Option<String>,
    /// What it claims.
    pub(super) claims: Value,
    /// What is signed.
    pub(super) message: &'t str,
    /// The signature, in base64url.
    pub(super) signature: &'t str,
}

/// Whether a bearer token has the shape of a JWT: three parts with points between them. No token made here has a point.
pub fn is_jwt(bearer: &str) -> bool {
    bearer.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Takes a JWT apart.
pub(super) fn read(text: &str) -> Result<Unverified<'_>, AssertionError> {
    if text.len() > JWT_LIMIT {
        return Err(AssertionError::TooLong);
    }
    let malformed = AssertionError::Malformed;
    let (message, signature) = text.rsplit_once('.').ok_or(malformed("it is not three parts"))?;
    let (header, claims) = message.split_once('.').ok_or(malformed("it is not three parts"))?;
    let header = object(header).ok_or(malformed("its header is no JSON object, or says a thing twice"))?;
    let claims =
        object(claims).ok_or(malformed("its claims are no JSON object, or it claims a thing twice"))?;
    if header.get("crit").is_some() {
        return Err(malformed("its header demands extensions (crit) that Mayfly does not know"));
    }
    if !has_known_type(&header) {
        return Err(malformed("its header says that it is something else than a JWT"));
    }
    // `none` is no algorithm.
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
    let key = match header.get("kid") {
        None => None,
        Some(Value::String(key)) => Some(key.clone()),
        Some(_) => return Err(malformed("its header names its key by something else than text")),
    };
    let algorithm = algorithm.ok_or(AssertionError::Algorithm)?;
    Ok(Unverified { algorithm, key, claims: Value::Object(claims), message, signature })
}

fn has_known_type(header: &Map<String, Value>) -> bool {
    let known = |kind: &str| {
        let kind = kind.to_ascii_lowercase();
        TYPES.contains(&kind.strip_prefix("application/").unwrap_or(&kind))
    };
    header.get("typ").is_none_or(|kind| kind.as_str().is_some_and(known))
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Strict(Value::Object(object)) => Some(object),
        Strict(_) => None,
    }
}

/// JSON in which no object has a name twice: readers disagree on which of the two counts.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(header: &str, claims: &str) -> String {
        format!(
            "{}.{}.c2ln",
            BASE64URL_NOPAD.encode(header.as_bytes()),
            BASE64URL_NOPAD.encode(claims.as_bytes())
        )
    }

    const HEADER: &str = r#"{"alg":"ES256","typ":"JWT","kid":"a"}"#;

    #[test]
    fn takes_apart_what_is_a_jwt() {
        let text = jwt(HEADER, r#"{"sub":"x","n":{"a":[1,-2,2.5,true,null]}}"#);
        assert!(is_jwt(&text) && !is_jwt("mf_x") && !is_jwt("a.b.c.d"));
        let read = read(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((read.algorithm, read.key.as_deref()), (Algorithm::ES256, Some("a")));
        assert_eq!(read.claims, serde_json::json!({"sub": "x", "n": {"a": [1, -2, 2.5, true, null]}}));
        assert!(text.starts_with(read.message) && text.ends_with(read.signature));
    }

    #[test]
    fn refuses_what_is_none_in_words_without_its_content() {
        let deep = format!(r#"{{"secret":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        for (text, words) in [
            (jwt("secret", "{}"), "header is no JSON object"),
            (jwt("[]", "{}"), "header is no JSON object"),
            (jwt(r#"{"alg":"ES256","alg":"ES256"}"#, "{}"), "says a thing twice"),
            (jwt(HEADER, "\"secret\""), "claims are no JSON object"),
            (jwt(HEADER, r#"{"sub":"secret","sub":"secret"}"#), "claims a thing twice"),
            (jwt(HEADER, r#"{"n":{"sub":"secret","sub":1}}"#), "claims a thing twice"),
            (jwt(HEADER, &deep), "claims are no JSON object"),
            (jwt(r#"{"alg":"ES256","crit":["secret"]}"#, "{}"), "crit"),
            (jwt(r#"{"alg":"ES256","kid":7}"#, "{}"), "names its key"),
            (jwt(r#"{"alg":"ES256","typ":"logout+jwt"}"#, "{}"), "something else than a JWT"),
            (jwt(r#"{"alg":"none"}"#, "{}"), "algorithm"),
            (jwt(r#"{"alg":"NONE"}"#, "{}"), "algorithm"),
            (jwt(r#"{"kid":"a"}"#, "{}"), "algorithm"),
            ("secret.secret".to_owned(), "not three parts"),
            (format!("{}=.e30.c2ln", BASE64URL_NOPAD.encode(HEADER.as_bytes())), "header is no JSON object"),
            (jwt(HEADER, &" ".repeat(JWT_LIMIT)), "longer than 16384 bytes"),
        ] {
            let error = read(&text).err().unwrap_or_else(|| panic!("accepted {text}")).to_string();
            assert!(error.contains(words) && !error.contains("secret"), "{error}");
        }
    }
}
