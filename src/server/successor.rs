//! The old process's part of an upgrade: it starts the new one, hands over sockets and memory, and
//! serves on where that one fails. `channel` has the conversation.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::channel::{Channel, FromNew, FromOld};
use crate::memory::{Memory, Turn};

/// How long the new process may take for each of its two steps.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first descriptor that a process inherits, by systemd's convention.
const FIRST_FD: i32 = 3;

/// Starts and hears of the process that takes this one's place.
pub struct Succession {
    /// `None`: this program was not started in a way that can be repeated, or it drains.
    sockets: Mutex<Option<Vec<TcpListener>>>,
    memory: Option<Arc<Memory>>,
    runtime: Handle,
    heir: Mutex<Option<Heir>>,
}

impl Succession {
    pub fn new(
        sockets: Option<Vec<TcpListener>>,
        memory: Option<Arc<Memory>>,
        runtime: Handle,
    ) -> Self {
        Self {
            sockets: Mutex::new(sockets),
            memory,
            runtime,
            heir: Mutex::new(None),
        }
    }

    /// Starts the new process.
    ///
    /// # Errors
    ///
    /// Why it cannot be started.
    pub fn begin(&self) -> Result<Upgrade, String> {
        if std::process::id() == 1 {
            let why = "this process is the first of its container, which ends with it";
            return Err(format!("{why}: start another container instead"));
        }
        let sockets = self.sockets.lock();
        let Some(sockets) = &*sockets else {
            return Err("this command does not hand over: only `yychat run` does".into());
        };
        let (child, socket) = start_with(sockets)
            .map_err(|error| format!("the new process cannot be started: {error}"))?;
        tracing::info!(pid = child.id(), "upgrade: new process started");
        let (cancel, cancelled) = oneshot::channel();
        let done = self.runtime.spawn(hand_over(
            Candidate(Some(child)),
            socket,
            self.memory.clone(),
            cancelled,
        ));
        Ok(Upgrade { cancel, done })
    }

    /// Closes this process's hold on the listeners.
    pub fn close(&self) {
        self.sockets.lock().take();
    }

    pub fn succeeded_by(&self, heir: Heir) {
        *self.heir.lock() = Some(heir);
    }

    /// Waits until the new process has saved all that was sent to it; `false` if that takes
    /// longer. Where that one has gone, the turns are back in this process's memory.
    pub async fn finish(&self, at_most: Duration) -> bool {
        let heir = self.heir.lock().take();
        let Some(heir) = heir else { return true };
        // Gone already is fine too.
        let _ = heir.finish.send(());
        timeout(at_most, heir.forwarding).await.is_ok()
    }
}

/// An upgrade under way.
pub struct Upgrade {
    cancel: oneshot::Sender<()>,
    done: JoinHandle<Result<Heir, String>>,
}

impl Upgrade {
    /// How it ends; never, where there is none.
    pub async fn end_of(upgrade: &mut Option<Self>) -> Result<Heir, String> {
        match upgrade {
            Some(upgrade) => joined((&mut upgrade.done).await),
            None => pending().await,
        }
    }

    /// Ends the new process, unless it serves already.
    pub async fn call_off(self) -> Result<Heir, String> {
        // It may have ended by itself.
        let _ = self.cancel.send(());
        joined(self.done.await)
    }
}

fn joined<T>(ended: Result<Result<T, String>, tokio::task::JoinError>) -> Result<T, String> {
    ended.unwrap_or_else(|error| Err(error.to_string()))
}

/// The new process, once it serves.
pub struct Heir {
    pub pid: u32,
    finish: oneshot::Sender<()>,
    forwarding: JoinHandle<()>,
}

/// The new process, which is ended unless it comes to serve.
struct Candidate(Option<Child>);

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            let _ = child.kill();
            match child.wait() {
                Ok(status) => {
                    tracing::info!(pid = child.id(), %status, "upgrade: new process ended")
                }
                Err(error) => tracing::warn!(pid = child.id(), %error, "upgrade: new process lost"),
            }
        }
    }
}

/// The new process, and this one's end of the channel to it.
fn start_with(sockets: &[TcpListener]) -> io::Result<(Child, Socket)> {
    let (ours, theirs) = Socket::pair()?;
    let mut inherited = Vec::new();
    for socket in sockets {
        inherited.push(OwnedFd::from(socket.try_clone()?));
    }
    inherited.push(theirs.into());
    Ok((start(inherited)?, ours))
}

/// The same program as this one, from the path that this one was started by: a file or link that
/// was replaced is the new version.
fn start(inherited: Vec<OwnedFd>) -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let program = match arguments.next() {
        Some(program) => program,
        None => OsString::from(std::env::current_exe()?),
    };
    let count = inherited.len();
    let mappings = (FIRST_FD..).zip(inherited);
    let mappings = mappings.map(|(child_fd, parent_fd)| FdMapping {
        parent_fd,
        child_fd,
    });
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LISTEN_FDS", count.to_string())
        // Not known before it runs. Without it the sockets are whoever's that finds them.
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS_FIRST_FD")
        .fd_mappings(mappings.collect())
        .map_err(io::Error::other)?;
    command.spawn()
}

async fn hand_over(
    mut candidate: Candidate,
    socket: Socket,
    memory: Option<Arc<Memory>>,
    cancelled: oneshot::Receiver<()>,
) -> Result<Heir, String> {
    let mut turns = None;
    match converse(socket, (memory.as_deref(), &mut turns), cancelled).await {
        Ok(channel) => {
            let (finish, finished) = oneshot::channel();
            let pid = candidate.0.take().map_or(0, |child| child.id());
            let forwarding = tokio::spawn(forward(channel, memory.zip(turns), finished));
            Ok(Heir {
                pid,
                finish,
                forwarding,
            })
        }
        Err(why) => {
            // It must be gone before the store is opened again.
            let ended = tokio::task::spawn_blocking(|| drop(candidate)).await;
            if let Some(memory) = memory {
                memory.take_back(turns.map_or_else(Vec::new, left)).await;
            }
            Err(match ended {
                Ok(()) => why,
                Err(error) => format!("{why}; {error}"),
            })
        }
    }
}

type Turns = mpsc::UnboundedReceiver<Turn>;

/// All that is said until the new process serves.
async fn converse(
    socket: Socket,
    (memory, turns): (Option<&Memory>, &mut Option<Turns>),
    mut cancelled: oneshot::Receiver<()>,
) -> Result<Channel, String> {
    let mut channel = Channel::new(socket).map_err(|error| error.to_string())?;
    let remembers = match heard(&mut channel, "be ready", &mut cancelled).await? {
        FromNew::Ready { remembers } => remembers,
        other => return Err(format!("it said {other:?} where it should be ready")),
    };
    if let Some(memory) = memory.filter(|_| remembers) {
        let handed = timeout(PATIENCE, memory.hand_over()).await;
        *turns = handed.map_err(|_| "the memory store does not close".to_owned())?;
    }
    let told = channel.send(&FromOld::Released).await;
    told.map_err(|error| format!("it does not listen: {error}"))?;
    match heard(&mut channel, "serve", &mut cancelled).await? {
        FromNew::Serving => Ok(channel),
        other => Err(format!("it said {other:?} where it should serve")),
    }
}

async fn heard(
    channel: &mut Channel,
    to: &str,
    cancelled: &mut oneshot::Receiver<()>,
) -> Result<FromNew, String> {
    let said = tokio::select! {
        biased;
        said = timeout(PATIENCE, channel.receive()) => said,
        _ = cancelled => return Err("called off, since this process is to stop".into()),
    };
    match said {
        Err(_) => Err(format!("it took more than {PATIENCE:?} to {to}")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(format!(
            "it ended before it could {to}; what it wrote to the log says why"
        )),
        Ok(said) => said.map_err(|error| format!("it cannot be understood: {error}")),
    }
}

/// What waits in the channel. None comes any more: memory is told to keep them.
fn left(mut turns: Turns) -> Vec<Turn> {
    turns.close();
    std::iter::from_fn(|| turns.try_recv().ok()).collect()
}

/// Sends turns to the new process, and keeps each until that one has saved it. Where the channel
/// breaks, this process takes the store back, as soon as the other has left it.
async fn forward(
    mut channel: Channel,
    remembering: Option<(Arc<Memory>, Turns)>,
    mut finish: oneshot::Receiver<()>,
) {
    let Some((memory, mut turns)) = remembering else {
        return;
    };
    let mut sent = VecDeque::new();
    let mut finishing = false;
    let broken = loop {
        if finishing && turns.is_empty() && sent.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            Some(turn) = turns.recv() => {
                let message = FromOld::Turn(Box::new(turn));
                let outcome = channel.send(&message).await;
                if let FromOld::Turn(turn) = message {
                    sent.push_back(*turn);
                }
                if let Err(error) = outcome {
                    break error;
                }
            }
            said = channel.receive() => match said {
                Ok(FromNew::Saved(count)) => drop(sent.drain(..count.min(sent.len()))),
                Ok(_) => {}
                Err(error) => break error,
            },
            _ = &mut finish, if !finishing => finishing = true,
        }
    };
    sent.extend(left(turns));
    tracing::warn!(error = %broken, turns = sent.len(), "new process is gone, memory taken back");
    memory.take_back(sent.into()).await;
}
