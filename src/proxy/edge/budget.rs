//! The bytes of request bodies that are held in memory: a budget for all, and a share of it for each
//! key, so that stalled uploads can neither fill the machine nor keep others out.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use parking_lot::Mutex;

use super::overload::{Reason, Shed};
use crate::error::ApiError;
use crate::telemetry::Metrics;

/// A body up to here is small: it is let in while large ones have to wait, and is in no share.
const SMALL: usize = 64 * 1024;
/// What large ones leave to small ones, as a part of the budget.
const FOR_SMALL: usize = 8;

/// Counts what is held.
pub struct Budget {
    held: Arc<Mutex<Held>>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Held {
    total: usize,
    /// Only keys that hold something.
    by_key: HashMap<Arc<str>, usize>,
}

/// What one request holds, given back when it is dropped.
pub struct Hold {
    held: Arc<Mutex<Held>>,
    metrics: Arc<Metrics>,
    key: Option<Arc<str>>,
    bytes: usize,
    most: usize,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("bytes", &self.bytes).finish()
    }
}

impl Budget {
    /// Nothing is held. The gauge of `metrics` follows.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            held: Arc::default(),
            metrics,
        }
    }

    /// A hold on nothing yet, for a request of `key`; `most` is `limits.body_bytes`.
    pub fn hold(&self, key: Option<&Arc<str>>, most: usize) -> Hold {
        Hold {
            held: self.held.clone(),
            metrics: self.metrics.clone(),
            key: key.cloned(),
            bytes: 0,
            most,
        }
    }
}

impl Hold {
    /// Holds `more` bytes, or says why not and when to come again.
    pub fn grow(&mut self, more: usize) -> Result<(), Shed> {
        if more == 0 {
            return Ok(());
        }
        let mut held = self.held.lock();
        self.judge(&held, more)?;
        held.total += more;
        if let Some(key) = &self.key {
            *held.by_key.entry(key.clone()).or_default() += more;
        }
        self.bytes += more;
        self.show(&held);
        Ok(())
    }

    /// Whether `more` bytes would find room now, as they are announced.
    pub fn expect(&self, more: usize) -> Result<(), Shed> {
        self.judge(&self.held.lock(), more)
    }

    /// Lets go of some of it.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.bytes);
        if less == 0 {
            return;
        }
        let mut held = self.held.lock();
        held.total -= less;
        self.bytes -= less;
        if let Some(key) = &self.key
            && let Some(own) = held.by_key.get_mut(key)
        {
            *own -= less;
            if *own == 0 {
                held.by_key.remove(key);
            }
        }
        self.show(&held);
    }

    fn judge(&self, held: &Held, more: usize) -> Result<(), Shed> {
        let most = self.most;
        let after = held.total.saturating_add(more);
        if self.bytes.saturating_add(more) <= SMALL {
            return match after <= most {
                true => Ok(()),
                false => Err(full(most)),
            };
        }
        if let Some(key) = &self.key
            && after > most - most / 4
        {
            let own = held.by_key.get(key).copied().unwrap_or(0);
            // Room for one key more than there are: whoever comes next finds some.
            let others = held.by_key.len() - usize::from(own > 0);
            if own.saturating_add(more) > most / (others + 2) {
                return Err(over_share(own, most));
            }
        }
        match after <= most - most / FOR_SMALL {
            true => Ok(()),
            false => Err(full(most)),
        }
    }

    /// Under the lock, so that the gauge never shows an older number.
    fn show(&self, held: &Held) {
        let total = i64::try_from(held.total).unwrap_or(i64::MAX);
        self.metrics.body_bytes.set(total);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

fn over_share(own: usize, most: usize) -> Shed {
    let answer = ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!(
            "The gateway is close to the {most} bytes of request bodies that it holds at once \
             (limits.body_bytes), and {own} of them are this key's. Try again when some of its \
             requests have ended."
        ),
    );
    shed(Reason::BodyShare, answer.code("rate_limit_exceeded"))
}

fn full(most: usize) -> Shed {
    let answer = ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!(
            "The gateway holds as many of the {most} bytes of request bodies that it may \
             (limits.body_bytes) as there is room for. Try again shortly."
        ),
    );
    shed(Reason::Bodies, answer.code("overloaded"))
}

fn shed(reason: Reason, mut answer: ApiError) -> Shed {
    answer.retry_after = Some(1);
    Shed { reason, answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64 << 20;
    const LARGE: usize = 1 << 20;

    fn budget() -> Budget {
        Budget::new(Arc::new(Metrics::new()))
    }

    fn reason(held: Result<(), Shed>) -> Option<Reason> {
        held.err().map(|shed| shed.reason)
    }

    /// Holds of a mebibyte each until one is refused, and why.
    fn fill(budget: &Budget, key: Option<&Arc<str>>) -> (Vec<Hold>, Reason) {
        let mut holds = Vec::new();
        loop {
            let mut hold = budget.hold(key, MOST);
            match hold.grow(LARGE) {
                Ok(()) => holds.push(hold),
                Err(shed) => {
                    assert_eq!(shed.answer.retry_after, Some(1));
                    return (holds, shed.reason);
                }
            }
        }
    }

    #[test]
    fn what_is_held_never_exceeds_the_budget_and_comes_back() {
        let budget = budget();
        let (holds, why) = fill(&budget, None);
        assert_eq!((holds.len(), why), (56, Reason::Bodies));
        assert_eq!(budget.metrics.body_bytes.get(), 56 << 20);
        let mut small: Vec<_> = (0..128).map(|_| budget.hold(None, MOST)).collect();
        for hold in &mut small {
            assert_eq!(reason(hold.grow(SMALL)), None);
        }
        assert_eq!(reason(budget.hold(None, MOST).grow(1)), Some(Reason::Bodies));
        assert_eq!(reason(small[0].grow(1)), Some(Reason::Bodies));
        drop(holds);
        assert_eq!(budget.metrics.body_bytes.get(), 8 << 20);
        drop(small);
        assert_eq!(budget.metrics.body_bytes.get(), 0);
        assert!(budget.held.lock().by_key.is_empty());
    }

    #[test]
    fn one_key_alone_leaves_room_for_others_and_for_its_own_small_bodies() {
        let budget = budget();
        let (greedy, modest) = ("greedy".into(), "modest".into());
        let (held, why) = fill(&budget, Some(&greedy));
        assert_eq!((held.len(), why), (48, Reason::BodyShare));
        let (others, why) = fill(&budget, Some(&modest));
        assert_eq!((others.len(), why), (8, Reason::Bodies));
        let mut small = budget.hold(Some(&greedy), MOST);
        assert_eq!(reason(small.grow(SMALL)), None);
    }

    #[test]
    fn a_body_that_grows_is_judged_at_each_step_and_by_what_it_announces() {
        let budget = budget();
        let mut hold = budget.hold(None, MOST);
        assert_eq!(reason(hold.expect(MOST)), Some(Reason::Bodies));
        assert_eq!(reason(hold.expect(usize::MAX)), Some(Reason::Bodies));
        for _ in 0..56 {
            hold.grow(LARGE).unwrap();
        }
        assert_eq!(reason(hold.grow(1)), Some(Reason::Bodies));
        hold.shrink(usize::MAX);
        assert_eq!(budget.metrics.body_bytes.get(), 0);
        assert_eq!(reason(hold.expect(LARGE)), None);
    }
}
