//! Beginning a sign-in at an identity provider.

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::SignInId,
    identity::sign_in::{DeviceOffer, PendingSignIn, SignInError, SignInProvider, SignInSecret, Way},
    issuer::{Issuer, Refusal, RefusalKind},
    store::{Changes, Committed, Listing, documents, due_documents},
};

/// How long there is to sign in at the provider, with a browser.
const LIFE: Duration = Duration::from_secs(10 * 60);

/// How long with another device at most, whatever the provider says.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// Sign-ins under way from one network: a household of people behind one address.
const PER_NETWORK: u32 = 20;

/// Sign-ins under way altogether.
const TOGETHER: u32 = 1_000;

/// Sign-ins that are over and forgotten along with a new one: more than one, so that they never pile up.
const PRUNED: u32 = 16;

/// A sign-in to begin.
#[derive(Debug, Clone)]
pub struct NewSignIn {
    /// At which provider.
    pub provider: String,
    /// How.
    pub way: SignInWay,
    /// Whether the person is to be asked again, whoever is signed in there.
    pub fresh: bool,
    /// Where it is begun from.
    pub address: Option<IpAddr>,
}

/// How somebody signs in at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInWay {
    /// With a browser on the machine it is begun from, which is sent back to this port of 127.0.0.1.
    Browser {
        /// The port.
        redirect_port: u16,
    },
    /// With any other device.
    Device,
}

/// A sign-in just begun, with the secret that is shown once.
#[derive(Debug)]
pub struct BegunElsewhere {
    /// As kept.
    pub pending: PendingSignIn,
    /// Its secret.
    pub secret: SignInSecret,
    /// What the person is to do.
    pub offer: SignInOffer,
}

/// What somebody who signs in is to do.
#[derive(Debug)]
pub enum SignInOffer {
    /// Open this address in a browser.
    Browser {
        /// The address.
        url: String,
    },
    /// Type this code there.
    Device(DeviceOffer),
}

impl Issuer {
    /// The providers that people sign in at, each with the one port it sends browsers back to; `None`: to any.
    pub fn sign_in_providers(&self) -> Vec<(String, Option<u16>)> {
        let identities = self.people.identities.current();
        let providers = identities.sign_ins().iter();
        providers.map(|(name, provider)| (name.clone(), provider.redirect_port())).collect()
    }

    /// Begins a sign-in at a provider. It is completed by whoever holds its secret, on any replica.
    ///
    /// # Errors
    /// [`Refusal`]: no such provider, another port than the provider's, too many sign-ins under way, the provider is down or
    /// refuses, store unavailable.
    pub async fn begin_sign_in(&self, new: NewSignIn) -> Result<BegunElsewhere, Refusal> {
        let provider = self.provider(&new.provider)?;
        if let SignInWay::Browser { redirect_port } = new.way
            && let Some(expected) = provider.redirect_port().filter(|port| *port != redirect_port)
        {
            let message = format!("the provider sends browsers back to port {expected} only");
            return Err(Refusal::invalid("redirect_port", message));
        }
        self.prune_sign_ins().await?;
        let network = network_of(new.address);
        self.bound_sign_ins(&network).await?;
        let (now, secret) = (self.clock.now(), SignInSecret::generate(&*self.random));
        let id = SignInId::new(now, self.random.bits());
        let (way, offer, life) = self.offer(&provider, (id, &secret), &new).await?;
        let life = SignedDuration::try_from(life).unwrap_or(SignedDuration::ZERO);
        let pending = PendingSignIn {
            id,
            hash: secret.hash(),
            provider: new.provider,
            network,
            fresh: new.fresh,
            began_at: now,
            expires_at: now.checked_add(life).unwrap_or(now),
            way,
        };
        match Changes::new().insert(&pending)?.commit(&*self.store).await? {
            Committed::Yes => Ok(BegunElsewhere { pending, secret, offer }),
            Committed::Conflict => Err(Issuer::contended()),
        }
    }

    /// The provider of a name, if people sign in there.
    pub(super) fn provider(&self, name: &str) -> Result<Arc<SignInProvider>, Refusal> {
        let identities = self.people.identities.current();
        identities.sign_in(name).cloned().ok_or_else(|| {
            let known: Vec<_> = identities.sign_ins().keys().map(String::as_str).collect();
            let message = match known.as_slice() {
                [] => "nobody signs in at an identity provider here: none has [identity.NAME.sign_in]"
                    .to_owned(),
                known => format!("people do not sign in there; known are {}", known.join(", ")),
            };
            Refusal::invalid("provider", message)
        })
    }

    async fn offer(
        &self,
        provider: &SignInProvider,
        (id, secret): (SignInId, &SignInSecret),
        new: &NewSignIn,
    ) -> Result<(Way, SignInOffer, Duration), Refusal> {
        match new.way {
            SignInWay::Browser { redirect_port } => {
                let redirect_uri = format!("http://127.0.0.1:{redirect_port}/callback");
                let url = provider.authorization_url(secret, &redirect_uri, new.fresh).await?;
                Ok((Way::Browser { redirect_uri }, SignInOffer::Browser { url }, LIFE))
            }
            SignInWay::Device => {
                let offer = provider.offer_device(new.fresh).await?;
                let place = (self.store.instance(), id);
                let sealed = secret.seal_device(place, &offer.device_code, &*self.random);
                let sealed = sealed.map_err(Refusal::internal)?;
                let poll_at = later(self.clock.now(), offer.interval);
                let life = offer.life.min(LONGEST);
                let way = Way::Device { sealed, interval: offer.interval, poll_at };
                Ok((way, SignInOffer::Device(offer), life))
            }
        }
    }

    /// Refuses when too many are under way: each is kept for minutes, and nobody who begins one is known.
    async fn bound_sign_ins(&self, network: &str) -> Result<(), Refusal> {
        for (by, most) in [(("network", network), PER_NETWORK), (("stage", "pending"), TOGETHER)] {
            let listing = Listing { by: Some(by), before: None, limit: most };
            let found = documents::<PendingSignIn>(&*self.store, listing).await?.len();
            if u32::try_from(found).unwrap_or(u32::MAX) >= most {
                let message =
                    "as many sign-ins are under way as may be; complete one, or try again in a few minutes";
                let refusal = Refusal::new(RefusalKind::TooManySignIns, message);
                return Err(refusal.retry_after(Duration::from_secs(60)));
            }
        }
        Ok(())
    }

    /// Forgets sign-ins that nobody completed in time.
    async fn prune_sign_ins(&self) -> Result<(), Refusal> {
        let over = due_documents::<PendingSignIn>(&*self.store, self.clock.now(), PRUNED).await?;
        for kept in over {
            // On a conflict somebody else forgets it, or completes it just in time.
            let _ = Changes::new().remove(&kept).commit(&*self.store).await?;
        }
        Ok(())
    }
}

/// A moment so many seconds later.
pub(super) fn later(at: Timestamp, seconds: u32) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(at)
}

/// What one caller holds: an IPv4 address, or an IPv6 network of 64 bits.
fn network_of(address: Option<IpAddr>) -> String {
    match address {
        None => "-".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            std::net::Ipv6Addr::from(network).to_string()
        }
    }
}

impl From<SignInError> for Refusal {
    fn from(error: SignInError) -> Self {
        let message = error.to_string();
        let kind = match &error {
            SignInError::Unavailable { .. } => RefusalKind::ProviderUnavailable,
            SignInError::Assertion(crate::identity::assertion::AssertionError::KeysUnavailable(_)) => {
                RefusalKind::ProviderUnavailable
            }
            SignInError::NoDevices(_) => RefusalKind::Precondition,
            _ => RefusalKind::SignInRefused,
        };
        let refusal = Refusal::new(kind, message);
        let refusal = match kind {
            RefusalKind::ProviderUnavailable => refusal.retry_after(Duration::from_secs(5)),
            _ => refusal,
        };
        refusal.caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let of = |text: &str| network_of(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(network_of(None), "-");
    }
}
