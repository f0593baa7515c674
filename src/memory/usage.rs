//! What keys used: rows of the ledger, which lies in the store beside what is remembered.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz::TimeZone};

use super::{Memory, StoreError};

/// A day of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(Date);

impl Day {
    pub fn of(at: Timestamp) -> Self {
        Self(at.to_zoned(TimeZone::UTC).date())
    }

    pub fn first_of_month(self) -> Self {
        Self(self.0.first_of_month())
    }

    /// The day after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.tomorrow().unwrap_or(Date::MAX))
    }

    /// So many days before.
    #[must_use]
    pub fn back(self, days: i32) -> Self {
        Self(self.0.checked_sub(days.days()).unwrap_or(Date::MIN))
    }
}

/// `2026-11-28`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Day {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What was used, summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    pub requests: u64,
    /// Tokens of requests, the cached ones included.
    pub input: u64,
    pub cached: u64,
    pub output: u64,
    /// Millionths of a dollar.
    pub micro_usd: u64,
}

impl Used {
    pub fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.input = self.input.saturating_add(more.input);
        self.cached = self.cached.saturating_add(more.cached);
        self.output = self.output.saturating_add(more.output);
        self.micro_usd = self.micro_usd.saturating_add(more.micro_usd);
    }

    /// In the order in which stores keep them.
    pub(super) fn numbers(self) -> [u64; 5] {
        [
            self.requests,
            self.input,
            self.cached,
            self.output,
            self.micro_usd,
        ]
    }

    pub(super) fn from_numbers([requests, input, cached, output, micro_usd]: [u64; 5]) -> Self {
        Self {
            requests,
            input,
            cached,
            output,
            micro_usd,
        }
    }
}

/// What a key used of a model on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub tenant: String,
    /// Empty where no keys are configured.
    pub key: String,
    pub model: String,
    pub day: Day,
    pub used: Used,
}

impl Memory {
    /// Whether other gateways have the same store.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Adds to the ledger of usage.
    ///
    /// # Errors
    ///
    /// When the store refuses.
    pub async fn add_usage(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        self.store.add_usage(rows).await
    }

    /// What was used from one day to another, both included, of one tenant or of all.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn usage(
        &self,
        tenant: Option<&str>,
        days: (Day, Day),
    ) -> Result<Vec<Row>, StoreError> {
        self.store.usage(tenant, days).await
    }
}
