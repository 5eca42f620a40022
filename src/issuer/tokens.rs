//! Making, listing and revoking API tokens.

use std::{collections::BTreeSet, time::Duration};

use ipnet::IpNet;
use jiff::SignedDuration;

use super::{Issuer, Refusal};
use crate::{
    audit::{Actor, Draft},
    domain::{ADMINISTRATORS, GroupName, Principal, PrincipalKind, PrincipalName, TokenId},
    identity::{ApiToken, Caller},
    policy,
    store::StoredToken,
};

/// How long a token works unless said otherwise.
const DEFAULT_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The longest a token can work: 366 days.
const LONGEST_LIFE: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Entries a token's lists of groups and networks may have.
const LIST_LIMIT: usize = 64;

/// Characters a description may have.
const DESCRIPTION_LIMIT: usize = 200;

/// A token to make.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whom it speaks for.
    pub principal: PrincipalName,
    /// What kind of principal that is.
    pub kind: PrincipalKind,
    /// The principal's groups.
    pub groups: BTreeSet<GroupName>,
    /// Where it may be used from; empty: from anywhere.
    pub cidrs: Vec<IpNet>,
    /// A line for people.
    pub description: String,
    /// How long it works; `None`: 90 days.
    pub life: Option<Duration>,
}

/// A token just made, with the secret that is shown once.
#[derive(Debug)]
pub struct MintedToken {
    /// As stored.
    pub stored: StoredToken,
    /// The token itself.
    pub secret: ApiToken,
}

impl Issuer {
    /// Makes a token.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, a bad field, store unavailable.
    pub async fn create_token(&self, caller: &Caller, new: NewToken) -> Result<MintedToken, Refusal> {
        self.authorise(caller, policy::Action::Administer, "token.created", "tokens/-".to_owned()).await?;
        check(&new)?;
        self.keep_token(caller.actor(), new, ApiToken::generate(&*self.random)).await
    }

    /// Keeps the first administrator's token, drawn here or taken from a file. Only for a store that never kept a token; it
    /// does not expire, for nobody could make the next one then.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable, or there were tokens already.
    pub async fn bootstrap(&self, given: Option<ApiToken>) -> Result<MintedToken, Refusal> {
        if !self.store.has_no_tokens().await? {
            return Err(Refusal::denied(
                "the store has tokens already; the first administrator is made only once",
            ));
        }
        let now = self.clock.now();
        let administrators: GroupName = ADMINISTRATORS.parse().map_err(Refusal::internal_name)?;
        let principal = Principal {
            name: "administrator".parse().map_err(Refusal::internal_name)?,
            kind: PrincipalKind::Human,
            groups: BTreeSet::from([administrators]),
            attributes: [].into(),
        };
        let secret = given.unwrap_or_else(|| ApiToken::generate(&*self.random));
        let stored = StoredToken {
            id: TokenId::new(now, self.random.bits()),
            hash: secret.hash(),
            principal,
            cidrs: Vec::new(),
            description: "the first administrator".to_owned(),
            created_at: now,
            expires_at: None,
            revoked_at: None,
        };
        self.store.add_token(stored.clone(), created(&stored, Actor::System)).await?;
        Ok(MintedToken { stored, secret })
    }

    async fn keep_token(
        &self,
        actor: Actor,
        new: NewToken,
        secret: ApiToken,
    ) -> Result<MintedToken, Refusal> {
        let now = self.clock.now();
        let life = SignedDuration::try_from(new.life.unwrap_or(DEFAULT_LIFE)).unwrap_or(SignedDuration::ZERO);
        let stored = StoredToken {
            id: TokenId::new(now, self.random.bits()),
            hash: secret.hash(),
            principal: Principal {
                name: new.principal,
                kind: new.kind,
                groups: new.groups,
                attributes: [].into(),
            },
            cidrs: new.cidrs,
            description: new.description,
            created_at: now,
            expires_at: now.checked_add(life).ok(),
            revoked_at: None,
        };
        self.store.add_token(stored.clone(), created(&stored, actor)).await?;
        Ok(MintedToken { stored, secret })
    }

    /// Tokens, newest first, below `before`.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, store unavailable.
    pub async fn tokens(
        &self,
        caller: &Caller,
        before: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<StoredToken>, Refusal> {
        self.authorise(caller, policy::Action::Administer, "token.listed", "tokens/-".to_owned()).await?;
        Ok(self.store.tokens(before, limit).await?)
    }

    /// Makes a token worthless, now.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such token, store unavailable. Revoking twice is no error.
    pub async fn revoke_token(&self, caller: &Caller, id: TokenId) -> Result<StoredToken, Refusal> {
        self.authorise(caller, policy::Action::Administer, "token.revoked", format!("tokens/{id}")).await?;
        let now = self.clock.now();
        let draft = Draft::new(now, caller.actor(), "token.revoked", format!("tokens/{id}"));
        let token = self.store.revoke_token(id, now, draft).await?;
        token.ok_or_else(|| Refusal::not_found(format!("there is no token {id}")))
    }
}

fn created(token: &StoredToken, actor: Actor) -> Draft {
    let join = |items: Vec<String>| items.join(" ");
    Draft::new(token.created_at, actor, "token.created", format!("tokens/{}", token.id))
        .with("principal", token.principal.name.as_str())
        .with("kind", token.principal.kind.as_str())
        .with("groups", join(token.principal.groups.iter().map(ToString::to_string).collect()))
        .with("cidrs", join(token.cidrs.iter().map(ToString::to_string).collect()))
        .with("expires_at", token.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string()))
}

fn check(new: &NewToken) -> Result<(), Refusal> {
    if new.groups.len() > LIST_LIMIT {
        return Err(Refusal::invalid("groups", format!("a token has at most {LIST_LIMIT} groups")));
    }
    if new.cidrs.len() > LIST_LIMIT {
        return Err(Refusal::invalid("cidrs", format!("a token has at most {LIST_LIMIT} networks")));
    }
    if new.description.chars().count() > DESCRIPTION_LIMIT || new.description.chars().any(char::is_control) {
        let message = format!("a description is at most {DESCRIPTION_LIMIT} characters on one line");
        return Err(Refusal::invalid("description", message));
    }
    if new.life.is_some_and(|life| life < Duration::from_secs(1) || life > LONGEST_LIFE) {
        return Err(Refusal::invalid("ttl", "a token works for one second to 366 days"));
    }
    Ok(())
}

impl Refusal {
    fn internal_name(error: crate::domain::NameError) -> Self {
        Refusal::internal(error)
    }
}
