//! Which commands share a transaction: those that wait, and those worth waiting for.
//!
//! A commit costs about as much for one command as for ten, and the disk it waits for is often that of a database whose own
//! commits it delays. While many leases are being created, whose next command is on its way, a short wait makes one commit of
//! several (what `commit_delay` and `commit_siblings` are in PostgreSQL). A caller that is alone, or among few, never waits.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

/// Leases under way from which on it is worth waiting for more.
const SIBLINGS: usize = 6;

/// How long to wait.
const WAIT: Duration = Duration::from_micros(500);

/// When nothing was to be written for so long, nothing is under way that is worth waiting for, whatever the count says.
const QUIET: Duration = Duration::from_secs(1);

/// Puts groups together.
pub(super) struct Gathering {
    /// Leases that were begun and wait for their creation, about: each will have a command to say how that went.
    pub(super) under_way: usize,
    most: usize,
}

impl Gathering {
    /// Groups of up to `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { under_way: 0, most }
    }

    /// The next group, once there is any command; `None`: there will be no more.
    pub(super) fn next<T>(&mut self, commands: &Receiver<T>, pause: impl FnOnce(Duration)) -> Option<Vec<T>> {
        let mut group = vec![self.first(commands)?];
        self.take(&mut group, commands);
        if self.under_way >= SIBLINGS && group.len().saturating_mul(2) < self.under_way {
            pause(WAIT);
            self.take(&mut group, commands);
        }
        Some(group)
    }

    fn first<T>(&mut self, commands: &Receiver<T>) -> Option<T> {
        if self.under_way > 0 {
            match commands.recv_timeout(QUIET) {
                Ok(first) => return Some(first),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.under_way = 0,
            }
        }
        commands.recv().ok()
    }

    fn take<T>(&self, group: &mut Vec<T>, commands: &Receiver<T>) {
        let room = self.most.saturating_sub(group.len());
        group.extend(commands.try_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// What comes together when `waiting` commands are there, and `late` ones come while it pauses.
    fn group(under_way: usize, waiting: usize, late: usize, most: usize) -> usize {
        let (sender, commands) = channel();
        let send = |number| (0..number).for_each(|_| sender.send(()).unwrap());
        let mut gathering = Gathering { under_way, most };
        send(waiting);
        gathering.next(&commands, |_| send(late)).unwrap().len()
    }

    #[test]
    fn who_is_alone_or_among_few_never_waits() {
        assert_eq!(group(0, 1, 5, 256), 1);
        assert_eq!(group(SIBLINGS - 1, 1, 5, 256), 1);
    }

    #[test]
    fn among_many_a_small_group_waits_for_more_and_a_large_one_does_not() {
        assert_eq!(group(16, 1, 5, 256), 6);
        assert_eq!(group(16, 7, 5, 256), 12);
        assert_eq!(group(16, 8, 5, 256), 8);
    }

    #[test]
    fn groups_are_bounded() {
        assert_eq!(group(0, 9, 0, 4), 4);
        assert_eq!(group(16, 1, 9, 4), 4);
    }

    #[test]
    fn the_end_is_noticed_whatever_is_thought_to_be_under_way() {
        for under_way in [0, 16] {
            let (sender, commands) = channel::<()>();
            drop(sender);
            assert!(Gathering { under_way, most: 4 }.next(&commands, |_| {}).is_none());
        }
    }
}
