//! The ledger as people ask for it: summed by key, model and day, or by some of these.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::memory::usage::{Day, Row, Used};

/// Days that are shown where nobody says from when.
const DAYS: i32 = 30;

/// What usage is summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By {
    pub key: bool,
    pub model: bool,
    pub day: bool,
}

impl Default for By {
    fn default() -> Self {
        Self {
            key: true,
            model: true,
            day: true,
        }
    }
}

/// `key,model,day`, or some of these.
impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut by = Self {
            key: false,
            model: false,
            day: false,
        };
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match part {
                "key" => by.key = true,
                "model" => by.model = true,
                "day" => by.day = true,
                _ => return Err(format!("`{part}` is none of `key`, `model`, `day`")),
            }
        }
        Ok(by)
    }
}

/// The days from one to another. Left out, it ends today and begins 30 days before its end.
///
/// # Errors
///
/// Says which day is none.
pub fn days(from: Option<&str>, to: Option<&str>) -> Result<(Day, Day), String> {
    let read = |name: &str, text: &str| {
        text.parse::<Day>()
            .map_err(|_| format!("`{name}` is `{text}`; write a day as 2026-11-28"))
    };
    let to = match to {
        Some(to) => read("to", to)?,
        None => Day::of(Timestamp::now()),
    };
    let from = match from {
        Some(from) => read("from", from)?,
        None => to.back(DAYS),
    };
    Ok((from, to))
}

/// A line of a report; what it is not summed by is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    pub requests: u64,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub output_tokens: u64,
    pub usd: f64,
}

/// Sums rows; `of_all` tells tenants apart.
pub fn report(rows: &[Row], by: By, of_all: bool) -> Vec<Line> {
    let mut sums: BTreeMap<[Option<String>; 4], Used> = BTreeMap::new();
    for row in rows {
        let name = [
            by.day.then(|| row.day.to_string()),
            of_all.then(|| row.tenant.clone()),
            by.key.then(|| row.key.clone()),
            by.model.then(|| row.model.clone()),
        ];
        sums.entry(name).or_default().add(row.used);
    }
    let lines = sums
        .into_iter()
        .map(|([day, tenant, key, model], used)| Line {
            tenant,
            key,
            model,
            day,
            requests: used.requests,
            input_tokens: used.input,
            cached_tokens: used.cached,
            output_tokens: used.output,
            usd: dollars(used.micro_usd),
        });
    lines.collect()
}

/// Exact to the millionth for any sum that is ever owed.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn dollars(micro: u64) -> f64 {
    micro as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, model: &str, day: &str, input: u64) -> Row {
        Row {
            tenant: "acme".into(),
            key: key.into(),
            model: model.into(),
            day: day.parse().expect("a day"),
            used: Used {
                requests: 1,
                input,
                cached: 1,
                output: 2,
                micro_usd: 1_500_000,
            },
        }
    }

    #[test]
    fn rows_are_summed_by_what_is_asked_for() {
        let rows = [
            row("a", "m", "2026-11-27", 1),
            row("a", "n", "2026-11-28", 10),
            row("b", "m", "2026-11-28", 100),
        ];
        let lines = report(&rows, "key".parse().expect("known"), false);
        let told: Vec<_> = lines
            .iter()
            .map(|line| (line.key.as_deref(), line.input_tokens))
            .collect();
        assert_eq!(told, [(Some("a"), 11), (Some("b"), 100)]);
        assert_eq!(lines[0].model, None);
        assert!((lines[0].usd - 3.0).abs() < f64::EPSILON);
        assert_eq!(report(&rows, By::default(), true).len(), 3);
        assert_eq!(
            "hour".parse::<By>(),
            Err("`hour` is none of `key`, `model`, `day`".into())
        );
    }

    #[test]
    fn days_that_are_none_are_named() {
        assert!(days(Some("2026-13-01"), None).is_err());
        let (from, to) = days(None, Some("2026-11-28")).expect("days");
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("2026-10-29".into(), "2026-11-28".into())
        );
    }
}
