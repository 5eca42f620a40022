//! Local time, as policies and risk speak of it.

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// A moment in local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) year: i16,
    pub(super) month: i8,
    pub(super) day: i8,
    pub(super) hour: i8,
    pub(super) minute: i8,
    pub(super) weekday: Weekday,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weekday {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

impl Weekday {
    /// All of them.
    pub const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];

    /// Its English name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Weekday::Monday => "monday",
            Weekday::Tuesday => "tuesday",
            Weekday::Wednesday => "wednesday",
            Weekday::Thursday => "thursday",
            Weekday::Friday => "friday",
            Weekday::Saturday => "saturday",
            Weekday::Sunday => "sunday",
        }
    }
}

impl Moment {
    /// What the clocks on the wall show there.
    pub(super) fn of(at: Timestamp, zone: &TimeZone) -> Self {
        let local: Zoned = at.to_zoned(zone.clone());
        let weekday = match local.weekday() {
            jiff::civil::Weekday::Monday => Weekday::Monday,
            jiff::civil::Weekday::Tuesday => Weekday::Tuesday,
            jiff::civil::Weekday::Wednesday => Weekday::Wednesday,
            jiff::civil::Weekday::Thursday => Weekday::Thursday,
            jiff::civil::Weekday::Friday => Weekday::Friday,
            jiff::civil::Weekday::Saturday => Weekday::Saturday,
            jiff::civil::Weekday::Sunday => Weekday::Sunday,
        };
        Self {
            year: local.year(),
            month: local.month(),
            day: local.day(),
            hour: local.hour(),
            minute: local.minute(),
            weekday,
        }
    }

    /// Minutes since midnight, by the clocks on the wall.
    pub(super) fn minutes(self) -> u16 {
        u16::from(self.hour.unsigned_abs()) * 60 + u16::from(self.minute.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_daylight_saving() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (at, hour, minute, weekday) in [
            ("2026-01-15T07:30:00Z", 8, 30, Weekday::Thursday),
            ("2026-07-15T07:30:00Z", 9, 30, Weekday::Wednesday),
            // The hour that is left out in March, and the one that comes twice in October.
            ("2026-03-29T00:59:59Z", 1, 59, Weekday::Sunday),
            ("2026-03-29T01:00:00Z", 3, 0, Weekday::Sunday),
            ("2026-10-25T00:30:00Z", 2, 30, Weekday::Sunday),
            ("2026-10-25T01:30:00Z", 2, 30, Weekday::Sunday),
            ("2026-10-25T02:30:00Z", 3, 30, Weekday::Sunday),
            // Another day there than in UTC.
            ("2026-01-18T23:30:00Z", 0, 30, Weekday::Monday),
        ] {
            let moment = Moment::of(at.parse().unwrap(), &berlin);
            assert_eq!((moment.hour, moment.minute, moment.weekday), (hour, minute, weekday), "{at}");
        }
    }
}
