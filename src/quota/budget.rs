//! Budgets: so many tokens, or so many dollars, in a calendar window of UTC.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::model::{Allowance, Budget, Period};

/// What a budget is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Tokens,
    /// Millionths of a dollar.
    MicroUsd,
}

impl Unit {
    /// As the scripts of the shared store name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::MicroUsd => "usd",
        }
    }
}

/// A budget as whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub unit: Unit,
    pub amount: u64,
    pub per: Period,
}

impl From<&Budget> for Limit {
    fn from(budget: &Budget) -> Self {
        let (unit, amount) = match budget.allowance {
            Allowance::Tokens(tokens) => (Unit::Tokens, tokens.get()),
            Allowance::Usd(usd) => (Unit::MicroUsd, micro_usd(usd)),
        };
        Self {
            unit,
            amount,
            per: budget.per,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "validation lets only dollars above 0 through, and one that is too large is the largest"
)]
fn micro_usd(usd: f64) -> u64 {
    (usd * 1e6).round() as u64
}

/// What a request costs, or is thought to cost. Dollars are counted in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    pub tokens: u64,
    pub micro_usd: u64,
}

impl Cost {
    /// The amount that counts against budgets of `unit`.
    pub fn of(self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::MicroUsd => self.micro_usd,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micro_usd: self.micro_usd.saturating_add(other.micro_usd),
        }
    }

    /// What is left when `other` is taken away.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            micro_usd: self.micro_usd.saturating_sub(other.micro_usd),
        }
    }
}

/// The window of a period that a moment lies in, as one number that never comes again: minutes,
/// hours or days since 1970, or months since the year 0.
pub fn window(period: Period, now: Timestamp) -> u64 {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    match period {
        Period::Minute => seconds / 60,
        Period::Hour => seconds / 3_600,
        Period::Day => seconds / 86_400,
        Period::Month => {
            let date = now.to_zoned(TimeZone::UTC).date();
            let (year, month) = (i64::from(date.year()), i64::from(date.month()));
            u64::try_from(year * 12 + month - 1).unwrap_or(0)
        }
    }
}

/// When the window that `now` lies in ends, and all of a budget is there again.
pub fn window_end(period: Period, now: Timestamp) -> Timestamp {
    let fixed = |length: i64| {
        let end = (now.as_second().div_euclid(length) + 1) * length;
        Timestamp::from_second(end).ok()
    };
    let end = match period {
        Period::Minute => fixed(60),
        Period::Hour => fixed(3_600),
        Period::Day => fixed(86_400),
        Period::Month => month_end(now).ok(),
    };
    // Only the last moment that a timestamp can hold has no window after it.
    end.unwrap_or(now)
}

fn month_end(now: Timestamp) -> Result<Timestamp, jiff::Error> {
    let first = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let next = first.checked_add(1.month())?;
    Ok(next.to_zoned(TimeZone::UTC)?.timestamp())
}

/// In words, such as `2000000 tokens a day`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, amount, per } = *self;
        match unit {
            Unit::Tokens => write!(f, "{amount} tokens")?,
            Unit::MicroUsd => {
                let (dollars, cents) = (amount / 1_000_000, amount % 1_000_000 / 10_000);
                write!(f, "${dollars}.{cents:02}")?;
            }
        }
        write!(f, " a {}", name(per))
    }
}

/// As people and the scripts of the shared store name a period.
pub const fn name(period: Period) -> &'static str {
    match period {
        Period::Minute => "minute",
        Period::Hour => "hour",
        Period::Day => "day",
        Period::Month => "month",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn windows_are_those_of_the_calendar_in_utc() {
        let now = at("2026-02-28T23:59:30Z");
        let ends = [
            (Period::Minute, "2026-03-01T00:00:00Z"),
            (Period::Hour, "2026-03-01T00:00:00Z"),
            (Period::Day, "2026-03-01T00:00:00Z"),
            (Period::Month, "2026-03-01T00:00:00Z"),
        ];
        for (period, end) in ends {
            assert_eq!(window_end(period, now), at(end), "{period:?}");
            assert_eq!(
                window(period, at(end)),
                window(period, now) + 1,
                "{period:?}"
            );
        }
        assert_eq!(
            window_end(Period::Month, at("2026-12-31T00:00:00Z")),
            at("2027-01-01T00:00:00Z")
        );
        assert_eq!(
            window(Period::Month, at("2027-01-01T00:00:00Z")),
            window(Period::Month, at("2026-12-31T23:59:59Z")) + 1
        );
    }
}
