//! Accounts of this process alone: what one gateway needs, and what several fall back on.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::budget::{Cost, Limit, Unit, window};
use super::{Account, Ask, Decision, Settlement, Spent};
use crate::config::model::{Period, Rate};

/// Counts for every account that was asked for.
#[derive(Debug, Default)]
pub struct Process {
    accounts: Mutex<HashMap<Account, Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    /// What was used in the window of that number.
    used: HashMap<(Unit, Period), (u64, u64)>,
    /// Reservations with the Unix milliseconds at which they end by themselves.
    leases: HashMap<u128, (Cost, i64)>,
    /// When the next request would be due, in microseconds, were all of the rate used.
    arrival: i64,
}

impl Process {
    /// Decides and takes, as of `now`; [`Decision::Unknown`] for an account that was not seeded.
    pub fn admit(&self, ask: &Ask<'_>, now: Timestamp) -> Decision {
        let mut accounts = self.accounts.lock();
        let Some(counts) = accounts.get_mut(ask.account) else {
            return Decision::Unknown;
        };
        counts
            .leases
            .retain(|_, (_, ends)| *ends > now.as_millisecond());
        let arrival = match ask.rate.map(|rate| counts.arrival(rate, now)) {
            None => None,
            Some(Ok(arrival)) => Some(arrival),
            Some(Err(wait)) => return Decision::OverRate(wait),
        };
        let held = counts.held();
        let mut left: Option<u64> = None;
        for (which, limit) in ask.limits.iter().enumerate() {
            let used = counts.used(limit.unit, limit.per, now);
            let taken = used.saturating_add(held.of(limit.unit));
            if taken >= limit.amount {
                return Decision::OverBudget(which);
            }
            if limit.unit == Unit::Tokens {
                let free = (limit.amount - taken).saturating_sub(ask.cost.tokens);
                left = Some(left.map_or(free, |left| left.min(free)));
            }
        }
        if let Some(arrival) = arrival {
            counts.arrival = arrival;
        }
        if !ask.limits.is_empty() {
            counts
                .leases
                .insert(ask.id, (ask.cost, ends(now, ask.lease)));
        }
        Decision::Admitted { tokens_left: left }
    }

    /// Forgets all accounts.
    pub fn forget(&self) {
        self.accounts.lock().clear();
    }

    /// Begins an account with what the ledger says was used, unless it is there.
    pub fn seed(&self, account: &Account, used: &[Spent], now: Timestamp) {
        let mut accounts = self.accounts.lock();
        accounts.entry(account.clone()).or_insert_with(|| {
            let used = used.iter().map(|spent| {
                let counted = (window(spent.per, now), spent.amount);
                ((spent.unit, spent.per), counted)
            });
            Counts {
                used: used.collect(),
                ..Counts::default()
            }
        });
    }

    /// Ends a reservation and charges what was used.
    pub fn settle(&self, ask: &Settlement<'_>, now: Timestamp) {
        let mut accounts = self.accounts.lock();
        let Some(counts) = accounts.get_mut(ask.account) else {
            return;
        };
        counts.leases.remove(&ask.id);
        for &Limit { unit, per, .. } in ask.limits {
            let total = counts
                .used(unit, per, now)
                .saturating_add(ask.cost.of(unit));
            counts.used.insert((unit, per), (window(per, now), total));
        }
    }
}

impl Counts {
    fn used(&self, unit: Unit, per: Period, now: Timestamp) -> u64 {
        match self.used.get(&(unit, per)) {
            Some((begun, used)) if *begun == window(per, now) => *used,
            _ => 0,
        }
    }

    fn held(&self) -> Cost {
        let costs = self.leases.values().map(|(cost, _)| *cost);
        costs.fold(Cost::default(), Cost::plus)
    }

    /// Where the rate stands after one more request, or how long to wait for that one.
    fn arrival(&self, rate: Rate, now: Timestamp) -> Result<i64, Duration> {
        let (now, period) = (now.as_microsecond(), micros(rate.period));
        let arrival = self.arrival.max(now);
        let burst = i64::from(rate.burst.get() - 1).saturating_mul(period);
        let wait = u64::try_from(arrival - now - burst).ok();
        match wait.and_then(NonZeroU64::new) {
            Some(wait) => Err(Duration::from_micros(wait.get())),
            None => Ok(arrival.saturating_add(period)),
        }
    }
}

fn micros(period: Duration) -> i64 {
    i64::try_from(period.as_micros()).unwrap_or(i64::MAX)
}

fn ends(now: Timestamp, lease: Duration) -> i64 {
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    now.as_millisecond().saturating_add(lease)
}
