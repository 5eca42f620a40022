//! As whom a session's statements run: the administration account, or one of its deputies.

use super::quote::{self, QuoteError};

/// What a session is to act as, and what it acts as.
#[derive(Debug)]
pub(super) struct Acting {
    /// `None`: the administration account.
    wanted: Option<String>,
    current: Option<String>,
    /// Whether `current` is known.
    known: bool,
}

impl Acting {
    /// A session as it begins.
    pub(super) fn at_first() -> Self {
        Self { wanted: None, current: None, known: true }
    }

    /// What follows is to be done as a deputy, or as the administration account itself.
    pub(super) fn want(&mut self, deputy: Option<String>) {
        self.wanted = deputy;
    }

    /// The deputy that what follows is done as.
    pub(super) fn deputy(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// The statement that must come first; `None`: none.
    pub(super) fn change(&self) -> Result<Option<String>, QuoteError> {
        if self.known && self.current == self.wanted {
            return Ok(None);
        }
        Ok(Some(match &self.wanted {
            Some(deputy) => format!("SET ROLE {}", quote::identifier(deputy)?),
            None => "RESET ROLE".to_owned(),
        }))
    }

    /// A message that began with the change ended. One that failed may have undone the change or not.
    pub(super) fn changed(&mut self, succeeded: bool) {
        self.current.clone_from(&self.wanted);
        self.known = succeeded;
    }

    /// Something ran that may have changed it.
    pub(super) fn lose_track(&mut self) {
        self.known = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_changes_and_nothing_when_nothing_does() {
        let mut acting = Acting::at_first();
        assert_eq!(acting.change().unwrap(), None);
        acting.want(Some("mf_deputy_1".to_owned()));
        assert_eq!(acting.change().unwrap().unwrap(), "SET ROLE \"mf_deputy_1\"");
        acting.changed(true);
        assert_eq!(acting.change().unwrap(), None);
        acting.want(None);
        assert_eq!(acting.change().unwrap().unwrap(), "RESET ROLE");
    }

    #[test]
    fn what_a_failed_message_left_is_set_anew() {
        let mut acting = Acting::at_first();
        acting.want(Some("d".to_owned()));
        acting.changed(false);
        acting.want(None);
        assert_eq!(acting.change().unwrap().unwrap(), "RESET ROLE");
        acting.changed(true);
        acting.lose_track();
        assert_eq!(acting.change().unwrap().unwrap(), "RESET ROLE");
    }
}
