//! Sessions: short, revocable, and looked at anew with each call.

use std::{fmt, str::FromStr, time::Duration};

use data_encoding::HEXLOWER;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    domain::{InvitationId, Principal, SessionId},
    identity::{TokenFormatError, token},
    random::Random,
    store::{Document, EntryKind},
};

/// What every session's token begins with.
pub const SESSION_PREFIX: &str = "mfs_";

/// How often it is written down that a session is in use: idleness is told to this precision, and a call costs no write.
const TOUCH_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSettings {
    /// At most this long.
    pub life: Duration,
    /// Not longer than this without a call.
    pub idle: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { life: Duration::from_secs(8 * 3600), idle: Duration::from_secs(3600) }
    }
}

/// How somebody signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Origin {
    /// With a local account.
    User {
        /// The account's generation then.
        generation: u64,
    },
    /// By an invitation.
    Invitation {
        /// Which.
        invitation: InvitationId,
    },
    /// At an identity provider.
    Provider {
        /// Which, by the name the configuration gives it.
        provider: String,
        /// Who signed in there, as the provider calls them; `None`: nobody did, a JWT was exchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
    },
}

/// Somebody who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Identity; no secret.
    pub id: SessionId,
    /// The digest of its token.
    pub hash: String,
    /// Who, as it was at sign-in.
    pub principal: Principal,
    /// How.
    pub origin: Origin,
    /// Where it may be used from; empty: from anywhere.
    #[serde(default)]
    pub cidrs: Vec<IpNet>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// Seconds without a call after which it ends.
    pub idle_seconds: u64,
    /// When it was last used, give or take a minute.
    pub used_at: Timestamp,
    /// When the second factor was last given.
    #[serde(default)]
    pub second_factor_at: Option<Timestamp>,
    /// When it was ended before its time.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

impl Session {
    /// When it ends if nobody uses it again.
    pub fn idle_at(&self) -> Timestamp {
        let idle = SignedDuration::from_secs(i64::try_from(self.idle_seconds).unwrap_or(i64::MAX));
        self.used_at.checked_add(idle).unwrap_or(self.expires_at).min(self.expires_at)
    }

    /// Whether it still is one.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.idle_at()
    }

    /// As used now; `None`: that is known well enough.
    pub(super) fn touched(&self, now: Timestamp) -> Option<Self> {
        let tenth = i64::try_from(self.idle_seconds / 10).unwrap_or(i64::MAX);
        let every = TOUCH_EVERY.min(SignedDuration::from_secs(tenth));
        (now.duration_since(self.used_at) >= every).then(|| Self { used_at: now, ..self.clone() })
    }
}

impl Document for Session {
    const KIND: EntryKind = EntryKind::Session;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("hash", self.hash.clone()), ("principal", self.principal.name.to_string())]
    }

    fn due_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

/// A session's token in memory. Redacted in `Debug`, wiped when dropped; stored only as a digest.
#[derive(Clone)]
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    /// Draws one.
    pub fn generate(random: &dyn Random) -> Self {
        Self(token::draw(SESSION_PREFIX, random))
    }

    /// The digest it is found by.
    pub fn hash(&self) -> String {
        HEXLOWER.encode(&token::sha256(self.0.as_bytes()))
    }

    /// The token itself, for the one reply it is in.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionToken {
    type Err = TokenFormatError;

    fn from_str(text: &str) -> Result<Self, TokenFormatError> {
        token::check(SESSION_PREFIX, text).map(Self)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::PrincipalKind, identity::ApiToken, random::SeededRandom};

    fn session() -> Session {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Session {
            id: SessionId::new(now, 1),
            hash: String::new(),
            principal: Principal {
                name: "alice".parse().unwrap(),
                kind: PrincipalKind::Human,
                groups: [].into(),
                attributes: [].into(),
            },
            origin: Origin::User { generation: 1 },
            cidrs: Vec::new(),
            created_at: now,
            expires_at: now + SignedDuration::from_hours(8),
            idle_seconds: 3600,
            used_at: now,
            second_factor_at: None,
            ended_at: None,
        }
    }

    #[test]
    fn it_lives_as_long_as_it_is_used_and_never_beyond_its_expiry() {
        let mut session = session();
        let begin = session.created_at;
        let at = |minutes: i64| begin + SignedDuration::from_mins(minutes);
        assert!(session.is_live(at(59)) && !session.is_live(at(60)));
        for minutes in (30..480).step_by(30) {
            assert!(session.is_live(at(minutes)), "{minutes}");
            session = session.touched(at(minutes)).unwrap();
        }
        assert!(session.is_live(at(479)) && !session.is_live(at(480)));
        session.ended_at = Some(at(1));
        assert!(!session.is_live(at(2)));
    }

    #[test]
    fn use_is_written_down_once_a_minute_at_most() {
        let session = session();
        let at = |seconds: i64| session.created_at + SignedDuration::from_secs(seconds);
        assert_eq!(session.touched(at(59)), None);
        assert!(session.touched(at(60)).is_some());
        let brief = Session { idle_seconds: 20, ..session.clone() };
        assert!(brief.touched(at(1)).is_none() && brief.touched(at(2)).is_some());
    }

    #[test]
    fn its_token_is_no_api_token_and_the_other_way_round() {
        let random = SeededRandom::new(1);
        let token = SessionToken::generate(&random);
        assert!(token.expose().starts_with("mfs_"));
        assert_eq!(token.expose().parse::<SessionToken>().unwrap().hash(), token.hash());
        assert!(token.expose().parse::<ApiToken>().is_err());
        assert!(ApiToken::generate(&random).expose().parse::<SessionToken>().is_err());
        assert!(token.expose()[..59].parse::<SessionToken>().is_err());
        assert_eq!(format!("{token:?}"), "SessionToken([redacted])");
    }
}
