//! Listening sockets, bound or inherited before anything else, so that an address in use is told
//! at once and a test can ask for any free port.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use listenfd::ListenFd;
use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds};

use crate::config::model::Server;
use crate::error::Fault;

/// The two listeners, bound.
pub struct Bound {
    api: SocketAddr,
    admin: SocketAddr,
    /// Taken by whoever serves it.
    admin_listener: Option<TcpListener>,
    fds: ListenFds,
    /// The same sockets, for a process that takes this one's place; `None` where none can.
    kept: Option<Vec<TcpListener>>,
    predecessor: Option<UnixStream>,
}

/// Sockets that were open before this process: systemd's, or those of the process that it is to
/// replace. In this order: the API's, the admin's, and that process's end of a channel.
#[derive(Default)]
pub struct Inherited {
    listeners: Vec<TcpListener>,
    predecessor: Option<UnixStream>,
}

impl Inherited {
    /// Takes what `LISTEN_FDS` tells of, and takes that out of the environment: must be called
    /// before there is another thread.
    ///
    /// # Errors
    ///
    /// A fault when a socket is not what it should be.
    pub fn take() -> Result<Self, Fault> {
        let fault = |error: std::io::Error| {
            Fault::new(
                "LISTEN_FDS",
                format!("a socket cannot be taken over: {error}"),
                "hand over TCP listeners: the API's first, then the admin's",
            )
        };
        let mut given = ListenFd::from_env();
        let mut inherited = Self::default();
        for at in 0..given.len().min(2) {
            inherited
                .listeners
                .extend(given.take_tcp_listener(at).map_err(fault)?);
        }
        if let Some(channel) = given.take_unix_listener(2).map_err(fault)? {
            let channel = UnixStream::from(OwnedFd::from(channel));
            // A listener has no peer.
            channel.peer_addr().map_err(fault)?;
            inherited.predecessor = Some(channel);
        }
        Ok(inherited)
    }

    /// Where the sockets listen, as settings that override others.
    pub fn settings(&self) -> Vec<(String, String)> {
        let keys = ["server.listen", "server.admin_listen"];
        keys.iter()
            .zip(&self.listeners)
            .filter_map(|(key, listener)| {
                let address = listener.local_addr().ok()?;
                Some(((*key).to_owned(), address.to_string()))
            })
            .collect()
    }
}

impl Bound {
    /// Binds both listeners.
    ///
    /// # Errors
    ///
    /// A fault naming the key and the address that could not be bound.
    pub fn bind(server: &Server) -> Result<Self, Fault> {
        Self::take_over(server, Inherited::default()).map(|bound| Self {
            kept: None,
            ..bound
        })
    }

    /// Takes over the sockets that there are, and binds the others. A process may take this one's
    /// place: it is started as this one was.
    ///
    /// # Errors
    ///
    /// As [`Bound::bind`].
    pub fn take_over(server: &Server, inherited: Inherited) -> Result<Self, Fault> {
        let mut kept = Vec::new();
        let mut listeners = inherited.listeners.into_iter();
        let mut listen = |key: &str, address: SocketAddr| {
            let fault = |error: std::io::Error| {
                let mend = match error.kind() {
                    ErrorKind::AddrNotAvailable => "name an address that this machine has",
                    ErrorKind::PermissionDenied => {
                        "choose a port above 1023, or give the program CAP_NET_BIND_SERVICE"
                    }
                    _ => "stop what listens there, or choose another address",
                };
                Fault::new(key, format!("{address} cannot be bound: {error}"), mend)
            };
            let listener = match listeners.next() {
                Some(listener) => listener,
                None => TcpListener::bind(address).map_err(fault)?,
            };
            listener.set_nonblocking(true).map_err(fault)?;
            let bound = listener.local_addr().map_err(fault)?;
            kept.push(listener.try_clone().map_err(fault)?);
            Ok((bound, listener))
        };
        let (api, api_listener) = listen("server.listen", server.listen)?;
        let (admin, admin_listener) = listen("server.admin_listen", server.admin_listen)?;
        let mut fds = Fds::new();
        fds.add(api.to_string(), api_listener.into_raw_fd());
        Ok(Self {
            api,
            admin,
            admin_listener: Some(admin_listener),
            fds: Arc::new(Mutex::new(fds)),
            kept: Some(kept),
            predecessor: inherited.predecessor,
        })
    }

    /// Whether keys are needed was decided by the configured address: the bound one must not be
    /// reached by more.
    pub(super) fn expect_as_configured(&self, server: &Server) -> Result<(), Fault> {
        let bound = Server {
            listen: self.api,
            ..server.clone()
        };
        if bound.is_exposed() && !server.is_exposed() {
            return Err(Fault::new(
                "server.listen",
                format!("is {}, and {} is bound", server.listen, self.api),
                "configure the address that is bound",
            ));
        }
        Ok(())
    }

    /// The sockets again, to be handed on.
    pub(super) fn kept(&mut self) -> Option<Vec<TcpListener>> {
        self.kept.take()
    }

    /// The process that this one is to replace.
    pub(super) fn predecessor(&mut self) -> Option<UnixStream> {
        self.predecessor.take()
    }

    /// The address of the OpenAI-compatible API.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// The address of metrics and health.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The admin listener itself.
    pub(super) fn take_admin_listener(&mut self) -> Option<TcpListener> {
        self.admin_listener.take()
    }

    /// The API's socket, as pingora takes over one that is open already.
    pub(super) fn fds(&self) -> ListenFds {
        self.fds.clone()
    }
}
