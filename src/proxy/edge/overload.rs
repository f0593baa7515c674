//! Overload: each key's rate, and a share of the live requests for everyone.
//!
//! Work that cannot be done in time is refused at the door, before its body is read, so that what
//! was let in is served as if nobody else were there.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::StatusCode;
use parking_lot::Mutex;

use crate::config::model::{Config, Rate};
use crate::error::ApiError;
use crate::snapshot::Caller;

/// Counts what is live, and remembers how much of its rate each key has used. It outlives
/// generations: a reload refills nobody's bucket.
#[derive(Default)]
pub struct Overload {
    live: Arc<Mutex<Live>>,
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

/// Why a request was refused, as `yychat_shed_total` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The key's `rate`.
    Rate,
    /// The key holds more than its share of `limits.live_requests`, and room is scarce.
    Share,
    /// `limits.live_requests` are live.
    Live,
    /// The key holds more than its share of `limits.body_bytes`, and room is scarce.
    BodyShare,
    /// `limits.body_bytes` are held.
    Bodies,
}

impl Reason {
    /// The value of the label `reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Rate => "rate",
            Reason::Share => "share",
            Reason::Live => "live",
            Reason::BodyShare => "body_share",
            Reason::Bodies => "bodies",
        }
    }
}

/// A refusal.
#[derive(Debug)]
pub struct Shed {
    pub reason: Reason,
    pub answer: ApiError,
}

#[derive(Default)]
struct Live {
    total: usize,
    /// Only keys that have live requests.
    by_key: HashMap<Arc<str>, usize>,
}

struct Bucket {
    rate: Rate,
    limiter: Arc<DefaultDirectRateLimiter>,
}

/// A live request in the count for as long as it lives.
pub struct Admission {
    live: Arc<Mutex<Live>>,
    key: Option<Arc<str>>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut live = self.live.lock();
        live.total -= 1;
        if let Some(key) = &self.key
            && let Some(own) = live.by_key.get_mut(key)
        {
            *own -= 1;
            if *own == 0 {
                live.by_key.remove(key);
            }
        }
    }
}

impl Overload {
    /// Lets a request of `caller` in, or says why not and when to come again. Rates that gateways
    /// share are not decided here.
    pub fn admit(
        &self,
        caller: &Caller,
        config: &Config,
        rates_are_shared: bool,
    ) -> Result<Admission, Shed> {
        let admission = self.enter(caller.key.as_ref(), config.limits.live_requests)?;
        // A request that finds no room costs nothing of the rate.
        if let Some(name) = &caller.key
            && let Some(key) = config.auth.keys.iter().find(|key| *key.name == **name)
            && let Some(rate) = key.rate
            && !rates_are_shared
        {
            self.spend(name, rate)?;
        }
        Ok(admission)
    }

    fn enter(&self, key: Option<&Arc<str>>, most: usize) -> Result<Admission, Shed> {
        let mut live = self.live.lock();
        let own = key.map_or(0, |key| live.by_key.get(key).copied().unwrap_or(0));
        // Room for one key more than there are: whoever comes next finds some.
        let others = live.by_key.len() - usize::from(own > 0);
        let share = most / (others + 2);
        if live.total >= most {
            return Err(Shed {
                reason: Reason::Live,
                answer: overloaded(most),
            });
        }
        if live.total >= most - most / 4 && own > 0 && own >= share {
            return Err(Shed {
                reason: Reason::Share,
                answer: over_share(own, most),
            });
        }
        live.total += 1;
        if let Some(key) = key {
            *live.by_key.entry(key.clone()).or_default() += 1;
        }
        Ok(Admission {
            live: self.live.clone(),
            key: key.cloned(),
        })
    }

    fn spend(&self, name: &Arc<str>, rate: Rate) -> Result<(), Shed> {
        let limiter = self.limiter(name, rate);
        limiter.check().map_err(|refused| Shed {
            reason: Reason::Rate,
            answer: over_rate(
                name,
                rate,
                refused.wait_time_from(DefaultClock::default().now()),
            ),
        })
    }

    fn limiter(&self, name: &Arc<str>, rate: Rate) -> Arc<DefaultDirectRateLimiter> {
        let mut buckets = self.buckets.lock();
        match buckets.get(name) {
            Some(bucket) if bucket.rate == rate => bucket.limiter.clone(),
            _ => {
                let limiter = Arc::new(RateLimiter::direct(quota(rate)));
                let bucket = Bucket {
                    rate,
                    limiter: limiter.clone(),
                };
                buckets.insert(name.clone(), bucket);
                limiter
            }
        }
    }
}

fn quota(rate: Rate) -> Quota {
    let steady = Quota::with_period(rate.period);
    // Validation lets no period of zero through.
    let steady = steady.unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
    steady.allow_burst(rate.burst)
}

fn over_rate(name: &str, rate: Rate, wait: Duration) -> ApiError {
    let seconds = whole_seconds(wait);
    let mut error = ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!(
            "The key `{name}` sends more requests than its rate of one in {:?}, {} at once after \
             a pause. Try again in {seconds} s, or have the operator raise `rate` in [[auth.keys]].",
            rate.period, rate.burst
        ),
    )
    .code("rate_limit_exceeded");
    error.retry_after = Some(seconds);
    error
}

fn over_share(own: usize, most: usize) -> ApiError {
    let mut error = ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!(
            "The gateway is close to the {most} requests that it serves at once, and {own} of them \
             are this key's. Try again when some have ended."
        ),
    )
    .code("rate_limit_exceeded");
    error.retry_after = Some(1);
    error
}

fn overloaded(most: usize) -> ApiError {
    let mut error = ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("The gateway serves {most} requests already. Try again shortly."),
    )
    .code("overloaded");
    error.retry_after = Some(1);
    error
}

/// Whole seconds, rounded up, for `Retry-After`; at least one.
pub fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Arc<str> {
        name.into()
    }

    fn reason(result: Result<Admission, Shed>) -> Option<Reason> {
        result.err().map(|shed| shed.reason)
    }

    #[test]
    fn one_key_leaves_a_quarter_to_others() {
        let overload = Overload::default();
        let (greedy, modest) = (key("greedy"), key("modest"));
        let mut held = Vec::new();
        while let Ok(admission) = overload.enter(Some(&greedy), 100) {
            held.push(admission);
        }
        assert_eq!(held.len(), 75);
        assert_eq!(
            reason(overload.enter(Some(&greedy), 100)),
            Some(Reason::Share)
        );
        let modest: Vec<_> = (0..25)
            .map(|_| overload.enter(Some(&modest), 100))
            .collect();
        assert!(modest.iter().all(Result::is_ok));
        assert_eq!(
            reason(overload.enter(Some(&key("third")), 100)),
            Some(Reason::Live)
        );
        drop(modest);
        assert!(overload.enter(Some(&key("third")), 100).is_ok());
    }

    #[test]
    fn ten_greedy_keys_together_leave_room_for_an_eleventh() {
        let overload = Overload::default();
        let mut held = Vec::new();
        for _ in 0..100 {
            for number in 0..10 {
                held.extend(overload.enter(Some(&key(&format!("k{number}"))), 120));
            }
        }
        assert!((90..=110).contains(&held.len()), "{}", held.len());
        for _ in 0..10 {
            held.push(overload.enter(Some(&key("eleventh")), 120).unwrap());
        }
    }

    #[test]
    fn without_keys_all_of_it_may_be_used_and_comes_back() {
        let overload = Overload::default();
        let held: Vec<_> = (0..8).map(|_| overload.enter(None, 8).unwrap()).collect();
        assert_eq!(reason(overload.enter(None, 8)), Some(Reason::Live));
        drop(held);
        assert!(overload.enter(None, 8).is_ok());
        assert!(overload.live.lock().by_key.is_empty());
    }

    #[test]
    fn room_for_one_serves_one_at_a_time() {
        let overload = Overload::default();
        let alone = key("alone");
        let admission = overload.enter(Some(&alone), 1).unwrap();
        assert_eq!(reason(overload.enter(Some(&alone), 1)), Some(Reason::Live));
        drop(admission);
        assert!(overload.enter(Some(&alone), 1).is_ok());
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate_holds_with_a_time_to_wait() {
        let overload = Overload::default();
        let rate = Rate {
            period: Duration::from_secs(3600),
            burst: NonZeroU32::new(3).unwrap(),
        };
        let name = key("a");
        for _ in 0..3 {
            overload.spend(&name, rate).unwrap();
        }
        let shed = overload.spend(&name, rate).unwrap_err();
        assert_eq!(shed.reason, Reason::Rate);
        assert!((3590..=3600).contains(&shed.answer.retry_after.unwrap()));
        overload.spend(&key("b"), rate).unwrap();
        let raised = Rate {
            burst: NonZeroU32::new(5).unwrap(),
            ..rate
        };
        overload.spend(&name, raised).unwrap();
    }

    #[test]
    fn times_to_wait_are_rounded_up() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(3)), 3);
    }
}
