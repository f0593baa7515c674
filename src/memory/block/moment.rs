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

    /// The day, with the time where others are of that day and another time, to the second where they
    /// are of that minute; nothing for one that no calendar has.
    pub fn beside(&self, all: &[Self]) -> String {
        let Some(at) = self.0 else {
            return String::new();
        };
        let others = all.iter().flat_map(|it| it.0);
        let others = others.filter(|it| it.date() == at.date() && second(*it) != second(at));
        let (mut is_of_day, mut is_of_minute) = (false, false);
        for other in others {
            is_of_day = true;
            is_of_minute |= minute(other) == minute(at);
        }
        let form = match (is_of_day, is_of_minute) {
            (false, _) => "%Y-%m-%d",
            (true, false) => "%Y-%m-%d %H:%M",
            (true, true) => "%Y-%m-%d %H:%M:%S",
        };
        at.strftime(form).to_string()
    }
}

fn minute(at: DateTime) -> (i8, i8) {
    (at.hour(), at.minute())
}

fn second(at: DateTime) -> (i8, i8, i8) {
    (at.hour(), at.minute(), at.second())
}
