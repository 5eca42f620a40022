//! An identity provider's keys, kept for a while.
//!
//! They are fetched when first needed, when they are older than `refresh`, and when a JWT names a key that is not among them (it
//! may be new). One fetch runs at a time, whoever waits for it, and after each there is a pause, longer after every failure:
//! forged key names do not make Mayfly flood the provider. While the provider is down, the keys last fetched are used, until
//! they are older than `max_stale`.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jsonwebtoken::{Algorithm, DecodingKey};

use super::{
    AssertionError, KeySet,
    fetch::{FetchError, Fetcher},
    keys::NoKey,
    settings::KeySettings,
};
use crate::clock::Clock;

/// The pause after a fetch; after failures it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(10);

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where the keys of a provider come from.
pub(super) enum KeySource {
    /// They were read with the configuration.
    Fixed(KeySet),
    /// They are fetched.
    Fetched(Arc<Cache>),
}

/// Keys that are fetched.
pub(super) struct Cache {
    settings: KeySettings,
    provider: String,
    clock: Arc<dyn Clock>,
    fetcher: Fetcher,
    state: Mutex<State>,
    /// Held by the one who fetches.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// Times are the clock's uptime.
#[derive(Default)]
struct State {
    keys: Option<(KeySet, Duration)>,
    next_attempt: Option<Duration>,
    failures: u32,
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Fixed(keys) => f.debug_tuple("Fixed").field(keys).finish(),
            KeySource::Fetched(cache) => f.debug_tuple("Fetched").field(&cache.settings).finish(),
        }
    }
}

impl KeySource {
    /// The source that settings describe; `previous` goes on if it is the same one.
    pub(super) fn new(
        provider: &str,
        settings: &KeySettings,
        clock: &Arc<dyn Clock>,
        previous: Option<&KeySource>,
    ) -> Result<Self, FetchError> {
        let (place, authorities) = match settings {
            KeySettings::Read { keys, .. } => return Ok(KeySource::Fixed(keys.clone())),
            KeySettings::Fetched { place, authorities, .. } => (place, authorities),
        };
        if let Some(KeySource::Fetched(cache)) = previous
            && cache.settings == *settings
        {
            return Ok(KeySource::Fetched(Arc::clone(cache)));
        }
        Ok(KeySource::Fetched(Arc::new(Cache {
            settings: settings.clone(),
            provider: provider.to_owned(),
            clock: Arc::clone(clock),
            fetcher: Fetcher::new(place.clone(), authorities.as_deref())?,
            state: Mutex::default(),
            fetching: Arc::default(),
        })))
    }

    /// The key for a signature.
    pub(super) async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, AssertionError> {
        match self {
            KeySource::Fixed(keys) => keys.find(id, algorithm).cloned().map_err(refused),
            KeySource::Fetched(cache) => cache.key(id, algorithm).await,
        }
    }
}

fn refused(why: NoKey) -> AssertionError {
    match why {
        NoKey::Unknown => AssertionError::UnknownKey,
        NoKey::Unfit => AssertionError::KeyConfusion,
        NoKey::Ambiguous => AssertionError::AmbiguousKey,
    }
}

/// What is known of the keys without asking the provider.
enum Known {
    /// They are as fresh as they need to be.
    Fresh(KeySet),
    /// They are older, and may be used when no newer ones can be had.
    Stale(KeySet),
    /// None.
    Nothing,
}

impl Cache {
    async fn key(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, AssertionError> {
        if let Known::Fresh(keys) = self.known() {
            match keys.find(id, algorithm) {
                Ok(key) => return Ok(key.clone()),
                // It may be a new one.
                Err(NoKey::Unknown) => {}
                Err(why) => return Err(refused(why)),
            }
        }
        self.refresh().await;
        match self.known() {
            Known::Fresh(keys) | Known::Stale(keys) => keys.find(id, algorithm).cloned().map_err(refused),
            Known::Nothing => Err(AssertionError::KeysUnavailable(self.provider.clone())),
        }
    }

    fn known(&self) -> Known {
        let KeySettings::Fetched { refresh, max_stale, .. } = &self.settings else { return Known::Nothing };
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((keys, fetched_at)) = &state.keys else { return Known::Nothing };
        let age = self.clock.uptime().saturating_sub(*fetched_at);
        if age < *refresh {
            Known::Fresh(keys.clone())
        } else if age < *max_stale {
            Known::Stale(keys.clone())
        } else {
            Known::Nothing
        }
    }

    /// Fetches, unless that was done a moment ago. The fetch goes on when its caller gives up.
    async fn refresh(self: &Arc<Self>) {
        let guard = Arc::clone(&self.fetching).lock_owned().await;
        if !self.claim_attempt() {
            return;
        }
        let cache = Arc::clone(self);
        let fetching = tokio::spawn(async move {
            let fetched = cache.fetcher.fetch().await;
            cache.keep(fetched);
            drop(guard);
        });
        // Only a panic of its own could make it fail, which leaves things as they were.
        let _ = fetching.await;
    }

    fn claim_attempt(&self) -> bool {
        let now = self.clock.uptime();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not keep anybody waiting.
        if state
            .next_attempt
            .and_then(|next| next.checked_sub(now))
            .is_some_and(|pause| !pause.is_zero() && pause <= LONGEST_PAUSE)
        {
            return false;
        }
        state.next_attempt = Some(now + PAUSE);
        true
    }

    fn keep(&self, fetched: Result<KeySet, FetchError>) {
        let now = self.clock.uptime();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok(keys) => {
                if state.failures > 0 {
                    tracing::info!(provider = self.provider, "the identity provider's keys can be had again");
                }
                *state = State { keys: Some((keys, now)), next_attempt: Some(now + PAUSE), failures: 0 };
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(provider = self.provider, error, "the identity provider's keys cannot be had");
                let pause = PAUSE.saturating_mul(1 << state.failures.min(10)).min(LONGEST_PAUSE);
                state.failures = state.failures.saturating_add(1);
                state.next_attempt = Some(now + pause);
            }
        }
    }
}
