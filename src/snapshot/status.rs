//! What an operator is shown of the generation in force.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::error::{Fault, Faults};

/// The generation in force, and what keeps others from it.
#[derive(Debug, Clone)]
pub struct Status {
    pub generation: u64,
    /// When the generation in force was loaded.
    pub loaded: SystemTime,
    /// What was wrong with the files on disk when they were last read; empty when they are in
    /// force.
    pub faults: Faults,
    /// What is wrong with single personalities of the generation in force: of each the last good
    /// one serves, or none.
    pub broken: Faults,
    /// When a reload was last refused.
    pub refused: Option<SystemTime>,
    /// Keys that changed on disk and wait for a restart.
    pub waiting: Vec<String>,
    /// Folders whose edits are not heard of, each with the reason.
    pub unwatched: Vec<String>,
}

impl Status {
    /// Of the first generation.
    pub(super) fn first() -> Self {
        Self {
            generation: 1,
            loaded: SystemTime::now(),
            faults: Faults::default(),
            broken: Faults::default(),
            refused: None,
            waiting: Vec::new(),
            unwatched: Vec::new(),
        }
    }

    /// Whether the files on disk are in force, all of them.
    pub fn is_last_good(&self) -> bool {
        self.faults.0.is_empty() && self.broken.0.is_empty()
    }

    /// What is wrong with the files on disk.
    pub fn wrong(&self) -> impl Iterator<Item = &Fault> {
        self.faults.0.iter().chain(&self.broken.0)
    }

    /// A few lines for a person.
    pub fn describe(&self) -> String {
        let mut text = format!("generation {}\n", self.generation);
        // Writing to a String does not fail.
        if !self.is_last_good() {
            text.push_str("broken edit, not applied:\n");
            for fault in self.wrong() {
                let _ = writeln!(text, "{fault}");
            }
        }
        if !self.waiting.is_empty() {
            let _ = writeln!(text, "waits for a restart: {}", self.waiting.join(", "));
        }
        if let Some(first) = self.unwatched.first() {
            let count = self.unwatched.len();
            let _ = writeln!(
                text,
                "not watched, looked at every few seconds: {count} folders, the first: {first}"
            );
        }
        text
    }
}
