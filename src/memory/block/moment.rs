//! When something was said, as far as it has to be told.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A moment on somebody's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(Option<DateTime>);

impl Moment {
    /// Of Unix milliseconds.
    pub fn of(unix_ms: i64, zone: &TimeZone) -> Self {
        let at = Timestamp::from_millisecond(unix_ms).ok();
        Self(at.map(|at| at.to_zoned(zone.clone()).datetime()))
    }

    /// The day, with the time where others are of that day, to the second where they are of that
    /// minute; nothing for one that no calendar has.
    pub fn beside(&self, all: &[Self]) -> String {
        let Some(at) = self.0 else {
            return String::new();
        };
        let like = |is_like: fn(DateTime, DateTime) -> bool| {
            let all = all.iter().flat_map(|it| it.0);
            all.filter(|it| is_like(*it, at)).count() > 1
        };
        let form = if !like(|one, other| one.date() == other.date()) {
            "%Y-%m-%d"
        } else if !like(|one, other| minute(one) == minute(other)) {
            "%Y-%m-%d %H:%M"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        at.strftime(form).to_string()
    }
}

fn minute(at: DateTime) -> DateTime {
    at.with()
        .second(0)
        .subsec_nanosecond(0)
        .build()
        .unwrap_or(at)
}
