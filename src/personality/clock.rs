//! The time as a card's macros ask for it: in the formats of moment.js, which front ends use, with
//! its English names.

use jiff::Zoned;
use jiff::tz::Offset;

/// A moment that a card asks for, told when the request comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clock {
    /// In the tokens of moment.js, such as `YYYY-MM-DD`.
    pub(super) format: String,
    /// Hours from UTC, where the card says so; else the clock is the user's.
    pub(super) hours: Option<i8>,
}

impl Clock {
    pub(super) fn new(format: &str) -> Self {
        Self {
            format: format.to_owned(),
            hours: None,
        }
    }

    /// `UTC+2` and the like; the user's own time for anything else.
    pub(super) fn at(format: &str, zone: &str) -> Self {
        let hours = zone.trim().to_ascii_lowercase();
        let hours = hours
            .strip_prefix("utc")
            .and_then(|hours| hours.parse().ok());
        Self {
            hours: hours.filter(|hours| (-12..=14).contains(hours)),
            ..Self::new(format)
        }
    }

    pub(super) fn tell(&self, now: &Zoned) -> String {
        let there = self
            .hours
            .map(|hours| now.with_time_zone(Offset::constant(hours).to_time_zone()));
        tell(&self.format, there.as_ref().unwrap_or(now))
    }
}

/// The tokens that stand for others.
const LONG: [(&str, &str); 6] = [
    ("LTS", "h:mm:ss A"),
    ("LT", "h:mm A"),
    ("LLLL", "dddd, MMMM D, YYYY h:mm A"),
    ("LLL", "MMMM D, YYYY h:mm A"),
    ("LL", "MMMM D, YYYY"),
    ("L", "MM/DD/YYYY"),
];

/// The others, the longer before what it begins with, as the patterns of jiff.
const TOKENS: [(&str, &str); 26] = [
    ("YYYY", "%Y"),
    ("YY", "%y"),
    ("MMMM", "%B"),
    ("MMM", "%b"),
    ("MM", "%m"),
    ("M", "%-m"),
    ("DDDD", "%j"),
    ("DDD", "%-j"),
    ("DD", "%d"),
    ("D", "%-d"),
    ("dddd", "%A"),
    ("ddd", "%a"),
    ("d", "%w"),
    ("HH", "%H"),
    ("H", "%-H"),
    ("hh", "%I"),
    ("h", "%-I"),
    ("mm", "%M"),
    ("m", "%-M"),
    ("ss", "%S"),
    ("s", "%-S"),
    ("A", "%p"),
    ("a", "%P"),
    ("ZZ", "%z"),
    ("Z", "%:z"),
    ("X", "%s"),
];

fn tell(format: &str, now: &Zoned) -> String {
    let mut told = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        // What stands in brackets is itself.
        if let Some((literal, after)) = rest
            .strip_prefix('[')
            .and_then(|literal| literal.split_once(']'))
        {
            told.push_str(literal);
            rest = after;
        } else if let Some((token, long)) = LONG.iter().find(|(token, _)| rest.starts_with(token)) {
            told.push_str(&tell(long, now));
            rest = &rest[token.len()..];
        } else if let Some(after) = rest.strip_prefix("Do") {
            told.push_str(&ordinal(now.day()));
            rest = after;
        } else if let Some((token, pattern)) =
            TOKENS.iter().find(|(token, _)| rest.starts_with(token))
        {
            told.push_str(&now.strftime(pattern).to_string());
            rest = &rest[token.len()..];
        } else {
            told.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    told
}

fn ordinal(day: i8) -> String {
    let ending = match (day % 10, day / 10) {
        (1, tens) if tens != 1 => "st",
        (2, tens) if tens != 1 => "nd",
        (3, tens) if tens != 1 => "rd",
        _ => "th",
    };
    format!("{day}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_as_the_format_says() {
        let now: Zoned = "2026-11-03T20:05:09[Asia/Shanghai]".parse().unwrap();
        for (format, said) in [
            ("LT", "8:05 PM"),
            ("LL", "November 3, 2026"),
            ("L", "11/03/2026"),
            ("LLLL", "Tuesday, November 3, 2026 8:05 PM"),
            ("dddd", "Tuesday"),
            ("HH:mm", "20:05"),
            ("YYYY-MM-DD HH:mm:ss Z", "2026-11-03 20:05:09 +08:00"),
            ("Do [of] MMM, h a", "3rd of Nov, 8 pm"),
            ("YYYY年M月D日", "2026年11月3日"),
        ] {
            assert_eq!(Clock::new(format).tell(&now), said, "{format}");
        }
        assert_eq!(Clock::at("HH:mm", "UTC-3").tell(&now), "09:05");
        assert_eq!(Clock::at("HH:mm", "UTC+99").tell(&now), "20:05");
        assert_eq!(Clock::at("HH:mm", "here").tell(&now), "20:05");
        assert_eq!(
            ["1st", "11th", "22nd"],
            [1, 11, 22].map(ordinal).each_ref().map(|s| s.as_str())
        );
    }
}
