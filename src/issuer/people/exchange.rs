//! A session for whom others vouch: a JWT or a certificate is exchanged for one.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Begun, sign_in::started};
use crate::{
    identity::{Caller, Credential, people::Origin},
    issuer::{Issuer, Refusal},
    store::{Changes, Committed},
};

/// How long such a session lasts at most: as long as most jobs, and not much longer than what it was exchanged for is good.
const LONGEST: Duration = Duration::from_secs(3600);

impl Issuer {
    /// Begins a session for a caller that presented a JWT or a certificate. A JWT that is good once is used up by this.
    ///
    /// # Errors
    /// [`Refusal`]: the caller presented something else, store unavailable.
    pub async fn exchange(&self, caller: &Caller) -> Result<Begun, Refusal> {
        let provider = match &caller.credential {
            Credential::Assertion { provider } => provider.clone(),
            other => {
                let message = "only a JWT of an identity provider is exchanged for a session";
                let refusal = Refusal::precondition(message);
                return Err(self.refuse(caller, "session.started", other.to_string(), refusal).await);
            }
        };
        self.prune_sessions().await?;
        let now = self.clock.now();
        let mut begun =
            self.new_session(caller.principal.clone(), Origin::Provider { provider, subject: None }, now);
        let longest = SignedDuration::try_from(LONGEST).unwrap_or(SignedDuration::ZERO);
        let session = &mut begun.session;
        session.expires_at = session.expires_at.min(now.checked_add(longest).unwrap_or(now));
        let changes = Changes::new().insert(&begun.session)?;
        let changes = changes.record(started(&begun.session, caller.address));
        match changes.commit(&*self.store).await? {
            Committed::Yes => Ok(begun),
            Committed::Conflict => Err(Issuer::contended()),
        }
    }
}
