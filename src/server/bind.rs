//! Listening sockets, bound before anything else, so that an address in use is told at once and
//! a test can ask for any free port.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds};

use crate::config::model::Server;
use crate::error::Fault;

/// The two listeners, bound.
pub struct Bound {
    api: SocketAddr,
    admin: SocketAddr,
    fds: ListenFds,
}

impl Bound {
    /// Binds both listeners.
    ///
    /// # Errors
    ///
    /// A fault naming the key and the address that could not be bound.
    pub fn bind(server: &Server) -> Result<Self, Fault> {
        let mut fds = Fds::new();
        let api = bind(&mut fds, "server.listen", server.listen)?;
        let admin = bind(&mut fds, "server.admin_listen", server.admin_listen)?;
        Ok(Self {
            api,
            admin,
            fds: Arc::new(Mutex::new(fds)),
        })
    }

    /// The address of the OpenAI-compatible API.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// The address of metrics and health.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The sockets, as pingora takes over those that are open already.
    pub(super) fn fds(&self) -> ListenFds {
        self.fds.clone()
    }
}

fn bind(fds: &mut Fds, key: &str, address: SocketAddr) -> Result<SocketAddr, Fault> {
    let fault = |error: std::io::Error| {
        Fault::new(
            key,
            format!("{address} cannot be bound: {error}"),
            "stop what listens there, or choose another address",
        )
    };
    let listener = TcpListener::bind(address).map_err(fault)?;
    listener.set_nonblocking(true).map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    fds.add(bound.to_string(), listener.into_raw_fd());
    Ok(bound)
}
