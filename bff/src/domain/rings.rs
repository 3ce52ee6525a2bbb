//! The two rings and the words beside them, at an instant.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::day::{Calendar, Window, next, previous};

/// What the rings are computed from. It stays true until `until`; the rings age with the clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingInputs {
    /// Eating window that began yesterday, local date.
    yesterday: Span,
    today: Span,
    tomorrow: Span,
    fasting: bool,
    /// Next local midnight or end of the diary day, whichever comes first; microseconds.
    until: i64,
}

/// A window in microseconds, with the wall time at which it opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Span {
    from: i64,
    to: i64,
    opens: String,
}

/// Percent of the eating day that has passed, and of the calories that have been eaten.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Rings {
    pub outer_percent: f64,
    /// Null without a target. At most 999.
    #[schema(required)]
    pub inner_percent: Option<f64>,
}

/// The rings and what to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    pub rings: Rings,
    pub status_msg: String,
    pub fasting_active: bool,
}

/// Points between the rings that count as level.
const LEVEL: f64 = 15.0;

impl RingInputs {
    pub fn at(calendar: &Calendar, now: Timestamp) -> Self {
        let date = calendar.local_date(now);
        let span = |w: Window| {
            let opens = calendar.wall_time(w.from);
            Span {
                from: w.from.as_microsecond(),
                to: w.to.as_microsecond(),
                opens: format!("{:02}:{:02}", opens.hour(), opens.minute()),
            }
        };
        let midnight = calendar.midnight(next(date));
        let day_ends = calendar.diary_day(calendar.diary_date(now)).to;
        Self {
            yesterday: span(calendar.window(previous(date))),
            today: span(calendar.window(date)),
            tomorrow: span(calendar.window(next(date))),
            fasting: calendar.hours.fasting,
            until: midnight.min(day_ends).as_microsecond(),
        }
    }

    /// From here on these inputs say nothing.
    pub fn until(&self) -> Timestamp {
        Timestamp::from_microsecond(self.until).unwrap_or(Timestamp::MIN)
    }

    /// Percent of the window passed, and whether fasting is on.
    pub fn outer(&self, now: Timestamp) -> (f64, bool) {
        let now = now.as_microsecond();
        for w in [&self.yesterday, &self.today] {
            if w.from <= now && now < w.to {
                let passed = 100.0 * (now - w.from) as f64 / (w.to - w.from) as f64;
                return (one_decimal(passed), false);
            }
        }
        let over = now >= self.today.to;
        (if over { 100.0 } else { 0.0 }, self.fasting)
    }

    pub fn face(&self, now: Timestamp, eaten_kcal: i64, target_kcal: Option<i32>) -> Face {
        let (outer, fasting_active) = self.outer(now);
        let inner = target_kcal
            .filter(|t| *t > 0)
            .map(|t| one_decimal((100.0 * eaten_kcal as f64 / f64::from(t)).clamp(0.0, 999.0)));
        let status_msg = if fasting_active {
            let t = now.as_microsecond();
            let upcoming = if t < self.today.from {
                &self.today
            } else {
                &self.tomorrow
            };
            format!("Fasting - next window at {}", upcoming.opens)
        } else {
            match inner {
                None => "Tell more about yourself to get a target.",
                Some(inner) if inner < outer - LEVEL => "Fuel Up - You are behind schedule.",
                Some(inner) if inner > outer + LEVEL => "Slow Down - You are ahead of schedule.",
                Some(_) => "On Track",
            }
            .to_owned()
        };
        Face {
            rings: Rings {
                outer_percent: outer,
                inner_percent: inner,
            },
            status_msg,
            fasting_active,
        }
    }
}

fn one_decimal(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::day::{EatingHours, zone};
    use jiff::civil::{Time, time};

    fn calendar(name: &str, hours: EatingHours) -> Calendar {
        Calendar::new(zone(name).unwrap(), hours)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hm(text: &str) -> Time {
        let (h, m) = text.split_once(':').unwrap();
        time(h.parse().unwrap(), m.parse().unwrap(), 0, 0)
    }

    /// zone, instant, fasting or awake hours, outer, fasting_active
    const ROWS: [(&str, &str, &str, &str, bool, f64, bool); 13] = [
        (
            "Europe/Berlin",
            "2026-06-10T11:00Z",
            "07:00",
            "23:00",
            false,
            37.5,
            false,
        ),
        (
            "Europe/Berlin",
            "2026-06-10T14:00Z",
            "20:00",
            "12:00",
            true,
            50.0,
            false,
        ),
        (
            "Europe/Berlin",
            "2026-06-10T10:00Z",
            "20:00",
            "12:00",
            true,
            0.0,
            false,
        ),
        (
            "Europe/Berlin",
            "2026-06-10T18:00Z",
            "20:00",
            "12:00",
            true,
            100.0,
            true,
        ),
        (
            "Europe/Berlin",
            "2026-06-11T01:00Z",
            "20:00",
            "12:00",
            true,
            0.0,
            true,
        ),
        (
            "America/New_York",
            "2026-03-08T06:45Z",
            "02:30",
            "18:00",
            true,
            91.2,
            false,
        ),
        (
            "Europe/Berlin",
            "2026-10-25T00:15Z",
            "02:30",
            "18:00",
            true,
            97.1,
            false,
        ),
        (
            "Europe/Berlin",
            "2026-10-25T01:15Z",
            "02:30",
            "18:00",
            true,
            0.0,
            true,
        ),
        (
            "America/Los_Angeles",
            "2026-05-02T03:00Z",
            "19:00",
            "11:00",
            true,
            100.0,
            true,
        ),
        (
            "Asia/Tokyo",
            "2026-05-02T03:00Z",
            "19:00",
            "11:00",
            true,
            12.5,
            false,
        ),
        (
            "Africa/Cairo",
            "2026-04-23T22:15Z",
            "00:30",
            "16:00",
            true,
            97.1,
            false,
        ),
        (
            "Asia/Kathmandu",
            "2026-01-15T20:30Z",
            "14:00",
            "06:00",
            false,
            76.6,
            false,
        ),
        (
            "Australia/Lord_Howe",
            "2026-04-04T15:15Z",
            "02:00",
            "18:00",
            true,
            97.1,
            false,
        ),
    ];

    #[test]
    fn worked_rows() {
        for (name, now, a, b, fasting, outer, active) in ROWS {
            let hours = if fasting {
                EatingHours::fasting(hm(a), hm(b))
            } else {
                EatingHours {
                    start: hm(a),
                    end: hm(b),
                    fasting: false,
                }
            };
            let c = calendar(name, hours);
            let now = at(now);
            assert_eq!(
                RingInputs::at(&c, now).outer(now),
                (outer, active),
                "{name} {now}"
            );
        }
    }

    #[test]
    fn words() {
        let c = calendar("Europe/Berlin", EatingHours::fasting(hm("20:00"), hm("12:00")));
        let now = at("2026-06-10T14:00Z");
        let say = |kcal, target| RingInputs::at(&c, now).face(now, kcal, target).status_msg;
        assert_eq!(say(349, Some(1000)), "Fuel Up - You are behind schedule.");
        assert_eq!(say(350, Some(1000)), "On Track");
        assert_eq!(say(650, Some(1000)), "On Track");
        assert_eq!(say(651, Some(1000)), "Slow Down - You are ahead of schedule.");
        assert_eq!(say(651, None), "Tell more about yourself to get a target.");
        let night = at("2026-06-10T19:00Z");
        let face = RingInputs::at(&c, night).face(night, 0, Some(1000));
        assert_eq!(face.status_msg, "Fasting - next window at 12:00");
        let huge = RingInputs::at(&c, now).face(now, 1_000_000, Some(1));
        assert_eq!(huge.rings.inner_percent, Some(999.0));
    }

    #[test]
    fn the_announced_window_opens_when_it_says() {
        // 02:30 does not exist that night: the window opens at 03:30.
        let c = calendar("Europe/Berlin", EatingHours::fasting(hm("18:00"), hm("02:30")));
        let now = at("2026-03-29T00:00Z");
        let face = RingInputs::at(&c, now).face(now, 0, None);
        assert_eq!(face.status_msg, "Fasting - next window at 03:30");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]
        #[test]
        fn bounds_and_steps(
            zone_index in 0usize..600,
            minute in 0i64..(40 * 366 * 24 * 60),
            start in 0i64..1440,
            length in 1i64..1440,
            fasting: bool,
        ) {
            let names: Vec<_> = jiff::tz::db().available().collect();
            let name = names[zone_index % names.len()].as_str().to_owned();
            let wall = |m: i64| time((m / 60 % 24) as i8, (m % 60) as i8, 0, 0);
            let hours = EatingHours { start: wall(start), end: wall(start + length), fasting };
            let c = Calendar::new(jiff::tz::db().get(&name).unwrap(), hours);
            let begin = Timestamp::from_second(946_684_800).unwrap();
            let now = begin + jiff::SignedDuration::from_mins(minute);
            let inputs = RingInputs::at(&c, now);
            let (outer, active) = inputs.outer(now);
            proptest::prop_assert!((0.0..=100.0).contains(&outer));
            proptest::prop_assert!(!(active && outer > 0.0 && outer < 100.0));
            proptest::prop_assert!(inputs.until() > now);
            // Inputs that are kept say the same as inputs made anew, for as long as they hold.
            let later = now + jiff::SignedDuration::from_mins(7);
            if later < inputs.until() {
                proptest::prop_assert_eq!(inputs.outer(later), RingInputs::at(&c, later).outer(later));
                let open = [&inputs.yesterday, &inputs.today].iter().any(|w| {
                    w.from <= now.as_microsecond() && later.as_microsecond() < w.to
                });
                if open {
                    proptest::prop_assert!(inputs.outer(later).0 >= outer);
                }
            }
            // Every instant is in exactly one diary day.
            let day = c.diary_date(now);
            proptest::prop_assert!(c.diary_day(day).contains(now));
            proptest::prop_assert_eq!(c.diary_day(day).to, c.diary_day(crate::domain::day::next(day)).from);
        }
    }
}
