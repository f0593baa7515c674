//! What the tests stand on: the real server on free ports, an upstream that plays a script and
//! keeps every byte it was sent, and clients that see framing as it is on the wire.

pub mod certificates;
pub mod client;
pub mod http2;
pub mod openapi;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod socket;
pub mod upstream;
#[path = "../../../src/shared/testing.rs"]
pub mod valkey;
pub mod wire;

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use client::{Client, chat, post};
pub use proxy::{Proxy, Setup};
pub use upstream::Upstream;

/// How long anything may take before a test is called stuck. Nothing waits this long and passes.
pub const STUCK: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < STUCK, "never came true: {what}");
        std::thread::yield_now();
    }
}

/// A gate that a test opens step by step while a script waits before it, or the other way round.
pub fn gate() -> (Opener, Gate) {
    let (sender, receiver) = mpsc::channel();
    (Opener(sender), Gate(Mutex::new(receiver)))
}

/// The side that opens.
#[derive(Clone)]
pub struct Opener(Sender<()>);

impl Opener {
    /// Lets one more through.
    pub fn open(&self) {
        self.0.send(()).expect("someone waits at the gate");
    }
}

/// The side that waits.
pub struct Gate(Mutex<Receiver<()>>);

impl Gate {
    /// Waits until it is opened once more.
    pub fn pass(&self) {
        let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.recv_timeout(STUCK).expect("the gate is opened");
    }
}
