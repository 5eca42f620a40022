//! Callers for whom somebody else vouches.

use std::net::IpAddr;

use super::{
    AuthenticationError, Authenticator, Caller, Credential, Rejected,
    assertion::{self, AssertionError},
    authenticate::Use,
    certificate::ClientCertificate,
};

impl Authenticator {
    pub(super) async fn by_assertion(
        &self,
        jwt: &str,
        address: Option<IpAddr>,
        usage: Use,
    ) -> Result<Caller, Rejected> {
        let now = self.clock.now();
        let identities = self.identities.current();
        let accepted = identities.providers.accept(jwt, now).await.map_err(AuthenticationError::Assertion)?;
        let credential = Credential::Assertion { provider: accepted.provider.clone() };
        let caller =
            Caller { principal: accepted.principal.clone(), credential, address, second_factor_at: None };
        if usage == Use::Again || accepted.once.is_none() {
            return Ok(caller);
        }
        let first = assertion::remember(&*self.store, &accepted, caller.actor(), now).await;
        if first.map_err(AuthenticationError::Store)? {
            return Ok(caller);
        }
        let error = AuthenticationError::Assertion(AssertionError::Replayed);
        Err(Rejected { error, credential: Some(caller.credential) })
    }

    pub(super) fn by_certificate(
        &self,
        certificate: &ClientCertificate,
        address: Option<IpAddr>,
    ) -> Result<Caller, Rejected> {
        let identities = self.identities.current();
        if identities.certificates.is_empty() {
            return Err(AuthenticationError::Missing.into());
        }
        let credential = Credential::Certificate { fingerprint: certificate.fingerprint().to_owned() };
        match certificate.principal(&identities.certificates, self.clock.now()) {
            Ok(principal) => Ok(Caller { principal, credential, address, second_factor_at: None }),
            Err(error) => Err(Rejected { error: error.into(), credential: Some(credential) }),
        }
    }
}
