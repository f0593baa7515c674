//! The bytes of request bodies that are held in memory: a budget for all of them together, and a share
//! of it for each key, so that stalled uploads can neither fill the machine nor keep others out.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use parking_lot::Mutex;

use super::overload::Reason;
use crate::config::model::Config;
use crate::error::ApiError;
use crate::snapshot::Caller;
use crate::telemetry::Metrics;

/// A body up to here is small: it is let in while large ones have to wait, and is in no share.
const SMALL: usize = 64 * 1024;
/// What large ones leave to small ones, as a part of the budget.
const FOR_SMALL: usize = 8;

/// Counts what is held.
pub struct Budget(Arc<Ledger>);

struct Ledger {
    held: Mutex<Held>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Held {
    total: usize,
    /// Large bodies alone, of keys that have some.
    by_key: HashMap<Arc<str>, usize>,
}

/// What one request holds, given back when it is dropped. The default holds nothing, ever.
#[derive(Default)]
pub struct Hold {
    ledger: Option<Arc<Ledger>>,
    key: Option<Arc<str>>,
    bytes: usize,
    /// What of it is in its key's share.
    shared: usize,
    /// `limits.body_bytes` of the request's generation.
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
        let held = Mutex::default();
        Self(Arc::new(Ledger { held, metrics }))
    }

    /// A hold on nothing yet, for a request of `caller`.
    pub fn hold(&self, caller: &Caller, config: &Config) -> Hold {
        let most = usize::try_from(config.limits.body_bytes).unwrap_or(usize::MAX);
        self.hold_within(caller.key.as_ref(), most)
    }

    fn hold_within(&self, key: Option<&Arc<str>>, most: usize) -> Hold {
        Hold {
            ledger: Some(self.0.clone()),
            key: key.cloned(),
            most,
            ..Hold::default()
        }
    }
}

impl Hold {
    /// Holds `more` bytes, or says why not and when to come again.
    pub fn grow(&mut self, more: usize) -> Result<(), ApiError> {
        let Some(ledger) = self.ledger.clone().filter(|_| more > 0) else {
            return Ok(());
        };
        let mut held = ledger.held.lock();
        match self.judge(&held, more) {
            Ok(()) => self.take(&ledger, &mut held, more),
            Err(reason) => {
                ledger.metrics.shed(reason.name());
                return Err(self.refusal(reason));
            }
        }
        Ok(())
    }

    /// Whether `more` bytes would find room now, as a client announces them.
    pub fn has_room_for(&self, more: usize) -> Result<(), ApiError> {
        let Some(ledger) = &self.ledger else {
            return Ok(());
        };
        let judged = self.judge(&ledger.held.lock(), more);
        judged.map_err(|reason| {
            ledger.metrics.shed(reason.name());
            self.refusal(reason)
        })
    }

    /// Lets go of all but `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        let Some(ledger) = self.ledger.clone().filter(|_| less > 0) else {
            return;
        };
        let mut held = ledger.held.lock();
        held.total -= less;
        self.bytes -= less;
        if self.shared > self.bytes {
            self.move_share(&mut held, self.bytes);
        }
        ledger.show(&held);
    }

    fn take(&mut self, ledger: &Ledger, held: &mut Held, more: usize) {
        held.total = held.total.saturating_add(more);
        self.bytes = self.bytes.saturating_add(more);
        if self.bytes > SMALL {
            self.move_share(held, self.bytes);
        }
        ledger.show(held);
    }

    /// Makes its part of its key's share `bytes`.
    fn move_share(&mut self, held: &mut Held, bytes: usize) {
        let Some(key) = &self.key else { return };
        let own = held.by_key.entry(key.clone()).or_default();
        *own = *own - self.shared + bytes;
        if *own == 0 {
            held.by_key.remove(key);
        }
        self.shared = bytes;
    }

    fn judge(&self, held: &Held, more: usize) -> Result<(), Reason> {
        let most = self.most;
        let after = held.total.saturating_add(more);
        let is_small = self.bytes.saturating_add(more) <= SMALL;
        // A body that is alone has all of the room.
        if is_small || held.total == self.bytes {
            return match after <= most {
                true => Ok(()),
                false => Err(Reason::Bodies),
            };
        }
        if let Some(key) = &self.key
            && after > most - most / 4
        {
            let own = held.by_key.get(key).copied().unwrap_or(0);
            // Room for one key more than there are: whoever comes next finds some.
            let others = held.by_key.len() - usize::from(own > 0);
            if own.saturating_add(more) > most / (others + 2) {
                return Err(Reason::BodyShare);
            }
        }
        match after <= most - most / FOR_SMALL {
            true => Ok(()),
            false => Err(Reason::Bodies),
        }
    }

    fn refusal(&self, reason: Reason) -> ApiError {
        let most = self.most;
        let mut error = match reason {
            Reason::BodyShare => ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "The gateway is close to the {most} bytes of request bodies that it holds at \
                     once (limits.body_bytes), and this key has its share of them. Try again when \
                     some of its requests have ended."
                ),
            )
            .code("rate_limit_exceeded"),
            _ => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "The gateway has no room for this body beside the others: it holds {most} \
                     bytes of them at most (limits.body_bytes). Try again shortly."
                ),
            )
            .code("overloaded"),
        };
        error.retry_after = Some(1);
        error
    }
}

impl Ledger {
    /// Under the lock, so that the gauge never shows an older number.
    fn show(&self, held: &Held) {
        let total = i64::try_from(held.total).unwrap_or(i64::MAX);
        self.metrics.body_bytes.set(total);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64 << 20;
    const LARGE: usize = 1 << 20;

    fn budget() -> Budget {
        Budget::new(Arc::new(Metrics::new()))
    }

    fn held(budget: &Budget) -> i64 {
        budget.0.metrics.body_bytes.get()
    }

    fn status(result: Result<(), ApiError>) -> Option<u16> {
        result.err().map(|error| {
            assert_eq!(error.retry_after, Some(1));
            error.status.as_u16()
        })
    }

    /// Holds of a mebibyte each until one is refused, and with which status.
    fn fill(budget: &Budget, key: Option<&Arc<str>>) -> (Vec<Hold>, u16) {
        let mut holds = Vec::new();
        loop {
            let mut hold = budget.hold_within(key, MOST);
            match status(hold.grow(LARGE)) {
                None => holds.push(hold),
                Some(status) => return (holds, status),
            }
        }
    }

    #[test]
    fn what_is_held_never_exceeds_the_budget_and_comes_back() {
        let budget = budget();
        let (holds, why) = fill(&budget, None);
        assert_eq!((holds.len(), why), (56, 503));
        assert_eq!(held(&budget), 56 << 20);
        let mut small: Vec<_> = (0..128).map(|_| budget.hold_within(None, MOST)).collect();
        for hold in &mut small {
            assert_eq!(status(hold.grow(SMALL)), None);
        }
        assert_eq!(status(budget.hold_within(None, MOST).grow(1)), Some(503));
        assert_eq!(status(small[0].grow(1)), Some(503));
        drop(holds);
        assert_eq!(held(&budget), 8 << 20);
        drop(small);
        assert_eq!(held(&budget), 0);
        assert!(budget.0.held.lock().by_key.is_empty());
    }

    #[test]
    fn one_key_alone_leaves_room_for_others_and_for_its_own_small_bodies() {
        let budget = budget();
        let (greedy, modest) = ("greedy".into(), "modest".into());
        let (own, why) = fill(&budget, Some(&greedy));
        assert_eq!((own.len(), why), (48, 429));
        let (others, why) = fill(&budget, Some(&modest));
        assert_eq!((others.len(), why), (8, 503));
        let mut small = budget.hold_within(Some(&greedy), MOST);
        assert_eq!(status(small.grow(SMALL)), None);
        drop((own, others, small));
        assert!(budget.0.held.lock().by_key.is_empty());
    }

    #[test]
    fn a_body_is_judged_at_each_step_and_has_all_the_room_when_it_is_alone() {
        let budget = budget();
        let key = "alone".into();
        let mut hold = budget.hold_within(Some(&key), MOST);
        assert_eq!(status(hold.has_room_for(MOST)), None);
        assert_eq!(status(hold.has_room_for(usize::MAX)), Some(503));
        for _ in 0..64 {
            assert_eq!(status(hold.grow(LARGE)), None);
        }
        assert_eq!(status(hold.grow(1)), Some(503));
        hold.shrink_to(LARGE);
        assert_eq!(held(&budget), LARGE as i64);
        assert_eq!(budget.0.held.lock().by_key.get(&key), Some(&LARGE));
        let mut other = budget.hold_within(None, MOST);
        assert_eq!(status(other.has_room_for(MOST - LARGE)), Some(503));
        assert_eq!(status(other.grow(MOST / 2)), None);
    }

    #[test]
    fn what_knows_no_budget_holds_nothing() {
        let mut hold = Hold::default();
        assert_eq!(status(hold.grow(usize::MAX)), None);
        assert_eq!(status(hold.has_room_for(usize::MAX)), None);
    }
}
