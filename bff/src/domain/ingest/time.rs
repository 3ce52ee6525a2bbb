//! Times as exporters write them. Microseconds since 1970.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, fmt::strtime};

use super::Refusal;

/// RFC 3339; the offset is needed.
///
/// # Errors
/// `bad_time`.
pub fn rfc3339(text: &str) -> Result<i64, Refusal> {
    if text.len() > 40 {
        return Err(Refusal::BadTime);
    }
    text.parse::<Timestamp>()
        .map(Timestamp::as_microsecond)
        .map_err(|_| Refusal::BadTime)
}

/// RFC 3339, or a local time with an offset that stands beside it.
///
/// # Errors
/// `bad_time`.
pub fn with_offset(text: &str, offset: Option<&str>) -> Result<i64, Refusal> {
    if let Ok(at) = rfc3339(text) {
        return Ok(at);
    }
    if text.len() > 40 {
        return Err(Refusal::BadTime);
    }
    let local: DateTime = text.parse().map_err(|_| Refusal::BadTime)?;
    let zone = offset.and_then(fixed).ok_or(Refusal::BadTime)?;
    local_instant(&zone, local)
}

/// `2026-11-29 08:45:00 +0100`, as Health Auto Export writes it; RFC 3339 is taken too.
///
/// # Errors
/// `bad_time`.
pub fn health_auto_export(text: &str) -> Result<i64, Refusal> {
    if text.len() > 40 {
        return Err(Refusal::BadTime);
    }
    match strtime::parse("%Y-%m-%d %H:%M:%S %z", text).and_then(|t| t.to_timestamp()) {
        Ok(at) => Ok(at.as_microsecond()),
        Err(_) => rfc3339(text),
    }
}

/// A zone by an offset such as `+05:30`, `-0800` or `Z`.
pub fn fixed(offset: &str) -> Option<TimeZone> {
    if offset.eq_ignore_ascii_case("z") {
        return Some(TimeZone::UTC);
    }
    let (sign, rest) = match offset.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    if !(digits.len() == 4 || digits.len() == 6) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits.get(range).and_then(|d| d.parse::<i32>().ok());
    let seconds = part(0..2)? * 3600 + part(2..4)? * 60 + part(4..6).unwrap_or(0);
    minutes_or_seconds(sign * seconds)
}

/// A zone by minutes east of UTC.
pub fn fixed_minutes(minutes: i32) -> Option<TimeZone> {
    minutes_or_seconds(minutes.checked_mul(60)?)
}

fn minutes_or_seconds(seconds: i32) -> Option<TimeZone> {
    // No place is further off than 14 hours.
    if seconds.abs() > 14 * 3600 {
        return None;
    }
    Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}

/// A wall time in a zone.
///
/// # Errors
/// `bad_time`.
pub fn local_instant(zone: &TimeZone, local: DateTime) -> Result<i64, Refusal> {
    zone.to_ambiguous_timestamp(local)
        .compatible()
        .map(Timestamp::as_microsecond)
        .map_err(|_| Refusal::BadTime)
}

/// Where a value that is told of a whole day stands: four in the morning, which is past when the day is first synced.
///
/// # Errors
/// `bad_time`.
pub fn of_day(zone: &TimeZone, date: Date) -> Result<i64, Refusal> {
    local_instant(zone, date.at(4, 0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_written() {
        let want = rfc3339("2026-11-29T07:45:00Z").unwrap();
        assert_eq!(rfc3339("2026-11-29T08:45:00+01:00"), Ok(want));
        assert_eq!(health_auto_export("2026-11-29 08:45:00 +0100"), Ok(want));
        assert_eq!(with_offset("2026-11-29T13:15:00", Some("+05:30")), Ok(want));
        assert_eq!(with_offset("2026-11-29T07:45:00Z", None), Ok(want));
        for bad in [
            "infinity",
            "NaN",
            "",
            "2026-11-29T08:45:00",
            "2026-13-01T00:00:00Z",
            "20261129",
            "now",
        ] {
            assert_eq!(rfc3339(bad), Err(Refusal::BadTime), "{bad}");
            assert_eq!(with_offset(bad, None), Err(Refusal::BadTime), "{bad}");
        }
        for bad in [
            "",
            "+",
            "+1",
            "+25:00",
            "05:30",
            "+aa:bb",
            "+é0:00",
            "+00:00:00:00",
        ] {
            assert!(fixed(bad).is_none(), "{bad}");
        }
        assert!(fixed("+05:45").is_some() && fixed("-0800").is_some() && fixed("Z").is_some());
    }
}
