//! Which of the two databases answers, and in which version.

use crate::{
    domain::Engine,
    target::{TargetError, TargetErrorKind},
};

/// The two databases that speak this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Mysql,
    Mariadb,
}

/// Major, minor and patch.
pub(super) type Number = (u16, u16, u16);

impl Flavour {
    pub(super) fn of(engine: Engine) -> Result<Self, TargetError> {
        match engine {
            Engine::Mysql => Ok(Flavour::Mysql),
            Engine::Mariadb => Ok(Flavour::Mariadb),
            Engine::Postgres => Err(TargetError::new(
                TargetErrorKind::Refused,
                "a PostgreSQL target was given to the MySQL engine",
            )),
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Flavour::Mysql => Engine::Mysql.title(),
            Flavour::Mariadb => Engine::Mariadb.title(),
        }
    }

    fn engine(self) -> Engine {
        match self {
            Flavour::Mysql => Engine::Mysql,
            Flavour::Mariadb => Engine::Mariadb,
        }
    }

    /// MySQL 8.0.21 brought `ATTRIBUTE`; MariaDB 10.6 is the oldest release line that is still looked after and has
    /// `CONNECTION ADMIN` and account locking.
    fn oldest(self) -> Number {
        match self {
            Flavour::Mysql => (8, 0, 21),
            Flavour::Mariadb => (10, 6, 0),
        }
    }

    /// Compares what answers with what was configured.
    ///
    /// # Errors
    /// When it is the other database, too old, or says nothing that can be read.
    pub(super) fn check(self, version: &str) -> Result<Number, TargetError> {
        let refused = |message| Err(TargetError::new(TargetErrorKind::Refused, message));
        let Some((seen, number)) = read(version) else {
            return refused("the server's version cannot be read".to_owned());
        };
        if seen != self {
            return refused(format!(
                "the server is {} {version}, but the target is configured as {}: set engine = \"{}\"",
                seen.title(),
                self.title(),
                seen.engine()
            ));
        }
        let oldest = self.oldest();
        if number < oldest {
            let (major, minor, patch) = oldest;
            return refused(format!(
                "the server is {} {version}; {major}.{minor}.{patch} is the oldest that will do",
                self.title()
            ));
        }
        Ok(number)
    }
}

/// Reads what `SELECT VERSION()` says, such as `9.7.4-2` or `10.11.19-MariaDB-0+deb12u1`.
fn read(version: &str) -> Option<(Flavour, Number)> {
    let mariadb = version.to_ascii_lowercase().contains("mariadb");
    // Some MariaDB servers pretend to be 5.5.5 first, for replicas that are very old.
    let numbers = version.strip_prefix("5.5.5-").filter(|_| mariadb).unwrap_or(version);
    let mut parts = numbers.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u16>);
    let number = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some((if mariadb { Flavour::Mariadb } else { Flavour::Mysql }, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_say() {
        for (text, expected) in [
            ("9.7.4-2", Some((Flavour::Mysql, (9, 7, 4)))),
            ("8.0.21", Some((Flavour::Mysql, (8, 0, 21)))),
            ("8.4.3-log", Some((Flavour::Mysql, (8, 4, 3)))),
            ("10.11.19-MariaDB-0+deb12u1", Some((Flavour::Mariadb, (10, 11, 19)))),
            ("5.5.5-10.6.4-MariaDB-log", Some((Flavour::Mariadb, (10, 6, 4)))),
            ("11.4.2-MariaDB-ubu2404", Some((Flavour::Mariadb, (11, 4, 2)))),
            ("", None),
            ("beta", None),
            ("8.0", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn the_wrong_database_and_the_wrong_age_are_refused_in_words() {
        assert!(Flavour::Mysql.check("8.0.21").is_ok());
        let other = Flavour::Mysql.check("10.11.19-MariaDB").unwrap_err();
        assert_eq!(other.kind, TargetErrorKind::Refused);
        assert!(other.message.contains("configured as MySQL: set engine = \"mariadb\""), "{other}");
        let old = Flavour::Mysql.check("8.0.20").unwrap_err();
        assert_eq!(old.message, "the server is MySQL 8.0.20; 8.0.21 is the oldest that will do");
        assert!(Flavour::Mariadb.check("10.5.9-MariaDB").is_err());
    }
}
