//! What opens a breaker, what closes it, and when it lets somebody look.

use super::*;

const SETTINGS: Settings = Settings {
    failures: 3,
    open_for: Duration::from_secs(1),
    open_at_most: Duration::from_secs(3),
};
const GO: Leave = Leave::Go { looks: false };
const LOOK: Leave = Leave::Go { looks: true };

fn closed() -> Breaker {
    Breaker::new("u", Arc::new(Metrics::new()))
}

/// Whether it is, and is shown to be.
fn is_open(breaker: &Breaker) -> bool {
    let is_open = breaker.state.lock().open.is_some();
    let metrics = String::from_utf8(breaker.metrics.render()).unwrap();
    let line = format!(
        "yychat_upstream_open{{upstream=\"u\"}} {}\n",
        u8::from(is_open)
    );
    assert!(metrics.contains(&line), "{metrics}");
    is_open
}

/// Whether it is open after a failure.
fn fail(breaker: &Breaker, cause: Cause, looked: bool, now: Instant) -> bool {
    breaker.failed(cause, looked, now, &SETTINGS);
    is_open(breaker)
}

/// Whether it is open after a connection.
fn connect(breaker: &Breaker) -> bool {
    breaker.connected();
    is_open(breaker)
}

fn opened(cause: Cause, now: Instant) -> Breaker {
    let breaker = closed();
    assert!(!fail(&breaker, cause, false, now));
    assert!(!fail(&breaker, cause, false, now));
    assert_eq!(breaker.leave(now), GO);
    assert!(fail(&breaker, cause, false, now));
    breaker
}

#[test]
fn failures_in_a_row_open_it_and_an_answer_between_them_starts_anew() {
    let now = Instant::now();
    let breaker = closed();
    for _ in 0..2 {
        fail(&breaker, Cause::Silent, false, now);
        fail(&breaker, Cause::Silent, false, now);
        breaker.answered();
    }
    assert_eq!(breaker.leave(now), GO);
    let breaker = opened(Cause::Silent, now);
    let wait = Leave::Wait(SETTINGS.open_for, Cause::Silent);
    assert_eq!(breaker.leave(now), wait);
}

#[test]
fn one_request_looks_each_time_and_each_failed_look_doubles_the_wait_up_to_the_most() {
    let mut now = Instant::now();
    let breaker = opened(Cause::Silent, now);
    for seconds in [1, 2, 3, 3] {
        now += Duration::from_secs(seconds);
        assert_eq!(breaker.leave(now - Duration::from_millis(1)), {
            Leave::Wait(Duration::from_millis(1), Cause::Silent)
        });
        assert_eq!(breaker.leave(now), LOOK);
        assert!(matches!(breaker.leave(now), Leave::Wait(..)));
        assert!(fail(&breaker, Cause::Silent, true, now));
    }
    now += Duration::from_secs(3);
    assert_eq!(breaker.leave(now), LOOK);
    breaker.answered();
    assert_eq!(breaker.leave(now), GO);
}

#[test]
fn what_was_on_its_way_when_it_opened_prolongs_nothing() {
    let now = Instant::now();
    let breaker = opened(Cause::Unreachable, now);
    for _ in 0..100 {
        assert!(fail(&breaker, Cause::Unreachable, false, now));
    }
    assert_eq!(breaker.leave(now + SETTINGS.open_for), LOOK);
}

#[test]
fn a_look_that_never_ends_does_not_keep_others_from_looking() {
    let now = Instant::now();
    let breaker = opened(Cause::Silent, now);
    assert_eq!(breaker.leave(now + Duration::from_secs(1)), LOOK);
    assert_eq!(breaker.leave(now + Duration::from_secs(2)), LOOK);
}

#[test]
fn a_connection_closes_what_opened_for_want_of_one_and_nothing_else() {
    let now = Instant::now();
    let unreachable = opened(Cause::Unreachable, now);
    assert!(!connect(&unreachable));
    assert_eq!(unreachable.leave(now), GO);
    assert!(connect(&opened(Cause::Silent, now)));
    assert!(connect(&opened(Cause::Answers, now)));
}

#[test]
fn zero_failures_never_open_it_and_close_it_at_once() {
    let now = Instant::now();
    let breaker = opened(Cause::Silent, now);
    let never = Settings {
        failures: 0,
        ..SETTINGS
    };
    breaker.failed(Cause::Silent, false, now, &never);
    assert!(!is_open(&breaker));
    assert_eq!(breaker.leave(now), GO);
}
