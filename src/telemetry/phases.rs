//! The phase ledger: where each microsecond of a request went.
//!
//! Exactly one phase is running at any time, so phases cannot overlap and their sum is the wall
//! time by construction. What no phase claims is [`Phase::Other`].

use std::time::{Duration, Instant};

/// The phases of a request, in the order in which it meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Phase {
    /// Reading the request body from the client.
    ReadBody,
    /// Choosing and assembling the personality.
    Personality,
    /// Recalling memory.
    Memory,
    /// Choosing tool schemas.
    Tools,
    /// Splicing the body.
    Compose,
    /// Connecting to the upstream and sending the request.
    UpstreamConnect,
    /// Waiting for the upstream's response header.
    UpstreamTtfb,
    /// From the first response byte to the last.
    Stream,
    /// Running tools that the gateway owns.
    ToolExecution,
    /// All else.
    Other,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 10] = [
        Phase::ReadBody,
        Phase::Personality,
        Phase::Memory,
        Phase::Tools,
        Phase::Compose,
        Phase::UpstreamConnect,
        Phase::UpstreamTtfb,
        Phase::Stream,
        Phase::ToolExecution,
        Phase::Other,
    ];

    /// The name in metrics, `Server-Timing` and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::ReadBody => "read_body",
            Phase::Personality => "personality",
            Phase::Memory => "memory",
            Phase::Tools => "tools",
            Phase::Compose => "compose",
            Phase::UpstreamConnect => "upstream_connect",
            Phase::UpstreamTtfb => "upstream_ttfb",
            Phase::Stream => "stream",
            Phase::ToolExecution => "tool_execution",
            Phase::Other => "other",
        }
    }

    /// Whether the time is the gateway's own, neither the upstream's nor the client's.
    const fn is_overhead(self) -> bool {
        matches!(
            self,
            Phase::Personality | Phase::Memory | Phase::Tools | Phase::Compose | Phase::Other
        )
    }
}

/// One request's ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    started: Instant,
    entered: Instant,
    running: Phase,
    spent: [Duration; Phase::ALL.len()],
    first_chunk: Option<Duration>,
    /// When each phase ran, where that is kept.
    intervals: Option<Vec<Interval>>,
}

/// One run of a phase, counted from the request's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub phase: Phase,
    pub began: Duration,
    pub ended: Duration,
}

/// Intervals that are kept at most: a dozen are usual, and each round of tools adds six.
const MOST_INTERVALS: usize = 256;

impl Ledger {
    /// Begins at `started`, the arrival of the request's first byte, in [`Phase::Other`].
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            entered: started,
            running: Phase::Other,
            spent: [Duration::ZERO; Phase::ALL.len()],
            first_chunk: None,
            intervals: None,
        }
    }

    /// Keeps from here on when each phase runs, not its sum alone.
    pub fn keep_intervals(&mut self) {
        self.intervals = Some(Vec::with_capacity(16));
    }

    /// The intervals that were kept.
    pub fn take_intervals(&mut self) -> Vec<Interval> {
        self.intervals.take().unwrap_or_default()
    }

    /// Ends the running phase and begins `phase`.
    pub fn enter(&mut self, phase: Phase) {
        if cfg!(feature = "blind") {
            return;
        }
        let now = Instant::now();
        self.spent[self.running as usize] += now.saturating_duration_since(self.entered);
        if let Some(intervals) = &mut self.intervals {
            let since = |at: Instant| at.saturating_duration_since(self.started);
            let interval = Interval {
                phase: self.running,
                began: since(self.entered),
                ended: since(now),
            };
            let has_room = intervals.len() < MOST_INTERVALS;
            match intervals.last_mut() {
                Some(last) if last.phase == self.running => last.ended = interval.ended,
                _ if has_room => intervals.push(interval),
                _ => {}
            }
        }
        self.entered = now;
        self.running = phase;
    }

    /// Marks the first response byte handed to the client; later calls change nothing.
    pub fn mark_first_chunk(&mut self) {
        if self.first_chunk.is_none() && !cfg!(feature = "blind") {
            self.first_chunk = Some(self.started.elapsed());
        }
    }

    /// From the request's first byte to the first response byte handed to the client.
    pub fn first_chunk(&self) -> Option<Duration> {
        self.first_chunk
    }

    /// Time spent in `phase` so far, not counting it while it still runs.
    pub fn spent(&self, phase: Phase) -> Duration {
        self.spent[phase as usize]
    }

    /// Wall time up to the last change of phase, by the clock and not by adding phases up.
    pub fn total(&self) -> Duration {
        self.entered.saturating_duration_since(self.started)
    }

    /// Time that was neither the upstream's nor the client's.
    pub fn overhead(&self) -> Duration {
        Phase::ALL
            .into_iter()
            .filter(|phase| phase.is_overhead())
            .map(|phase| self.spent(phase))
            .sum()
    }

    /// The value of a `Server-Timing` header: phases known so far, in milliseconds.
    pub fn server_timing(&self) -> String {
        let mut value = String::with_capacity(256);
        for phase in Phase::ALL {
            let spent = self.spent(phase);
            if spent.is_zero() {
                continue;
            }
            if !value.is_empty() {
                value.push_str(", ");
            }
            value.push_str(phase.name());
            value.push_str(";dur=");
            let micros = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
            push_thousandths(&mut value, micros);
        }
        value
    }
}

/// Writes a number that has three decimals, at a fraction of what printing a float costs.
pub(super) fn push_thousandths(out: &mut String, thousandths: u64) {
    out.push_str(itoa::Buffer::new().format(thousandths / 1000));
    out.push('.');
    let rest = u32::try_from(thousandths % 1000).unwrap_or_default();
    for unit in [100, 10, 1] {
        out.extend(char::from_digit(rest / unit % 10, 10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_sum_to_the_wall_time() {
        let started = Instant::now();
        let mut ledger = Ledger::new(started);
        for phase in Phase::ALL {
            ledger.enter(phase);
        }
        ledger.enter(Phase::Other);
        assert_eq!(ledger.spent.iter().sum::<Duration>(), ledger.total());
        assert!(!ledger.total().is_zero());
    }

    #[test]
    fn intervals_follow_each_other_up_to_a_bound() {
        let mut ledger = Ledger::new(Instant::now());
        ledger.keep_intervals();
        for phase in [Phase::Stream, Phase::Stream, Phase::Other] {
            ledger.enter(phase);
        }
        let kept = ledger.intervals.clone().expect("kept");
        let phases: Vec<_> = kept.iter().map(|interval| interval.phase).collect();
        assert_eq!(phases, [Phase::Other, Phase::Stream]);
        assert_eq!(kept[0].ended, kept[1].began);
        assert_eq!(kept[1].ended, ledger.total());
        for _ in 0..MOST_INTERVALS {
            ledger.enter(Phase::Compose);
            ledger.enter(Phase::Other);
        }
        assert_eq!(ledger.take_intervals().len(), MOST_INTERVALS);
        assert_eq!(ledger.take_intervals(), []);
    }

    #[test]
    fn server_timing_names_only_what_was_spent() {
        let mut ledger = Ledger::new(Instant::now());
        ledger.spent[Phase::Compose as usize] = Duration::from_micros(1500);
        ledger.spent[Phase::Memory as usize] = Duration::from_micros(250);
        assert_eq!(
            ledger.server_timing(),
            "memory;dur=0.250, compose;dur=1.500"
        );
        assert_eq!(ledger.overhead(), Duration::from_micros(1750));
    }
}
