//! Which user the servers run as.

use std::{fmt, fs, io, os::unix::fs::chown, os::unix::process::CommandExt, path::Path, process::Command};

/// The user without rights that every Unix has.
const UNPRIVILEGED: &str = "nobody";

/// The user servers run as: ourselves, or `nobody` when we are root (which PostgreSQL refuses to run as).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    Ourselves,
    Nobody { user: u32, group: u32 },
}

impl Identity {
    pub(super) fn choose() -> io::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Identity::Ourselves);
        }
        let (user, group) = lookup(&fs::read_to_string("/etc/passwd")?, UNPRIVILEGED).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no user {UNPRIVILEGED} in /etc/passwd"))
        })?;
        Ok(Identity::Nobody { user, group })
    }

    /// Makes a program run as this user. Supplementary groups are dropped along with root.
    pub(super) fn apply(self, command: &mut Command) {
        if let Identity::Nobody { user, group } = self {
            command.uid(user).gid(group);
        }
    }

    /// Gives a file to this user.
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        match self {
            Identity::Ourselves => Ok(()),
            Identity::Nobody { user, group } => chown(path, Some(user), Some(group)),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Ourselves => f.write_str("this user"),
            Identity::Nobody { .. } => write!(f, "the user {UNPRIVILEGED}"),
        }
    }
}

fn lookup(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_up_by_their_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody2:x:5:6::/:\nnobody:x:65534:65533::/:\n";
        assert_eq!(lookup(passwd, "nobody"), Some((65534, 65533)));
        assert_eq!(lookup(passwd, "no"), None);
    }
}
