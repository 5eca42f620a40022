//! Who holds accounts, and who waits for them.

use super::{
    ask::on,
    words::{self, Standing},
};
use crate::{
    domain::{Access, Checkout, ExistingAccount, Lease, Role, TargetName},
    identity::Caller,
    issuer::{Issuer, Refusal, listing::Wish},
    policy,
    store::document,
};

/// An account that is, or was, handed out.
#[derive(Debug, Clone)]
pub struct CheckedOut {
    /// The account, and who waits for it.
    pub checkout: Checkout,
    /// The lease it is held for.
    pub holder: Option<Lease>,
}

impl Issuer {
    /// Accounts that are, or were, handed out, in descending order of their identifiers; and where to continue, unless that was all.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, store unavailable.
    pub async fn checkouts(
        &self,
        caller: &Caller,
        target: Option<&TargetName>,
        (before, size): (Option<String>, u32),
    ) -> Result<(Vec<CheckedOut>, Option<String>), Refusal> {
        let resource = format!("targets/{}", target.map_or("-", TargetName::as_str));
        self.authorise(caller, policy::Action::Administer, "checkout.listed", resource).await?;
        let by = target.map(|target| ("target", target.as_str()));
        let now = self.clock.now();
        let (found, next) = self
            .page_of(Wish { by, size, before }, crate::store::Document::id, |mut checkout: Checkout| {
                checkout.forget_absent(now);
                Some(checkout)
            })
            .await?;
        let ids: Vec<_> = found.iter().filter_map(|checkout| checkout.holder).collect();
        let leases = self.store.leases(&ids).await?;
        let holder =
            |checkout: &Checkout| leases.iter().find(|lease| Some(lease.id) == checkout.holder).cloned();
        let found = found.into_iter().map(|checkout| CheckedOut { holder: holder(&checkout), checkout });
        Ok((found.collect(), next))
    }

    /// Why a role's account could not be had right now; `None`: it could, or there is no such account.
    pub(in crate::issuer) async fn held_now(
        &self,
        caller: &Caller,
        role: &Role,
    ) -> Result<Option<String>, Refusal> {
        let Access::Checkout { account, .. } = &role.access else { return Ok(None) };
        let Ok(account) = ExistingAccount::new(account, role.hosts.clone()) else { return Ok(None) };
        let id = Checkout::id_of(&role.target, &account);
        let Some(kept) = document::<Checkout>(&*self.store, &id).await? else { return Ok(None) };
        let mut checkout = kept.document;
        checkout.forget_absent(self.clock.now());
        let first = checkout.waiting.first();
        let is_first =
            first.is_none_or(|first| first.principal == caller.principal.name && first.role == role.name);
        let holder = match checkout.holder {
            None if is_first => return Ok(None),
            None => None,
            Some(id) => self.store.lease(id).await?,
        };
        let standing = match checkout.holder {
            Some(_) if holder.is_none() => Standing::Ending,
            _ => Standing::of(holder.as_ref()),
        };
        let held = standing.words(&on(account.name(), &role.target), caller);
        Ok(Some(format!("{held}; {}", words::waiting(checkout.waiting.len()))))
    }
}
