//! The new process's part of an upgrade: it takes the place of the one that started it. `channel`
//! has the conversation.

use std::io;
use std::os::unix::net::UnixStream as Socket;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::channel::{Channel, FromNew, FromOld};
use crate::error::Fault;
use crate::memory::{Memory, Turn};

/// Turns that are saved with one sync.
const BATCH: usize = 1024;
/// How long the store may take for them before it is asked again.
const SAVING: Duration = Duration::from_secs(10);
/// Pause before a store that refuses is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// The process before this one.
pub struct Predecessor(Channel);

impl Predecessor {
    /// Within the runtime that will serve it.
    pub fn new(socket: Socket) -> Result<Self, Fault> {
        Channel::new(socket).map(Self).map_err(lost)
    }

    /// Says that all else is ready, and waits until the memory store is closed over there.
    pub async fn release(&mut self, remembers: bool) -> Result<(), Fault> {
        let ready = FromNew::Ready { remembers };
        self.0.send(&ready).await.map_err(lost)?;
        match self.0.receive().await.map_err(lost)? {
            FromOld::Released => Ok(()),
            FromOld::Turn(_) => Err(lost(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Says that this process serves, and saves turns that end over there until that one is gone.
    pub async fn succeed(mut self, memory: Option<Arc<Memory>>) {
        if let Err(error) = self.0.send(&FromNew::Serving).await {
            tracing::warn!(%error, "upgrade: the old process is gone");
            return;
        }
        tracing::info!(
            pid = std::process::id(),
            "upgrade: serving in the old process's place"
        );
        let Some(memory) = memory else { return };
        let mut batch = Vec::with_capacity(BATCH);
        while self.gather(&mut batch).await {
            let count = batch.len();
            for turn in batch.drain(..) {
                memory.save_in_time(turn).await;
            }
            while !memory.drain(SAVING).await {
                tokio::time::sleep(RETRY).await;
            }
            if let Err(error) = self.0.send(&FromNew::Saved(count)).await {
                tracing::warn!(%error, "upgrade: the old process was not told what is saved");
                return;
            }
        }
        tracing::info!("upgrade: the old process has no more to save");
    }

    /// Takes what has come, and waits for a first; `false` when no more will come.
    async fn gather(&mut self, batch: &mut Vec<Turn>) -> bool {
        let mut next = Some(self.0.receive().await);
        while let Some(said) = next.take() {
            match said {
                Ok(FromOld::Turn(turn)) => batch.push(*turn),
                Ok(FromOld::Released) => {}
                Err(error) => {
                    if error.kind() != io::ErrorKind::UnexpectedEof {
                        tracing::warn!(%error, "upgrade: the old process cannot be understood");
                    }
                    return !batch.is_empty();
                }
            }
            if batch.len() < BATCH {
                next = self.0.receive().now_or_never();
            }
        }
        true
    }
}

fn lost(error: io::Error) -> Fault {
    Fault::new(
        "upgrade",
        format!("the process that this one was to replace is gone: {error}"),
        "start it anew",
    )
}
