//! The user's own day: eating windows and diary days as instants.
//!
//! One place computes them and SQL gets instants, because PostgreSQL and the RFC 5545 rule used here disagree in a
//! repeated hour. A repeated wall time is its first pass; a skipped one is shifted forward by the gap.

use jiff::civil::{Date, Time, time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Wall times between which the user eats, and whether the rest is fasting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EatingHours {
    pub start: Time,
    pub end: Time,
    pub fasting: bool,
}

impl EatingHours {
    pub const DEFAULT_WAKE: Time = time(7, 0, 0, 0);
    pub const DEFAULT_SLEEP: Time = time(23, 0, 0, 0);

    /// Fasting from `start` to `end`: eating is the rest.
    pub fn fasting(start: Time, end: Time) -> Self {
        Self {
            start: end,
            end: start,
            fasting: true,
        }
    }

    /// Eating from waking to sleeping.
    pub fn awake(wake: Option<Time>, sleep: Option<Time>) -> Self {
        Self {
            start: wake.unwrap_or(Self::DEFAULT_WAKE),
            end: sleep.unwrap_or(Self::DEFAULT_SLEEP),
            fasting: false,
        }
    }
}

/// Half-open span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Window {
    pub fn contains(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.to
    }

    /// The same for microseconds.
    pub fn contains_us(&self, now: i64) -> bool {
        self.from.as_microsecond() <= now && now < self.to.as_microsecond()
    }
}

/// A zone and the hours kept in it.
#[derive(Debug, Clone)]
pub struct Calendar {
    pub zone: TimeZone,
    pub hours: EatingHours,
}

impl Calendar {
    pub fn new(zone: TimeZone, hours: EatingHours) -> Self {
        Self { zone, hours }
    }

    /// A wall time as an instant.
    pub fn instant(&self, date: Date, time: Time) -> Timestamp {
        let wall = date.to_datetime(time);
        self.zone
            .to_ambiguous_timestamp(wall)
            .compatible()
            // Only the ends of time, which no accepted date reaches.
            .unwrap_or(Timestamp::MAX)
    }

    /// Wall time of an instant.
    pub fn wall_time(&self, at: Timestamp) -> Time {
        self.zone.to_datetime(at).time()
    }

    pub fn local_date(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// First instant of a local date; midnight need not exist.
    pub fn midnight(&self, date: Date) -> Timestamp {
        self.instant(date, Time::midnight())
    }

    /// Eating window that begins on a local date; it may end on the next.
    pub fn window(&self, date: Date) -> Window {
        let last = if self.hours.end <= self.hours.start {
            next(date)
        } else {
            date
        };
        Window {
            from: self.instant(date, self.hours.start),
            to: self.instant(last, self.hours.end),
        }
    }

    /// Start of a diary day: midnight, or the end of yesterday's window if that is later.
    pub fn diary_start(&self, date: Date) -> Timestamp {
        self.midnight(date).max(self.window(previous(date)).to)
    }

    /// All of a diary day: what is eaten in it counts for `date`, in every view.
    pub fn diary_day(&self, date: Date) -> Window {
        Window {
            from: self.diary_start(date),
            to: self.diary_start(next(date)),
        }
    }

    /// The diary day that an instant belongs to.
    pub fn diary_date(&self, at: Timestamp) -> Date {
        let date = self.local_date(at);
        if at < self.diary_start(date) {
            previous(date)
        } else {
            date
        }
    }
}

pub fn next(date: Date) -> Date {
    date.saturating_add(Span::new().days(1))
}

pub fn previous(date: Date) -> Date {
    date.saturating_sub(Span::new().days(1))
}

/// A zone by its IANA name, from the database in the binary. Offsets and POSIX rules are no names.
pub fn zone(name: &str) -> Option<TimeZone> {
    if name.len() > 64
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b))
    {
        return None;
    }
    jiff::tz::db().get(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn calendar(name: &str, fasting: Option<(Time, Time)>) -> Calendar {
        let hours = match fasting {
            Some((from, to)) => EatingHours::fasting(from, to),
            None => EatingHours::awake(None, None),
        };
        Calendar::new(zone(name).unwrap(), hours)
    }

    #[test]
    fn a_meal_at_one_in_a_window_of_yesterday_is_yesterdays() {
        let c = calendar("Europe/Berlin", Some((time(2, 0, 0, 0), time(14, 0, 0, 0))));
        let at: Timestamp = "2026-06-10T23:00:00Z".parse().unwrap(); // 01:00 on the 11th
        assert_eq!(c.diary_date(at), date(2026, 6, 10));
        let after: Timestamp = "2026-06-11T00:00:00Z".parse().unwrap(); // 02:00: the window has closed
        assert_eq!(c.diary_date(after), date(2026, 6, 11));
    }

    #[test]
    fn days_of_23_24_and_25_hours_and_a_day_without_midnight() {
        let hours = |name: &str, day| {
            let w = calendar(name, None).diary_day(day);
            w.to.duration_since(w.from).as_hours()
        };
        assert_eq!(hours("Europe/Berlin", date(2026, 3, 29)), 23);
        assert_eq!(hours("Europe/Berlin", date(2026, 6, 1)), 24);
        assert_eq!(hours("Europe/Berlin", date(2026, 10, 25)), 25);
        let cairo = calendar("Africa/Cairo", None);
        assert_eq!(
            cairo.midnight(date(2026, 4, 24)),
            "2026-04-23T22:00:00Z".parse().unwrap()
        );
    }

    #[test]
    fn names_only() {
        assert!(zone("Europe/Berlin").is_some());
        for bad in [
            "+05:00",
            "Mars/Base",
            "",
            "../etc/passwd",
            "EST5EDT4,M3.2.0,M11.1.0",
            "Europe/Berlin\0",
        ] {
            assert!(zone(bad).is_none(), "{bad:?}");
        }
    }
}
