//! What waits for the writer, bounded by its bytes: as many short turns as few long ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::kept::Turn;
use super::writer::Job;

/// Bytes that may wait for the store, with those of turns that it refuses at present.
pub const BYTES: usize = 64 << 20;

/// How long a turn waits for room while nothing is written at all. A disk or a server may stall for
/// some seconds and go on.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a job takes beside its texts.
const OVERHEAD: usize = 1024;

/// The way to the writer.
#[derive(Clone)]
pub struct Jobs {
    sender: mpsc::UnboundedSender<Waiting>,
    room: Arc<Room>,
}

/// The same, of somebody who does not keep the writer from ending.
#[derive(Clone)]
pub struct WeakJobs {
    sender: mpsc::WeakUnboundedSender<Waiting>,
    room: Arc<Room>,
}

/// The writer is gone.
#[derive(Debug)]
pub struct Gone;

/// What waits.
pub struct Waiting {
    pub job: Job,
    pub place: Place,
}

/// Room for one job, given back when it is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    room: Arc<Room>,
}

impl Place {
    /// Tells whoever waits for room how a write went.
    pub fn wrote(&self, well: bool) {
        self.room.stuck.store(!well, Ordering::Relaxed);
        if well {
            self.room.written.send_modify(|written| *written += 1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How much there is, and how it is come by.
struct Room {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Rises with each set of changes that is written.
    written: watch::Sender<u64>,
    /// Nothing was written of late: to wait for room is in vain.
    stuck: AtomicBool,
}

impl Room {
    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Place {
            _permit: permit,
            room: self.clone(),
        }
    }

    /// Room for so many bytes, if there is any at present.
    fn at_once(self: &Arc<Self>, bytes: u32) -> Option<Place> {
        let permit = self.free.clone().try_acquire_many_owned(bytes).ok()?;
        Some(self.place(permit))
    }

    /// The same, waited for while the writer gets on.
    async fn in_time(self: &Arc<Self>, bytes: u32) -> Option<Place> {
        if let Some(place) = self.at_once(bytes) {
            return Some(place);
        }
        let mut written = self.written.subscribe();
        let acquired = self.free.clone().acquire_many_owned(bytes);
        let mut acquired = std::pin::pin!(acquired);
        while !self.stuck.load(Ordering::Relaxed) {
            tokio::select! {
                permit = &mut acquired => return Some(self.place(permit.ok()?)),
                written = timeout(PATIENCE, written.changed()) => if written.is_err() {
                    self.stuck.store(true, Ordering::Relaxed);
                },
            }
        }
        None
    }
}

/// A queue, and what comes out of it.
pub fn queue() -> (Jobs, mpsc::UnboundedReceiver<Waiting>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Room {
        free: Arc::new(Semaphore::new(BYTES)),
        waiting: AtomicUsize::new(0),
        written: watch::Sender::new(0),
        stuck: AtomicBool::new(false),
    };
    let room = room.into();
    (Jobs { sender, room }, receiver)
}

impl Jobs {
    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.room.waiting.load(Ordering::Relaxed)
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        BYTES - self.room.free.available_permits()
    }

    pub fn downgrade(&self) -> WeakJobs {
        WeakJobs {
            sender: self.sender.downgrade(),
            room: self.room.clone(),
        }
    }

    /// Queues a job, as soon as there is room for it.
    pub async fn send(&self, job: Job) -> Result<(), Gone> {
        let permit = self.room.free.clone().acquire_many_owned(weight(&job));
        let place = self.room.place(permit.await.map_err(|_| Gone)?);
        self.sender.send(Waiting { job, place }).map_err(|_| Gone)
    }

    /// Queues a turn if there is room for it at present; whether there was.
    pub fn try_send(&self, turn: Turn) -> bool {
        let job = Job::Turn(Box::new(turn));
        let place = self.room.at_once(weight(&job));
        place.is_some_and(|place| self.sender.send(Waiting { job, place }).is_ok())
    }

    /// The same, and waits for room while the writer gets on.
    pub async fn send_in_time(&self, turn: Turn) -> bool {
        let job = Job::Turn(Box::new(turn));
        let place = self.room.in_time(weight(&job)).await;
        place.is_some_and(|place| self.sender.send(Waiting { job, place }).is_ok())
    }
}

impl WeakJobs {
    pub fn upgrade(&self) -> Option<Jobs> {
        Some(Jobs {
            sender: self.sender.upgrade()?,
            room: self.room.clone(),
        })
    }
}

/// Bytes that a job takes while it waits, about; never more than there is room for.
fn weight(job: &Job) -> u32 {
    let bytes = match job {
        Job::Turn(turn) => turn.weight(),
        Job::Create(record, ..) | Job::Replace(record, _) => record.weight(),
        Job::Import(records, _) => records.iter().map(super::Record::weight).sum(),
        Job::Edit(edit, _) => edit.text.len(),
        // They need no room, and are what makes some.
        Job::Flush(_) | Job::HandOver(_) | Job::TakeBack(_) => return 0,
        Job::Remove(..) | Job::Erase(..) | Job::Learn(..) => 0,
    };
    u32::try_from((bytes + OVERHEAD).min(BYTES)).unwrap_or(u32::MAX)
}
