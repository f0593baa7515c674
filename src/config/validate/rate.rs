//! `auth.keys.rate` and `auth.keys.burst`.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::check::Check;
use crate::config::model::Rate;
use crate::config::raw;

/// Requests of one unit of time at most: finer periods are not told apart.
const MOST: u32 = 1_000_000;
const MOST_BURST: u64 = 1_000_000;

pub(super) fn rate(index: usize, raw: &raw::Key, check: &mut Check<'_>) -> Option<Rate> {
    let key = format!("auth.keys.{index}.burst");
    let burst = check.number(&key, raw.burst, 1..=MOST_BURST);
    let text = raw.rate.as_ref()?;
    let period = period(text);
    if period.is_none() {
        check.fault(
            &format!("auth.keys.{index}.rate"),
            format!("is {text:?}, not a rate"),
            format!("write 1 to {MOST} requests a second, minute or hour, such as \"10/s\", \"600/m\" or \"1000/h\""),
        );
    }
    Some(Rate {
        period: period?,
        burst: NonZeroU32::new(burst)?,
    })
}

/// The time between two requests at a steady rate such as `600/m`.
fn period(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_once('/')?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let count: u32 = count.trim().parse().ok()?;
    (1..=MOST)
        .contains(&count)
        .then(|| Duration::from_secs(seconds) / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_three_units() {
        assert_eq!(period("10/s"), Some(Duration::from_millis(100)));
        assert_eq!(period("600 / m"), Some(Duration::from_millis(100)));
        assert_eq!(period("1/h"), Some(Duration::from_secs(3600)));
        assert_eq!(period("1000000/s"), Some(Duration::from_micros(1)));
        for wrong in [
            "",
            "10",
            "0/s",
            "-1/s",
            "1.5/s",
            "1000001/s",
            "10/d",
            "/s",
            "s/10",
        ] {
            assert_eq!(period(wrong), None, "{wrong:?}");
        }
    }
}
