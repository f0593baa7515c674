//! Whether the shared store is asked at all, after it failed.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Until the first look whether it is back …
const FIRST: Duration = Duration::from_secs(1);
/// … and, since each failed look doubles the wait, the longest of them.
const LONGEST: Duration = Duration::from_secs(10);

/// Lets one look every now and then while the store is away, and all while it is there.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
        wait: Duration,
    },
}

impl Breaker {
    /// Whether the store may be asked now. While it is away, that is so for one alone each time.
    pub fn lets_through(&self, now: Instant) -> bool {
        match &mut *self.0.lock() {
            State::Closed => true,
            State::Open { until, wait } => {
                let looks = now >= *until;
                if looks {
                    *until = now + *wait;
                }
                looks
            }
        }
    }

    /// Notes that the store answered; tells whether it was away.
    pub fn answered(&self) -> bool {
        let mut state = self.0.lock();
        let was_away = matches!(*state, State::Open { .. });
        *state = State::Closed;
        was_away
    }

    /// Notes that it did not; tells whether that is news.
    pub fn failed(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        let (wait, is_news) = match *state {
            State::Closed => (FIRST, true),
            State::Open { wait, .. } => ((wait * 2).min(LONGEST), false),
        };
        *state = State::Open {
            until: now + wait,
            wait,
        };
        is_news
    }

    /// Whether it is taken to be there.
    pub fn is_closed(&self) -> bool {
        matches!(*self.0.lock(), State::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_looks_at_a_time_and_waits_double() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        assert!(breaker.lets_through(start));
        assert!(breaker.failed(start));
        assert!(!breaker.lets_through(start + FIRST / 2));
        assert!(breaker.lets_through(start + FIRST));
        assert!(!breaker.lets_through(start + FIRST));
        assert!(!breaker.failed(start + FIRST));
        assert!(!breaker.lets_through(start + 2 * FIRST));
        assert!(breaker.lets_through(start + 3 * FIRST));
        assert!(breaker.answered());
        assert!(breaker.lets_through(start));
        assert!(!breaker.answered());
    }
}
