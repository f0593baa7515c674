//! Which upstreams are well: one that keeps failing is left alone for a while, and others that
//! serve the model are asked in its place.
//!
//! Each upstream has a breaker. Failures in a row open it. While it is open, one request each
//! time that its wait is over may look whether the upstream is back: its answer closes the breaker,
//! its failure doubles the wait. A breaker is not health checking: nothing is sent that a client
//! did not ask for, since a request to a model costs money.
//!
//! A fallback after a failure comes out of a budget, so that an outage does not multiply the load.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;
use tower::retry::budget::{Budget, TpsBudget};

use super::error::UpstreamErrorKind;
use crate::config::model::{Breaker as Settings, Upstream};
use crate::error::ApiError;
use crate::proxy::edge::overload::whole_seconds;
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;

/// Fallbacks that are always granted, a second, and what is granted beside them, as a part of all
/// requests; both are counted over the last seconds.
const FALLBACKS_PER_SECOND: u32 = 10;
const FALLBACKS_PER_REQUEST: f32 = 0.2;
const BUDGET_WINDOW: Duration = Duration::from_secs(10);

/// The state of every upstream. It outlives generations.
pub struct Health {
    breakers: Mutex<Breakers>,
    budget: TpsBudget,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Breakers {
    /// The newest generation that was seen.
    generation: u64,
    /// By the upstream's name, with the address that it was seen at.
    known: HashMap<String, (String, Arc<Breaker>)>,
}

/// The upstreams of one request, in the order in which they are tried.
pub struct Tries {
    snapshot: Arc<Snapshot>,
    /// Places in `config.upstreams`, the next one last.
    left: Vec<usize>,
    tried: bool,
    /// See [`Tries::for_a_list`].
    is_list: bool,
    /// The first that was left out for its answers alone, and may be asked when all are open.
    last_resort: Option<usize>,
    /// The shortest wait of those that were left out.
    wait: Option<Duration>,
    failed: Option<ApiError>,
}

/// One upstream's turn. What came of it is told here; untold, it counts for nothing.
pub struct Attempt {
    pub place: usize,
    looks: bool,
    breaker: Arc<Breaker>,
    settings: Settings,
}

/// What made an upstream's breaker open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// No connection.
    Unreachable,
    /// A connection, and no answer.
    Silent,
    /// An answer that says that others behind it are not well: 502, 503, 504.
    Answers,
}

struct Breaker {
    /// Let go only when the metrics show it, so that they never tell of an older one.
    state: Mutex<State>,
    /// Whose it is.
    upstream: String,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    failures: u32,
    open: Option<Open>,
    /// Its upstream is no more, and what is still on its way there is not shown.
    is_retired: bool,
}

struct Open {
    cause: Cause,
    wait: Duration,
    /// When the next request may look.
    look: Instant,
}

/// What a breaker says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    Go {
        /// It looks whether the upstream is back.
        looks: bool,
    },
    Wait(Duration, Cause),
}

impl Breaker {
    /// A closed one.
    fn new(upstream: &str, metrics: Arc<Metrics>) -> Self {
        metrics.upstream_open(upstream, false);
        Self {
            state: Mutex::default(),
            upstream: upstream.to_owned(),
            metrics,
        }
    }

    /// One of an upstream that only requests of an older generation know.
    fn retired(upstream: &str, metrics: Arc<Metrics>) -> Self {
        let state = State {
            is_retired: true,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            upstream: upstream.to_owned(),
            metrics,
        }
    }

    /// Its upstream is no more.
    fn retire(&self) {
        let mut state = self.state.lock();
        state.is_retired = true;
        self.metrics.upstream_gone(&self.upstream);
    }

    fn show(&self, state: &State) {
        if !state.is_retired {
            self.metrics
                .upstream_open(&self.upstream, state.open.is_some());
        }
    }

    fn leave(&self, now: Instant) -> Leave {
        let mut state = self.state.lock();
        let Some(open) = &mut state.open else {
            return Leave::Go { looks: false };
        };
        if now < open.look {
            return Leave::Wait(open.look - now, open.cause);
        }
        // The next one looks a wait later, whatever becomes of this one: a model may take minutes
        // to answer, and a client may leave.
        open.look = now + open.wait;
        Leave::Go { looks: true }
    }

    /// Takes a failure down.
    fn failed(&self, cause: Cause, looked: bool, now: Instant, settings: &Settings) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        let failures = state.failures;
        if settings.failures == 0 {
            state.open = None;
        } else if let Some(open) = &mut state.open {
            // Requests that were on their way when it opened say nothing new.
            if looked {
                open.cause = cause;
                open.wait = (open.wait * 2).min(settings.open_at_most);
                open.look = now + open.wait;
            }
        } else if failures >= settings.failures {
            state.open = Some(Open {
                cause,
                wait: settings.open_for,
                look: now + settings.open_for,
            });
        }
        self.show(&state);
    }

    /// Whether it is open for another reason than that there was no connection.
    fn is_reached(&self) -> bool {
        let state = self.state.lock();
        let tells = |open: &Open| open.cause != Cause::Unreachable;
        state.open.as_ref().is_some_and(tells)
    }

    /// A connection ends what began for want of one.
    fn connected(&self) {
        let mut state = self.state.lock();
        let ends = |open: &Open| open.cause == Cause::Unreachable;
        if state.open.as_ref().is_some_and(ends) {
            self.close(&mut state);
        }
    }

    /// An answer closes it.
    fn answered(&self) {
        self.close(&mut self.state.lock());
    }

    fn close(&self, state: &mut State) {
        state.failures = 0;
        if mem::take(&mut state.open).is_some() {
            self.show(state);
        }
    }
}

impl Health {
    /// Everyone is taken to be well.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            breakers: Mutex::default(),
            budget: TpsBudget::new(BUDGET_WINDOW, FALLBACKS_PER_SECOND, FALLBACKS_PER_REQUEST),
            metrics,
        }
    }

    /// The upstreams at these places of `snapshot`, for one request.
    pub fn tries(&self, snapshot: &Arc<Snapshot>, mut places: Vec<usize>) -> Tries {
        self.budget.deposit();
        places.reverse();
        Tries {
            snapshot: snapshot.clone(),
            left: places,
            tried: false,
            is_list: false,
            last_resort: None,
            wait: None,
            failed: None,
        }
    }

    /// A new connection to `upstream` was made.
    pub fn connected(&self, snapshot: &Snapshot, upstream: &Upstream) {
        self.breaker(snapshot, upstream).connected();
    }

    /// Forgets all but the upstreams of a new generation.
    pub fn keep_only(&self, snapshot: &Snapshot) {
        let upstreams = &snapshot.config.upstreams;
        for upstream in upstreams {
            self.metrics.upstream_known(&upstream.name);
        }
        let mut breakers = self.breakers.lock();
        breakers.generation = breakers.generation.max(snapshot.generation);
        breakers.known.retain(|name, (address, breaker)| {
            let is_kept = upstreams
                .iter()
                .any(|known| known.name == *name && known.base_url.as_str() == address);
            if !is_kept {
                breaker.retire();
            }
            is_kept
        });
    }

    fn breaker(&self, snapshot: &Snapshot, upstream: &Upstream) -> Arc<Breaker> {
        let mut breakers = self.breakers.lock();
        match breakers.known.get(&upstream.name) {
            Some((address, breaker)) if address == upstream.base_url.as_str() => breaker.clone(),
            _ if snapshot.generation < breakers.generation => {
                Arc::new(Breaker::retired(&upstream.name, self.metrics.clone()))
            }
            _ => {
                let breaker = Arc::new(Breaker::new(&upstream.name, self.metrics.clone()));
                let address = upstream.base_url.to_string();
                let known = &mut breakers.known;
                known.insert(upstream.name.clone(), (address, breaker.clone()));
                breaker
            }
        }
    }
}

impl Tries {
    /// The same for lists of models, which tell whether an upstream is reached and nothing of how it does
    /// its work: one that fails at that is asked for its list all the same, and no look is spent on it.
    pub fn for_a_list(mut self) -> Self {
        self.is_list = true;
        self
    }

    /// The next upstream to try; `None` when there is none, or none may be tried any more.
    pub fn next(&mut self, health: &Health) -> Option<Attempt> {
        if self.failed.is_some() && !self.left.is_empty() && !health.budget.withdraw() {
            health.metrics.fallback("refused");
            return None;
        }
        while let Some(place) = self.left.pop() {
            let upstream = &self.snapshot.config.upstreams[place];
            let breaker = health.breaker(&self.snapshot, upstream);
            if self.is_list && breaker.is_reached() {
                return Some(self.attempt(place, breaker, false));
            }
            match breaker.leave(Instant::now()) {
                Leave::Go { looks } => {
                    if self.failed.is_some() {
                        health.metrics.fallback("tried");
                    }
                    self.tried = true;
                    return Some(self.attempt(place, breaker, looks));
                }
                Leave::Wait(wait, cause) => {
                    health.metrics.upstream_skipped(&upstream.name);
                    self.wait = Some(self.wait.map_or(wait, |least| least.min(wait)));
                    if cause == Cause::Answers {
                        self.last_resort.get_or_insert(place);
                    }
                }
            }
        }
        // It does answer, and its own words serve the client better than ours.
        if self.tried {
            return None;
        }
        self.tried = true;
        let place = self.last_resort?;
        let upstream = &self.snapshot.config.upstreams[place];
        let breaker = health.breaker(&self.snapshot, upstream);
        Some(self.attempt(place, breaker, false))
    }

    fn attempt(&self, place: usize, breaker: Arc<Breaker>, looks: bool) -> Attempt {
        Attempt {
            place,
            looks,
            breaker,
            settings: self.snapshot.config.breaker.clone(),
        }
    }

    /// An upstream could not be reached: nothing was sent, and another may be tried.
    pub fn unreachable(&mut self, answer: ApiError) {
        self.failed = Some(answer);
    }

    /// What the client is told when all were tried or left out; `None` where there was none.
    pub fn refusal(&mut self) -> Option<ApiError> {
        if let Some(failed) = self.failed.take() {
            return Some(failed);
        }
        let seconds = whole_seconds(self.wait?);
        let mut error = ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "No upstream that serves the request is well: each failed several times in a row \
                 and is left alone for now. Try again in {seconds} s."
            ),
        )
        .code("upstream_unavailable");
        error.retry_after = Some(seconds);
        Some(error)
    }
}

impl Attempt {
    /// A response header came.
    pub fn answered(self, status: StatusCode) {
        let ails = matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        if ails {
            return self.note(Cause::Answers);
        }
        self.breaker.answered();
    }

    /// No answer came.
    pub fn failed(self, kind: UpstreamErrorKind) {
        let cause = if kind.is_unsent() {
            Cause::Unreachable
        } else {
            Cause::Silent
        };
        self.note(cause);
    }

    fn note(self, cause: Cause) {
        let now = Instant::now();
        self.breaker.failed(cause, self.looks, now, &self.settings);
    }
}
