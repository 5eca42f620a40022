//! What the administration account logs in with: asked for on connecting, remembered while it works, asked for anew when it
//! does not, since somebody else may have changed it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{TargetError, TargetErrorKind, TargetSettings};
use crate::domain::{Password, TargetName};

/// Where a password comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A rotation that is under way or did not finish.
    Pending,
    /// The last rotation.
    Rotated,
    /// The configuration.
    Configured,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Pending => "the password of a rotation that did not finish",
            Origin::Rotated => "the password of the last rotation",
            Origin::Configured => "the configured password",
        })
    }
}

/// A password that may be the account's.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Where it comes from.
    pub origin: Origin,
    /// The password; `None` when the server asks for none.
    pub password: Option<Password>,
    /// What was kept when it was handed out ([`crate::store::KeptSecret::revision`]); 0: nothing.
    pub revision: u64,
}

/// All that may be the account's password, the likeliest first.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// The passwords.
    pub list: Vec<Candidate>,
    /// Others there are that cannot be used, and why; fit for an operator.
    pub unusable: Vec<String>,
}

/// An administration account, as configured.
#[derive(Debug, Clone)]
pub struct AdministrationAccount {
    /// On which target.
    pub target: TargetName,
    /// Its name.
    pub user: String,
    /// Its configured password; `None` when the server asks for none.
    pub password: Option<Password>,
}

/// Knows what administration accounts log in with.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// What may be the account's password.
    ///
    /// # Errors
    /// When it cannot be found out now.
    async fn candidates(&self, account: &AdministrationAccount) -> Result<Candidates, TargetError>;

    /// The server has just let the account in with this one, after others may have been refused.
    async fn accepted(&self, account: &AdministrationAccount, candidate: &Candidate);
}

/// The configured password and no other.
#[derive(Debug, Clone, Copy, Default)]
pub struct Configured;

impl Configured {
    /// The candidate that the configuration names.
    pub fn candidate(account: &AdministrationAccount, revision: u64) -> Candidate {
        Candidate { origin: Origin::Configured, password: account.password.clone(), revision }
    }
}

#[async_trait]
impl Credentials for Configured {
    async fn candidates(&self, account: &AdministrationAccount) -> Result<Candidates, TargetError> {
        Ok(Candidates { list: vec![Configured::candidate(account, 0)], unusable: Vec::new() })
    }

    async fn accepted(&self, _: &AdministrationAccount, _: &Candidate) {}
}

/// What one target logs in with.
pub(super) struct Keychain {
    account: AdministrationAccount,
    credentials: Arc<dyn Credentials>,
    /// What the server accepted last.
    known: Mutex<Option<Candidate>>,
}

impl Keychain {
    pub(super) fn new(settings: &TargetSettings, credentials: Arc<dyn Credentials>) -> Self {
        let account = AdministrationAccount {
            target: settings.name.clone(),
            user: settings.user.clone(),
            password: settings.password.clone(),
        };
        Self { account, credentials, known: Mutex::default() }
    }

    /// What to log in with, one after the other until one is accepted.
    pub(super) fn attempts(&self) -> Attempts<'_> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Attempts {
            keychain: self,
            queue: known.into_iter().collect(),
            under_way: None,
            asked: false,
            refused: Vec::new(),
            unusable: Vec::new(),
            last: None,
        }
    }

    /// New connections begin with this password: the server was seen to accept it.
    pub(super) fn learn(&self, password: &Password) {
        let known = Candidate { origin: Origin::Rotated, password: Some(password.clone()), revision: 0 };
        self.remember(known);
    }

    fn remember(&self, candidate: Candidate) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(candidate);
    }
}

/// Passwords to log in with: [`Attempts::next`], then [`Attempts::refused`] or [`Attempts::accepted`].
pub(super) struct Attempts<'k> {
    keychain: &'k Keychain,
    queue: VecDeque<Candidate>,
    under_way: Option<Candidate>,
    asked: bool,
    refused: Vec<Candidate>,
    unusable: Vec<String>,
    last: Option<TargetError>,
}

impl Attempts<'_> {
    /// The next password to try; `None`: without one.
    ///
    /// # Errors
    /// `Unauthenticated` once there is no other.
    pub(super) async fn next(&mut self) -> Result<Option<Password>, TargetError> {
        if self.queue.is_empty() && !self.asked {
            self.asked = true;
            let asked = self.keychain.credentials.candidates(&self.keychain.account).await?;
            self.unusable = asked.unusable;
            self.queue = asked.list.into_iter().filter(|candidate| !self.was_refused(candidate)).collect();
        }
        let Some(candidate) = self.queue.pop_front() else { return Err(self.exhausted()) };
        let password = candidate.password.clone();
        self.under_way = Some(candidate);
        Ok(password)
    }

    /// The server did not let us in: goes on if that was for the password.
    ///
    /// # Errors
    /// The error itself, when another password cannot help.
    pub(super) fn refused(&mut self, error: TargetError) -> Result<(), TargetError> {
        if error.kind != TargetErrorKind::Unauthenticated {
            return Err(error);
        }
        self.refused.extend(self.under_way.take());
        self.last = Some(error);
        Ok(())
    }

    /// The server let us in.
    pub(super) async fn accepted(mut self) {
        let Some(candidate) = self.under_way.take() else { return };
        if self.asked {
            self.keychain.credentials.accepted(&self.keychain.account, &candidate).await;
        }
        // What the server accepts has finished, as far as anybody is told later.
        let origin = match candidate.origin {
            Origin::Pending => Origin::Rotated,
            settled => settled,
        };
        self.keychain.remember(Candidate { origin, ..candidate });
    }

    fn was_refused(&self, candidate: &Candidate) -> bool {
        fn text(candidate: &Candidate) -> Option<&str> {
            candidate.password.as_ref().map(Password::expose)
        }
        self.refused.iter().any(|refused| text(refused) == text(candidate))
    }

    fn exhausted(&mut self) -> TargetError {
        let last = self.last.take();
        let last = last.unwrap_or_else(|| {
            TargetError::new(TargetErrorKind::Unauthenticated, "there is no password to log in with")
        });
        // Nothing but the configured password ever was: the server's words say it all.
        let plain = self.refused.iter().all(|candidate| candidate.origin == Origin::Configured);
        if plain && self.unusable.is_empty() {
            return last;
        }
        let mut tried: Vec<String> = self.refused.iter().map(|refused| refused.origin.to_string()).collect();
        tried.dedup();
        let mut message = format!("{}; tried {}", last.message, tried.join(", "));
        for unusable in &self.unusable {
            message.push_str("; ");
            message.push_str(unusable);
        }
        message.push_str(
            "; an administrator of the database can set the account's password to the configured one: Mayfly then goes on by \
             itself",
        );
        TargetError { message, ..last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out these, and notes what was accepted.
    struct Noting(Vec<(Origin, &'static str)>, Vec<String>, Mutex<Vec<Origin>>);

    #[async_trait]
    impl Credentials for Noting {
        async fn candidates(&self, _: &AdministrationAccount) -> Result<Candidates, TargetError> {
            let list = self.0.iter().map(|(origin, text)| Candidate {
                origin: *origin,
                password: Some(Password::new((*text).to_owned())),
                revision: 3,
            });
            Ok(Candidates { list: list.collect(), unusable: self.1.clone() })
        }

        async fn accepted(&self, _: &AdministrationAccount, candidate: &Candidate) {
            self.2.lock().unwrap().push(candidate.origin);
        }
    }

    const ALL: &[(Origin, &str)] =
        &[(Origin::Pending, "new"), (Origin::Rotated, "old"), (Origin::Configured, "first")];

    fn keychain(list: &[(Origin, &'static str)], unusable: &[&str]) -> (Keychain, Arc<Noting>) {
        let unusable = unusable.iter().map(ToString::to_string).collect();
        let credentials = Arc::new(Noting(list.to_vec(), unusable, Mutex::default()));
        let account = AdministrationAccount {
            target: "orders".parse().unwrap(),
            user: "mayfly".to_owned(),
            password: None,
        };
        let handed = Arc::clone(&credentials) as Arc<dyn Credentials>;
        (Keychain { account, credentials: handed, known: Mutex::default() }, credentials)
    }

    /// Logs in to a server that accepts one password; says how often it was asked.
    async fn login(keychain: &Keychain, accepts: &str) -> (u32, Result<(), TargetError>) {
        let (mut asked, mut attempts) = (0, keychain.attempts());
        loop {
            let password = match attempts.next().await {
                Ok(password) => password.unwrap(),
                Err(error) => return (asked, Err(error)),
            };
            asked += 1;
            if password.expose() == accepts {
                attempts.accepted().await;
                return (asked, Ok(()));
            }
            attempts.refused(TargetError::new(TargetErrorKind::Unauthenticated, "no")).unwrap();
        }
    }

    #[tokio::test]
    async fn what_worked_is_tried_first_and_nothing_is_tried_twice() {
        let (keychain, credentials) = keychain(ALL, &[]);
        assert!(matches!(login(&keychain, "old").await, (2, Ok(()))));
        assert!(matches!(login(&keychain, "old").await, (1, Ok(()))));
        assert!(matches!(login(&keychain, "first").await, (3, Ok(()))));
        assert_eq!(*credentials.2.lock().unwrap(), [Origin::Rotated, Origin::Configured]);
        keychain.learn(&Password::new("new".to_owned()));
        assert!(matches!(login(&keychain, "new").await, (1, Ok(()))));
        assert_eq!(credentials.2.lock().unwrap().len(), 2, "what was known need not be told");
    }

    #[tokio::test]
    async fn when_none_works_it_says_what_was_tried_and_shows_none_of_it() {
        let (keychain, _) = keychain(ALL, &["the password of … is sealed with the key 00"]);
        let (asked, refused) = login(&keychain, "another").await;
        let refused = refused.unwrap_err();
        assert_eq!((asked, refused.kind), (3, TargetErrorKind::Unauthenticated));
        for words in ["did not finish", "last rotation", "configured password", "sealed with the key 00"] {
            assert!(refused.message.contains(words), "{refused}");
        }
        let shown = format!("{refused} {refused:?}");
        assert!(ALL.iter().all(|(_, secret)| !shown.contains(&format!("\"{secret}\""))), "{shown}");
    }

    #[tokio::test]
    async fn what_is_no_matter_of_passwords_ends_the_attempts() {
        let (keychain, _) = keychain(ALL, &[]);
        let mut attempts = keychain.attempts();
        attempts.next().await.unwrap();
        let error = attempts.refused(TargetError::new(TargetErrorKind::Unavailable, "down")).unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn with_nothing_but_the_configured_password_the_servers_words_are_left_alone() {
        let (keychain, _) = keychain(&ALL[2..], &[]);
        let (asked, refused) = login(&keychain, "another").await;
        assert_eq!((asked, refused.unwrap_err().message.as_str()), (1, "no"));
    }
}
