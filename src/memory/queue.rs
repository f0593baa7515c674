//! What waits for the writer, bounded by its bytes: as many short turns as few long ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::kept::Turn;
use super::scope::Scope;
use super::unsaved::{Underway, Unsaved};
use super::writer::Job;

/// Bytes that may wait for the store, with those of turns that it refuses at present.
pub const BYTES: usize = 64 << 20;

/// How long a turn waits for room while nothing is written at all. A disk or a server may stall for
/// some seconds and go on.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long turns are gathered: many share a sync then, and of all that come meanwhile only the first
/// wakes the writer. Whoever waits for one of them hurries it.
const GATHER: Duration = Duration::from_millis(20);
/// How long where somebody does: one who asks without pause would have each turn synced by itself.
const HURRIED: Duration = Duration::from_millis(2);

/// What a job takes beside its texts.
const OVERHEAD: usize = 1024;

/// The way to the writer.
#[derive(Clone)]
pub struct Jobs {
    sender: mpsc::UnboundedSender<Signal>,
    tray: Tray,
    room: Arc<Room>,
}

/// The same, of somebody who does not keep the writer from ending.
#[derive(Clone)]
pub struct WeakJobs {
    sender: mpsc::WeakUnboundedSender<Signal>,
    tray: Tray,
    room: Arc<Room>,
}

/// Turns that have come since the writer took the last ones.
type Tray = Arc<Mutex<Vec<Waiting>>>;

enum Signal {
    /// There are turns on the tray.
    Turns,
    Job(Waiting),
}

/// What comes out.
pub struct Queue {
    receiver: mpsc::UnboundedReceiver<Signal>,
    tray: Tray,
    room: Arc<Room>,
    /// Whether there are turns on the tray, as far as it was told.
    has_turns: bool,
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
    /// Of a turn.
    underway: Option<Underway>,
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
    unsaved: Arc<Unsaved>,
    /// Somebody waits for a turn.
    hurry: Notify,
}

impl Room {
    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Place {
            _permit: permit,
            room: self.clone(),
            underway: None,
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
pub fn queue() -> (Jobs, Queue) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let tray = Tray::default();
    let room = Arc::new(Room {
        free: Arc::new(Semaphore::new(BYTES)),
        waiting: AtomicUsize::new(0),
        written: watch::Sender::new(0),
        stuck: AtomicBool::new(false),
        unsaved: Arc::default(),
        hurry: Notify::new(),
    });
    let queue = Queue {
        receiver,
        tray: tray.clone(),
        room: room.clone(),
        has_turns: false,
    };
    (Jobs { sender, tray, room }, queue)
}

impl Queue {
    /// Waits for jobs and appends them, in the order in which they came and not many more than `most`;
    /// none once nobody can send any. Nothing is lost where the wait is given up.
    pub async fn recv_many(&mut self, batch: &mut Vec<Waiting>, most: usize) -> usize {
        while batch.is_empty() {
            let signal = match self.has_turns {
                false => self.receiver.recv().await,
                true => {
                    let gathered = async {
                        tokio::select! {
                            () = sleep(GATHER) => {}
                            () = self.room.hurry.notified() => sleep(HURRIED).await,
                        }
                    };
                    tokio::select! {
                        // Whoever waits for another job does not wait for these.
                        signal = self.receiver.recv() => signal,
                        () = gathered => {
                            self.take(batch, most);
                            continue;
                        }
                    }
                }
            };
            let Some(signal) = signal else {
                self.take(batch, most);
                break;
            };
            self.sort(signal, batch);
            while batch.len() < most
                && let Ok(signal) = self.receiver.try_recv()
            {
                self.sort(signal, batch);
            }
        }
        batch.len()
    }

    fn sort(&mut self, signal: Signal, batch: &mut Vec<Waiting>) {
        match signal {
            Signal::Turns => self.has_turns = true,
            Signal::Job(job) => batch.push(job),
        }
    }

    fn take(&mut self, batch: &mut Vec<Waiting>, most: usize) {
        let mut tray = self.tray.lock();
        let count = tray.len().min(most);
        batch.extend(tray.drain(..count));
        self.has_turns = !tray.is_empty();
    }
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
            tray: self.tray.clone(),
            room: self.room.clone(),
        }
    }

    /// Queues a job, as soon as there is room for it.
    pub async fn send(&self, job: Job) -> Result<(), Gone> {
        let permit = self.room.free.clone().acquire_many_owned(weight(&job));
        let place = self.room.place(permit.await.map_err(|_| Gone)?);
        let mut tray = self.tray.lock();
        // What came before is done before.
        for job in tray.drain(..).chain([Waiting { job, place }]) {
            self.sender.send(Signal::Job(job)).map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Waits until the store has what the scope was told a moment ago, beside what is `known`; not
    /// while it takes nothing.
    pub async fn settle(&self, scope: &Scope, known: &[u64]) {
        if self.waiting() > 0 && !self.room.stuck.load(Ordering::Relaxed) {
            let (unsaved, hurry) = (&self.room.unsaved, &self.room.hurry);
            unsaved.settle(scope, known, hurry).await;
        }
    }

    /// Puts a turn on the tray; whether anybody takes it from there.
    fn put(&self, job: Job, mut place: Place) -> bool {
        if let Job::Turn(turn) = &job {
            place.underway = Some(self.room.unsaved.begin(turn));
        }
        let mut tray = self.tray.lock();
        tray.push(Waiting { job, place });
        tray.len() > 1 || self.sender.send(Signal::Turns).is_ok()
    }

    /// Queues a turn if there is room for it at present; whether there was.
    pub fn try_send(&self, turn: Turn) -> bool {
        let job = Job::Turn(Box::new(turn));
        let place = self.room.at_once(weight(&job));
        place.is_some_and(|place| self.put(job, place))
    }

    /// The same, and waits for room while the writer gets on.
    pub async fn send_in_time(&self, turn: Turn) -> bool {
        let job = Job::Turn(Box::new(turn));
        let place = self.room.in_time(weight(&job)).await;
        place.is_some_and(|place| self.put(job, place))
    }
}

impl WeakJobs {
    pub fn upgrade(&self) -> Option<Jobs> {
        Some(Jobs {
            sender: self.sender.upgrade()?,
            tray: self.tray.clone(),
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
