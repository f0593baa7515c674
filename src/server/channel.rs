//! What the two processes of an upgrade say to each other: lines of JSON over a pair of sockets,
//! so that another version understands what it knows and passes over the rest.
//!
//! ```text
//! old                                              new
//!  │ starts it, with the listeners and one end       │ loads and checks everything
//!  │                                         ◀ Ready │
//!  │ saves what is queued, closes the store          │
//!  │ Released ▶                                      │ opens it, begins to accept
//!  │                                       ◀ Serving │
//!  │ stops accepting, drains                         │
//!  │ Turn ▶                                          │ saves what ends over there
//!  │                                         ◀ Saved │
//! ```

use std::io;
use std::os::unix::net::UnixStream as Socket;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::memory::Turn;

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromNew {
    /// Everything but memory is ready.
    Ready {
        /// Whether it opens a store at all. Where it does not, the old one keeps its own.
        remembers: bool,
    },
    /// It accepts connections.
    Serving,
    /// So many more of the turns, in their order, are on disk.
    Saved(usize),
}

/// What the old process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromOld {
    /// The store is closed.
    Released,
    /// One that ended after that.
    Turn(Box<Turn>),
}

/// One end.
pub struct Channel {
    from: Lines<BufReader<OwnedReadHalf>>,
    to: OwnedWriteHalf,
}

impl Channel {
    /// Within the runtime that will serve it.
    pub fn new(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (from, to) = UnixStream::from_std(socket)?.into_split();
        Ok(Self {
            from: BufReader::new(from).lines(),
            to,
        })
    }

    pub async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.to.write_all(&line).await
    }

    /// The next message; an end of file is an error. Nothing is lost when it is not awaited to
    /// its end.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let line = self.from.next_line().await?;
        let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_str(&line)?)
    }
}
