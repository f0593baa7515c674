//! Times that a question names, and which documents are of them. Days are the asker's.

use std::ops::Range;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::dates::PartialDate;
use super::{Doc, Index};

/// Whose clock it is, and what it says.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Unix milliseconds.
    pub now: i64,
    pub zone: TimeZone,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            now: 0,
            zone: TimeZone::UTC,
        }
    }
}

/// A time as it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Date(PartialDate),
    /// So many days before today.
    DaysAgo(i32),
    /// So many weeks, months and years before this one.
    WeeksAgo(i32),
    MonthsAgo(i32),
    YearsAgo(i32),
    /// The last one of this name, from Monday as 0.
    Weekday(i8),
    /// What was said last, whenever that was.
    Latest,
}

/// Documents that count as the latest.
const LATEST: usize = 24;

/// Weight of a day that a question names. A month weighs as much as a word: what is told of it is
/// often told later.
const DAY: f32 = 2.5;
const WEEK: f32 = 2.0;
const MONTH: f32 = 1.0;
/// Today is named for much that has nothing to do with what was said today, and so is the latest.
const TODAY: f32 = 1.0;
const LAST: f32 = 0.3;

impl Named {
    pub fn weight(self) -> f32 {
        match self {
            Self::Date(PartialDate { day: Some(_), .. }) | Self::Weekday(_) => DAY,
            Self::DaysAgo(0) => TODAY,
            Self::DaysAgo(_) => DAY,
            Self::WeeksAgo(_) => WEEK,
            Self::Date(_) | Self::MonthsAgo(_) | Self::YearsAgo(_) => MONTH,
            Self::Latest => LAST,
        }
    }
}

/// Spans of Unix milliseconds that a question names, and what that weighs.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    spans: Vec<Range<i64>>,
    pub weight: f32,
}

impl Times {
    pub fn new(span: Range<i64>, weight: f32) -> Self {
        let spans = vec![span];
        Self { spans, weight }
    }

    pub fn has(&self, at: i64) -> bool {
        self.spans.iter().any(|span| span.contains(&at))
    }
}

impl Clock {
    fn date(&self, at: i64) -> Date {
        let at = Timestamp::from_millisecond(at).unwrap_or_default();
        at.to_zoned(self.zone.clone()).date()
    }

    /// Today as a number and the zone's name: relative times hold for these.
    pub fn day(&self) -> (i64, &str) {
        let zone = self.zone.iana_name().unwrap_or("UTC");
        (self.day_of(self.now).start, zone)
    }

    /// The day that a moment is of.
    pub fn day_of(&self, at: i64) -> Range<i64> {
        let date = self.date(at);
        self.days(date, date)
    }

    /// From the beginning of one day to the end of another.
    fn days(&self, first: Date, last: Date) -> Range<i64> {
        let start = |date: Date| {
            let zoned = date.to_zoned(self.zone.clone());
            zoned.map_or(i64::MAX, |it| it.timestamp().as_millisecond())
        };
        start(first)..last.tomorrow().map_or(i64::MAX, start)
    }
}

impl Index {
    /// The times that are named, as far as a document may be of them.
    pub(super) fn times(&self, named: &[Named], clock: &Clock) -> Vec<Times> {
        let times = named.iter().map(|named| Times {
            spans: self.spans(*named, clock),
            weight: named.weight(),
        });
        times.filter(|times| !times.spans.is_empty()).collect()
    }

    fn spans(&self, named: Named, clock: &Clock) -> Vec<Range<i64>> {
        let today = clock.date(clock.now);
        let month = |first: Date| clock.days(first.first_of_month(), first.last_of_month());
        match named {
            Named::Date(date) => self.dated(date, clock),
            Named::DaysAgo(days) => {
                let day = today.saturating_sub(days.days());
                vec![clock.days(day, day)]
            }
            Named::WeeksAgo(weeks) => {
                let monday = today.weekday().to_monday_zero_offset();
                let monday = today.saturating_sub((i32::from(monday) + 7 * weeks).days());
                vec![clock.days(monday, monday.saturating_add(6.days()))]
            }
            Named::MonthsAgo(months) => {
                let first = today.first_of_month().saturating_sub(months.months());
                vec![month(first)]
            }
            Named::YearsAgo(years) => {
                let day = today.saturating_sub(years.years());
                vec![clock.days(day.first_of_year(), day.last_of_year())]
            }
            Named::Weekday(named) => {
                let named = Weekday::from_monday_zero_offset(named).unwrap_or(Weekday::Monday);
                let day = today.nth_weekday(-1, named).unwrap_or(today);
                vec![clock.days(day, day)]
            }
            Named::Latest => {
                let from = self.docs.len().saturating_sub(LATEST);
                let from = self.docs.get(from).map(|doc| doc.at);
                from.map(|at| at..i64::MAX).into_iter().collect()
            }
        }
    }

    /// Where no year is named it may be any that there is something of.
    fn dated(&self, date: PartialDate, clock: &Clock) -> Vec<Range<i64>> {
        let year = |doc: Option<&Doc>| doc.map_or(0, |doc| clock.date(doc.at).year());
        let years = match date.year {
            Some(year) => year as i16..=year as i16,
            None => year(self.docs.first())..=year(self.docs.last()),
        };
        let days = years.filter_map(|year| {
            let month = date.month.map_or(1, |month| month as i8);
            let day = date.day.map_or(1, |day| day as i8);
            let first = Date::new(year, month, day).ok()?;
            let last = match (date.month, date.day) {
                (_, Some(_)) => first,
                (Some(_), None) => first.last_of_month(),
                (None, None) => first.last_of_year(),
            };
            Some(clock.days(first, last))
        });
        days.collect()
    }

    /// The documents of these times, by rising number.
    pub(super) fn during<'a>(&'a self, times: &'a Times) -> impl Iterator<Item = u32> + 'a {
        times.spans.iter().flat_map(|span| {
            let begin = self.docs.partition_point(|doc| doc.at < span.start);
            let end = self.docs.partition_point(|doc| doc.at < span.end);
            begin as u32..end.max(begin) as u32
        })
    }
}
