//! The generation in force, and how another takes its place.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::build::{Before, Next, build};
use super::{Snapshot, Status};
use crate::config::Sources;
use crate::config::model::Config;
use crate::error::{Fault, Faults};
use crate::reading::{Reading, Record, Writers};

/// Holds the generation in force.
pub struct Store {
    current: ArcSwap<Snapshot>,
    status: ArcSwap<Status>,
    sources: Sources,
    /// What was bound and opened at the start, and stays so.
    started: Config,
    /// Who is known to write into the files.
    writers: Writers,
    /// Serialises reloads.
    read: Mutex<Read>,
}

/// What was read.
struct Read {
    /// For the generation in force.
    in_force: Arc<Record>,
    /// The last time, whatever came of it.
    last: Arc<Record>,
}

/// What came of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A new generation is in force.
    Applied,
    /// The files are as they were when they were last read.
    Unchanged,
    /// The files are broken; the generation in force stays.
    Refused,
}

/// Reads of files that change while they are read, in one reload.
const MOST_READS: usize = 8;

impl Store {
    /// Loads the first generation. Gives the warnings beside it.
    pub fn open(sources: Sources) -> Result<(Self, Vec<Fault>), Faults> {
        let reading = Reading::default();
        let Next {
            snapshot, warnings, ..
        } = build(&sources, &reading, None)?;
        let status = Status {
            broken: snapshot.broken(),
            ..Status::first()
        };
        let record = Arc::new(reading.finish());
        let store = Self {
            started: snapshot.config.clone(),
            current: ArcSwap::from_pointee(snapshot),
            status: ArcSwap::from_pointee(status),
            sources,
            writers: Writers::default(),
            read: Mutex::new(Read {
                in_force: record.clone(),
                last: record,
            }),
        };
        Ok((store, warnings))
    }

    /// The generation in force.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// What an operator is shown of it.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// Reads the files again, and puts what they say in force if all of it is valid. What was
    /// read before is not judged again, so a broken edit is logged once.
    pub fn reload(&self) -> Outcome {
        self.read_again(false)
    }

    /// As [`Store::reload`], though the files be as they were.
    pub fn reload_anyway(&self) -> Outcome {
        self.read_again(true)
    }

    /// Whether what is on disk could take the place of what is in force, all of it. A process that
    /// begins anew has no last good state to fall back to.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn rehearse(&self) -> Result<(), Faults> {
        let in_force = self.read.lock().in_force.clone();
        let current = self.load();
        let before = Before {
            started: &self.started,
            current: &current,
        };
        let reading = Reading::again(in_force, self.writers.clone());
        let next = build(&self.sources, &reading, Some(before))?.snapshot;
        let broken = next.personalities.broken().iter();
        let lost = broken.filter(|broken| broken.is_last_good);
        let faults = lost.flat_map(|broken| broken.faults.0.iter().cloned());
        Faults(faults.collect()).or(())
    }

    fn read_again(&self, anyway: bool) -> Outcome {
        let mut read = self.read.lock();
        if !anyway && read.last.is_current(&self.writers) {
            return Outcome::Unchanged;
        }
        let current = self.load();
        let before = Before {
            started: &self.started,
            current: &current,
        };
        let mut reads = 0;
        let next = loop {
            let reading = Reading::again(read.in_force.clone(), self.writers.clone());
            let next = build(&self.sources, &reading, Some(before));
            read.last = Arc::new(reading.finish());
            reads += 1;
            // Otherwise an edit was being written: half of one may be valid and yet not meant.
            if read.last.is_current(&self.writers) || reads == MOST_READS {
                break next;
            }
        };
        match next {
            Ok(next) => {
                read.in_force = read.last.clone();
                self.apply(next)
            }
            Err(faults) => self.refuse(faults),
        }
    }

    /// What was last read, which is what is worth watching.
    pub(super) fn last_read(&self) -> Arc<Record> {
        self.read.lock().last.clone()
    }

    pub(super) fn writers(&self) -> &Writers {
        &self.writers
    }

    /// Notes which folders cannot be watched, and why.
    pub(super) fn cannot_watch(&self, folders: Vec<String>) {
        let status = self.status();
        if status.unwatched == folders {
            return;
        }
        if let Some(first) = folders.first() {
            tracing::warn!(
                folders = folders.len(),
                first,
                "cannot be watched, and are looked at every few seconds"
            );
        }
        let status = Status {
            unwatched: folders,
            ..Status::clone(&status)
        };
        self.status.store(Arc::new(status));
    }

    fn apply(&self, next: Next) -> Outcome {
        for warning in &next.warnings {
            tracing::warn!(%warning, "may not be meant");
        }
        if !next.waiting.is_empty() {
            tracing::warn!(
                keys = next.waiting.join(", "),
                "changed, and waits for a restart"
            );
        }
        let generation = next.snapshot.generation;
        let broken = next.snapshot.broken();
        let known = self.status();
        let new = broken.0.iter().filter(|it| !known.broken.0.contains(it));
        new.for_each(|fault| tracing::error!(%fault, "personality broken"));
        self.current.store(Arc::new(next.snapshot));
        let status = Status {
            waiting: next.waiting,
            unwatched: known.unwatched.clone(),
            broken,
            generation,
            ..Status::first()
        };
        self.status.store(Arc::new(status));
        tracing::info!(generation, "generation applied");
        Outcome::Applied
    }

    fn refuse(&self, faults: Faults) -> Outcome {
        for fault in &faults.0 {
            tracing::error!(%fault, "reload refused");
        }
        let status = Status {
            faults,
            refused: Some(SystemTime::now()),
            ..Status::clone(&self.status())
        };
        self.status.store(Arc::new(status));
        Outcome::Refused
    }
}
