//! Points in time as people and programs write them.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use serde::de::{Deserializer, Error, Visitor};

/// What is said of one that cannot be read.
const FORMS: &str = "a time such as 2026-05-05T07:00:00Z, or Unix seconds or milliseconds";

/// Reads a time: RFC 3339, RFC 2822, a date, a date and a time of day (both in UTC), or Unix
/// seconds, milliseconds, microseconds or nanoseconds, as a number or as text. `null` is none.
///
/// # Errors
///
/// For anything else, and for times beyond the year 9999.
pub fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Timestamp>, D::Error> {
    reader.deserialize_any(Reader)
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Option<Timestamp>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let found = of_text(text.trim());
        found
            .map(Some)
            .ok_or_else(|| unreadable(format_args!("\"{text}\"")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let found = of_number(i128::from(number));
        found
            .map(Some)
            .ok_or_else(|| unreadable(format_args!("{number}")))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let found = of_number(i128::from(number));
        found
            .map(Some)
            .ok_or_else(|| unreadable(format_args!("{number}")))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        let found = of_fraction(number);
        found
            .map(Some)
            .ok_or_else(|| unreadable(format_args!("{number}")))
    }
}

fn unreadable<E: Error>(what: fmt::Arguments<'_>) -> E {
    E::custom(format_args!(
        "{what} is no time that can be read: give {FORMS}"
    ))
}

fn of_text(text: &str) -> Option<Timestamp> {
    let in_utc = |time: DateTime| time.to_zoned(TimeZone::UTC).ok().map(|it| it.timestamp());
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    // Digits alone are a number, unless they are a day such as 20260505.
    let is_number = text.len() != 8 && text.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    if is_number || text.starts_with('-') {
        let whole = text.parse().ok().and_then(of_number);
        return whole.or_else(|| of_fraction(text.parse().ok()?));
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return in_utc(time);
    }
    if let Ok(day) = text.parse::<Date>() {
        return in_utc(day.into());
    }
    rfc2822::parse(text).ok().map(|it| it.timestamp())
}

/// By its size: Unix seconds reach 10^11 in the year 5138, and milliseconds began that large in
/// 1973.
fn of_number(number: i128) -> Option<Timestamp> {
    const MILLISECONDS: u128 = 100_000_000_000;
    const MICROSECONDS: u128 = 1000 * MILLISECONDS;
    const NANOSECONDS: u128 = 1000 * MICROSECONDS;
    let nanoseconds = match number.unsigned_abs() {
        0..MILLISECONDS => number.checked_mul(1_000_000_000),
        MILLISECONDS..MICROSECONDS => number.checked_mul(1_000_000),
        MICROSECONDS..NANOSECONDS => number.checked_mul(1000),
        _ => Some(number),
    };
    Timestamp::from_nanosecond(nanoseconds?).ok()
}

fn of_fraction(number: f64) -> Option<Timestamp> {
    if !number.is_finite() {
        return None;
    }
    let whole = of_number(number.trunc() as i128)?;
    // Of milliseconds, a fraction is finer than what is kept.
    let is_seconds = number.abs() < 1e11;
    let nanoseconds = if is_seconds {
        number.fract() * 1e9
    } else {
        0.0
    };
    let fraction = jiff::SignedDuration::from_nanos(nanoseconds as i64);
    whole
        .checked_add(fraction)
        .ok()?
        .round(Unit::Microsecond)
        .ok()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Line {
        #[serde(default, deserialize_with = "super::deserialize")]
        at: Option<jiff::Timestamp>,
    }

    fn read(value: &str) -> Result<Option<String>, String> {
        let line: Result<Line, _> = serde_json::from_str(&format!("{{\"at\":{value}}}"));
        let at = line.map_err(|error| error.to_string())?.at;
        Ok(at.map(|at| at.to_string()))
    }

    #[test]
    fn times_are_read_as_people_and_programs_write_them() {
        let seven = "2026-05-05T07:00:00Z";
        for same in [
            r#""2026-05-05T07:00:00Z""#,
            r#""2026-05-05T09:00:00+02:00""#,
            r#""2026-05-05t07:00:00z""#,
            r#""2026-05-05 07:00:00Z""#,
            r#""2026-05-05T07:00:00""#,
            r#""2026-05-05 07:00:00""#,
            r#""2026-05-05T07:00""#,
            r#"" 2026-05-05T07:00:00.000 ""#,
            r#""20260505T070000Z""#,
            r#""2026-05-05T03:00:00-04:00[America/New_York]""#,
            r#""Tue, 05 May 2026 07:00:00 +0000""#,
            "1777964400",
            "1777964400.0",
            "1777964400000",
            "1777964400000000",
            "1777964400000000000",
            r#""1777964400""#,
            r#""1777964400000""#,
            r#""1777964400.0""#,
        ] {
            assert_eq!(read(same).unwrap().as_deref(), Some(seven), "{same}");
        }
        for (value, at) in [
            (r#""2026-05-05""#, "2026-05-05T00:00:00Z"),
            (r#""20260505""#, "2026-05-05T00:00:00Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("-86400", "1969-12-31T00:00:00Z"),
            ("1777964400.25", "2026-05-05T07:00:00.25Z"),
            ("-0.5", "1969-12-31T23:59:59.5Z"),
            ("1777964400123", "2026-05-05T07:00:00.123Z"),
            (
                r#""2026-05-05T07:00:00.123456""#,
                "2026-05-05T07:00:00.123456Z",
            ),
        ] {
            assert_eq!(read(value).unwrap().as_deref(), Some(at), "{value}");
        }
        assert_eq!(read("null"), Ok(None));
    }

    #[test]
    fn what_is_no_time_is_named_with_what_would_be() {
        for value in [
            r#""yesterday""#,
            r#""""#,
            r#""2026-13-05""#,
            r#""05/05/2026""#,
            r#""-""#,
            r#"".""#,
            "true",
            "[2026,5,5]",
            "{}",
            "1e300",
            "99999999999999999999999999",
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains("2026-05-05T07:00:00Z"), "{value}: {error}");
        }
    }
}
