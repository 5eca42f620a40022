//! Pages: how many, from where, and the opaque token that says where to go on.

use std::fmt::Display;

use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use prost::Message;

use crate::{
    domain::{PrincipalName, RoleName, TargetName},
    store::LeaseFilter,
};

/// Items on a page unless said otherwise.
const DEFAULT_SIZE: u32 = 50;

/// Items a page may have; more are cut to this.
const LARGEST_SIZE: u32 = 500;

/// Bytes of the digest in a token that ties it to its listing. Against mix-ups, not against forgery: a token reveals and
/// allows nothing that its bearer could not list anyway.
const SEAL_BYTES: usize = 12;

/// Bytes a token may have: the longest cursor names the replicas of a store, with a number each.
const TOKEN_LIMIT: usize = 4_096;

/// The page size is negative.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is negative")]
pub(super) struct SizeError;

/// The size of a page.
pub(super) fn size(asked: i32) -> Result<u32, SizeError> {
    match u32::try_from(asked) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(asked) => Ok(asked.min(LARGEST_SIZE)),
        Err(_) => Err(SizeError),
    }
}

/// The token is not one of this listing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a token of this listing: pass on the one from the previous reply, with the same filter")]
pub(super) struct TokenError;

/// One listing: what is listed, and by which filter. Its tokens fit no other.
#[derive(Debug)]
pub(super) struct Listing {
    what: &'static str,
    filter: Vec<u8>,
}

impl Listing {
    /// A listing without a filter.
    pub(super) fn of(what: &'static str) -> Self {
        Self { what, filter: Vec::new() }
    }

    /// The token that continues after `cursor`, if there is more.
    pub(super) fn go_on(&self, cursor: Option<impl Display>) -> String {
        cursor.map(|cursor| self.token(cursor)).unwrap_or_default()
    }

    /// A listing of leases.
    pub(super) fn of_leases(filter: &LeaseFilter) -> Self {
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        let text = |value: Option<&str>| value.map_or_else(Vec::new, |text| [b"=", text.as_bytes()].concat());
        let parts = [
            states.join(",").into_bytes(),
            text(filter.principal.as_ref().map(PrincipalName::as_str)),
            text(filter.role.as_ref().map(RoleName::as_str)),
            text(filter.target.as_ref().map(TargetName::as_str)),
        ];
        // No part can hold a NUL, so joining them by one keeps them apart.
        Self { what: "leases", filter: parts.join(&0) }
    }

    /// A listing with a filter that has these parts, none of which holds a NUL.
    pub(super) fn filtered(what: &'static str, parts: &[String]) -> Self {
        Self { what, filter: parts.join("\0").into_bytes() }
    }

    fn seal(&self, cursor: &[u8]) -> Vec<u8> {
        let text = [self.what.as_bytes(), &self.filter, cursor].join(&b"\0\0"[..]);
        let digest = digest::digest(&digest::SHA256, &text);
        digest.as_ref().get(..SEAL_BYTES).unwrap_or_default().to_vec()
    }

    /// The token that continues after `cursor`.
    pub(super) fn token(&self, cursor: impl Display) -> String {
        let cursor = cursor.to_string().into_bytes();
        BASE64URL_NOPAD.encode(&[self.seal(&cursor), cursor].concat())
    }

    /// The cursor in a token; `None`: from the beginning.
    pub(super) fn cursor<T>(
        &self,
        token: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, TokenError> {
        if token.is_empty() {
            return Ok(None);
        }
        if token.len() > TOKEN_LIMIT {
            return Err(TokenError);
        }
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| TokenError)?;
        let (seal, cursor) = bytes.split_at_checked(SEAL_BYTES).ok_or(TokenError)?;
        if self.seal(cursor) != seal {
            return Err(TokenError);
        }
        let cursor = std::str::from_utf8(cursor).map_err(|_| TokenError)?;
        parse(cursor).map(Some).ok_or(TokenError)
    }
}

/// A page of a listing, rendered.
pub(super) struct Cut<M> {
    /// The messages.
    pub(super) messages: Vec<M>,
    /// Where to go on; empty: that was the last page.
    pub(super) next: String,
}

impl Listing {
    /// The page that `items` become: at most `size` of them, and no more than fit into `budget` bytes. `more`: there are
    /// further ones behind them.
    pub(super) fn cut<T, M: Message>(
        &self,
        items: &[T],
        (size, more, budget): (u32, bool, usize),
        render: impl Fn(&T) -> M,
        cursor: impl Fn(&T) -> String,
    ) -> Cut<M> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut messages: Vec<M> = items.iter().take(size).map(render).collect();
        messages.truncate(fitting(&messages, budget));
        let more = more || messages.len() < items.len();
        let last = messages.len().checked_sub(1).and_then(|last| items.get(last)).filter(|_| more);
        Cut { messages, next: last.map(|last| self.token(cursor(last))).unwrap_or_default() }
    }
}

/// How many of the first messages fit into a reply of `budget` bytes; at least one, so that a listing goes on.
fn fitting<M: Message>(messages: &[M], budget: usize) -> usize {
    let mut total = 0_usize;
    for (index, message) in messages.iter().enumerate() {
        // A tag and a length come with each message.
        total = total.saturating_add(message.encoded_len()).saturating_add(8);
        if total > budget {
            return index.max(1);
        }
    }
    messages.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::StateName;

    #[test]
    fn sizes_have_a_default_and_a_limit() {
        for (asked, size_of_page) in [(0, 50), (1, 1), (500, 500), (501, 500), (i32::MAX, 500)] {
            assert_eq!(size(asked), Ok(size_of_page));
        }
        assert_eq!(size(-1), Err(SizeError));
        assert_eq!(size(i32::MIN), Err(SizeError));
    }

    fn parse(text: &str) -> Option<String> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    #[test]
    fn a_token_comes_back_and_is_safe_in_a_url() {
        let listing = Listing::of("roles");
        for cursor in ["orders-read", "06dp4f2h9c8x1k3m7q0r", "0"] {
            let token = listing.token(cursor);
            assert!(
                token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
                "{token}"
            );
            assert_eq!(listing.cursor(&token, parse), Ok(Some(cursor.to_owned())));
        }
        assert_eq!(listing.cursor("", parse), Ok(None));
    }

    #[test]
    fn a_token_fits_only_the_listing_and_filter_it_came_from() {
        let filter = |principal: Option<&str>, role: Option<&str>, states: &[StateName]| LeaseFilter {
            principal: principal.map(|name| name.parse().unwrap()),
            role: role.map(|name| name.parse().unwrap()),
            states: states.to_vec(),
            target: None,
        };
        let filters = [
            LeaseFilter::default(),
            filter(Some("a"), None, &[]),
            filter(None, Some("a"), &[]),
            filter(None, None, &[StateName::Active]),
            filter(None, None, &[StateName::Active, StateName::Ending]),
            LeaseFilter { target: Some("a".parse().unwrap()), ..LeaseFilter::default() },
        ];
        let listings: Vec<Listing> = filters
            .iter()
            .map(Listing::of_leases)
            .chain([Listing::of("tokens"), Listing::of("leases-other")])
            .collect();
        for (made, by) in listings.iter().enumerate() {
            let token = by.token("06dp4f2h9c8x1k3m7q0r");
            for (used, with) in listings.iter().enumerate() {
                assert_eq!(with.cursor(&token, parse).is_ok(), made == used, "{made} {used}");
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let listing = Listing::of("roles");
        let token = listing.token("orders");
        let long = token.repeat(1_000);
        for text in ["x", "====", "'; drop table leases", &token[1..], &token[..token.len() - 1], "\0", &long]
        {
            assert_eq!(listing.cursor(text, parse), Err(TokenError), "{text}");
        }
        assert_eq!(listing.cursor(&token, |_| None::<u64>), Err(TokenError));
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let listing = Listing::of("numbers");
        let all: Vec<u64> = (1..=25).collect();
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let after = listing.cursor(&token, |text| text.parse::<u64>().ok()).unwrap().unwrap_or(0);
            let rest: Vec<u64> = all.iter().copied().filter(|n| *n > after).collect();
            let cut = listing.cut(&rest, (10, false, 1_000), |n| *n, u64::to_string);
            seen.extend(cut.messages);
            token = cut.next;
            pages += 1;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((seen, pages), (all, 3));
    }

    #[test]
    fn a_page_is_cut_to_what_fits_and_never_to_nothing() {
        let messages = vec!["x".repeat(100); 10];
        assert_eq!(fitting(&messages, 1_000_000), 10);
        assert_eq!(fitting(&messages, 350), 3);
        assert_eq!(fitting(&messages, 1), 1);
        assert_eq!(fitting::<String>(&[], 1), 0);
    }
}
