//! Where upstreams are and how they are reached: names, peers, connections.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use moka::future::Cache;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::v1::Connector as Http1Connector;
use pingora::connectors::http::v2::Connector as Http2Connector;
use pingora::protocols::ALPN;
use pingora::protocols::Stream;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::protocols::l4::ext::TCP_INFO;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType};
use pingora_timeout::timeout;
use tokio::io::AsyncWriteExt;

use super::trust;
use crate::config::model::{HttpVersion, Timeouts, Upstream};
use crate::proxy::edge::respond;
use crate::proxy::exchange::fail::{UpstreamError, UpstreamErrorKind};

/// How long a resolved name is believed: long enough to keep look-ups off the request's path,
/// short enough to follow a failover.
const NAME_TTL: Duration = Duration::from_secs(15);
/// How long a connection rests after a stream before it may serve another request …
const SETTLING: Duration = Duration::from_millis(5);
/// … and where the upstream was seen to close one meanwhile, for as long as that is remembered.
const WARY_SETTLING: Duration = Duration::from_millis(50);
const WARY: Duration = Duration::from_secs(600);
/// `TCP_ESTABLISHED` of the kernel's `tcp_states.h`: neither side has closed.
const ESTABLISHED: u8 = 1;
/// HTTP/2 windows to upstreams: pingora's 64 KiB would cap an upload at one window a round trip.
const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 8 << 20;

/// Connections to upstreams, kept for reuse.
pub struct Dialer {
    /// Keeps idle HTTP/1 connections.
    http1: Http1Connector,
    /// Keeps those of HTTP/2, and opens new ones of either version.
    http2: Http2Connector,
    names: Cache<(String, u16), Arc<[SocketAddr]>>,
    /// Parsed `upstreams.ca` files.
    authorities: Cache<PathBuf, Arc<CaType>>,
    /// Peers, by their reuse hash, that closed a connection right after a stream.
    wary_of: moka::sync::Cache<u64, ()>,
}

/// A connection to an upstream, ready for a request.
pub struct Connection {
    pub session: HttpSession,
    pub peer: HttpPeer,
    /// It has served a request before, so the upstream may be closing it just now.
    pub reused: bool,
    /// It cannot serve another request: not all of this one went out.
    pub spent: bool,
}

impl Connection {
    /// Sends a whole HTTP/1 request as it stands on the wire. pingora would flush the header by
    /// itself, which costs another packet and another wake-up of the upstream.
    ///
    /// Gives the connection back beside what came of the write, since an upstream may have
    /// answered before it closed.
    pub async fn send_at_once(
        mut self: Box<Self>,
        wire: Vec<Bytes>,
        within: Duration,
    ) -> (Box<Self>, pingora::Result<()>) {
        let HttpSession::H1(http1) = self.session else {
            let error = Error::explain(ErrorType::InternalError, "it is not HTTP/1");
            return (self, Err(error));
        };
        let mut stream = http1.into_inner();
        let written = write(&mut stream, &wire, within).await;
        let http1 = Http1Session::new_with_options(stream, &self.peer);
        self.session = HttpSession::H1(http1);
        (self, written)
    }

    /// Whether the upstream answered that it did what it was asked.
    pub fn is_success(&self) -> bool {
        let header = self.session.response_header();
        header.is_some_and(|header| header.status.is_success())
    }

    /// Whether the answer is in no coding that would have to be undone first.
    pub fn is_readable(&self) -> bool {
        let header = self.session.response_header();
        header.is_some_and(|answer| {
            let coding = answer.headers.get(header::CONTENT_ENCODING);
            coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        })
    }

    /// Whether the answer is a stream of events.
    pub fn is_event_stream(&self) -> bool {
        let header = self.session.response_header();
        header.is_some_and(respond::is_event_stream)
    }

    /// Bytes that the upstream's kernel has acknowledged on this connection; HTTP/1 only, where
    /// no other request shares it.
    pub fn bytes_acknowledged(&self) -> Option<u64> {
        Some(self.tcp_info()?.tcpi_bytes_acked)
    }

    /// Whether the upstream has closed its side, or the connection broke; HTTP/1 only.
    fn is_closed(&self) -> bool {
        self.tcp_info()
            .is_some_and(|info| info.tcpi_state != ESTABLISHED)
    }

    fn tcp_info(&self) -> Option<TCP_INFO> {
        let digest = self.session.as_http1()?.digest();
        digest.socket_digest.as_ref()?.tcp_info()
    }
}

impl Dialer {
    /// Opens nothing yet: sockets belong to the runtime that first dials.
    pub fn new(options: ConnectorOptions) -> Self {
        Self {
            http1: Http1Connector::new(Some(options.clone())),
            http2: Http2Connector::new(Some(options)),
            names: Cache::builder()
                .max_capacity(1024)
                .time_to_live(NAME_TTL)
                .build(),
            authorities: Cache::builder()
                .max_capacity(64)
                .time_to_live(NAME_TTL)
                .build(),
            wary_of: moka::sync::Cache::builder()
                .max_capacity(1024)
                .time_to_live(WARY)
                .build(),
        }
    }

    /// Connects within `timeouts.connect`, trying each address of the name in turn, or takes an
    /// idle connection.
    pub async fn connect(
        &self,
        upstream: &Upstream,
        timeouts: &Timeouts,
    ) -> Result<Box<Connection>, UpstreamError> {
        let too_late = |_| UpstreamError {
            upstream: upstream.name.clone(),
            kind: UpstreamErrorKind::Connect,
            why: format!("no connection within {:?}", timeouts.connect),
        };
        let connecting = async {
            let addresses = self.resolve(upstream).await?;
            let mut failure = None;
            for &address in addresses.iter() {
                let peer = self.peer(upstream, timeouts, address).await?;
                match self.session(&peer).await {
                    Ok((session, reused)) => {
                        return Ok(Box::new(Connection {
                            session,
                            peer,
                            reused,
                            spent: false,
                        }));
                    }
                    Err(error) => failure = Some(UpstreamError::new(&upstream.name, &error)),
                }
            }
            Err(failure.unwrap_or_else(|| unresolved(upstream, "its name has no address")))
        };
        let connection = timeout(timeouts.connect, connecting)
            .await
            .map_err(too_late)?;
        connection.map(|mut connection| {
            connection.session.set_write_timeout(Some(timeouts.write));
            connection
        })
    }

    /// Gives a connection back after a stream's clean end, once it has proven to stay open. Some
    /// servers promise to keep it and close it all the same: a request that meets that close is
    /// lost, since nobody can tell whether it was read.
    pub fn release_after_stream(
        self: &Arc<Self>,
        connection: Box<Connection>,
        timeouts: &Timeouts,
    ) {
        let (dialer, timeouts) = (self.clone(), timeouts.clone());
        tokio::spawn(async move {
            let peer = connection.peer.reuse_hash();
            let wary = dialer.wary_of.contains_key(&peer);
            pingora_timeout::sleep(if wary { WARY_SETTLING } else { SETTLING }).await;
            if connection.is_closed() {
                return dialer.wary_of.insert(peer, ());
            }
            dialer.release(connection, &timeouts).await;
        });
    }

    /// Gives a connection back after a clean end.
    pub async fn release(&self, connection: Box<Connection>, timeouts: &Timeouts) {
        let Connection {
            mut session,
            peer,
            spent,
            ..
        } = *connection;
        if spent {
            return session.shutdown().await;
        }
        let idle = Some(timeouts.upstream_idle);
        match session {
            HttpSession::H1(http1) => self.http1.release_http_session(http1, &peer, idle).await,
            HttpSession::H2(http2) => self.http2.release_http_session(http2, &peer, idle),
            HttpSession::Custom(()) => {}
        }
    }

    /// An idle session, or a new one; whether it is the former.
    async fn session(&self, peer: &HttpPeer) -> pingora::Result<(HttpSession, bool)> {
        let versions = &peer.options.alpn;
        if versions.get_max_http_version() == 2
            && let Some(idle) = self.http2.reused_http_session(peer).await?
        {
            return Ok((HttpSession::H2(idle), true));
        }
        // Where either will do, the upstream may have chosen this one.
        if versions.get_min_http_version() == 1
            && let Some(idle) = self.http1.reused_http_session(peer).await
        {
            return Ok((HttpSession::H1(idle), true));
        }
        // Boxed, since a new connection needs much room, and most requests take an idle one.
        let new = Box::pin(self.http2.new_http_session(peer)).await?;
        Ok((new, false))
    }

    /// The first address of the upstream as a peer, for the pass-through route, where pingora
    /// itself connects.
    pub async fn pass_through_peer(
        &self,
        upstream: &Upstream,
        timeouts: &Timeouts,
    ) -> Result<HttpPeer, UpstreamError> {
        let addresses = self.resolve(upstream).await?;
        let first = addresses
            .first()
            .ok_or_else(|| unresolved(upstream, "its name has no address"))?;
        self.peer(upstream, timeouts, *first).await
    }

    async fn peer(
        &self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        address: SocketAddr,
    ) -> Result<HttpPeer, UpstreamError> {
        let mut peer = peer(upstream, timeouts, address);
        if let Some(file) = &upstream.ca {
            let reading = async { trust::authorities(file) };
            let authorities = self.authorities.try_get_with(file.clone(), reading).await;
            peer.options.ca = Some(authorities.map_err(|why| UpstreamError {
                upstream: upstream.name.clone(),
                kind: UpstreamErrorKind::Tls,
                why: why.to_string(),
            })?);
        }
        Ok(peer)
    }

    async fn resolve(&self, upstream: &Upstream) -> Result<Arc<[SocketAddr]>, UpstreamError> {
        let url = &upstream.base_url;
        let port = url.port_or_known_default().unwrap_or(443);
        let name = match url.host() {
            Some(url::Host::Ipv4(ip)) => return Ok([SocketAddr::new(IpAddr::V4(ip), port)].into()),
            Some(url::Host::Ipv6(ip)) => return Ok([SocketAddr::new(IpAddr::V6(ip), port)].into()),
            Some(url::Host::Domain(name)) => name.to_owned(),
            None => return Err(unresolved(upstream, "its base_url has no host")),
        };
        let looking_up = async {
            let found = tokio::net::lookup_host((name.as_str(), port)).await?;
            Ok::<Arc<[SocketAddr]>, std::io::Error>(found.collect())
        };
        self.names
            .try_get_with((name.clone(), port), looking_up)
            .await
            .map_err(|error| unresolved(upstream, &format!("looking up `{name}`: {error}")))
    }
}

async fn write(stream: &mut Stream, wire: &[Bytes], within: Duration) -> pingora::Result<()> {
    let writing = async {
        for piece in wire {
            stream.write_all(piece).await?;
        }
        stream.flush().await
    };
    match timeout(within, writing).await {
        Ok(written) => written
            .map_err(|error| Error::because(ErrorType::WriteError, "writing the request", error)),
        Err(_) => Error::e_explain(
            ErrorType::WriteTimedout,
            format!("the request could not be written within {within:?}"),
        ),
    }
}

fn unresolved(upstream: &Upstream, why: &str) -> UpstreamError {
    UpstreamError {
        upstream: upstream.name.clone(),
        kind: UpstreamErrorKind::Resolve,
        why: why.to_owned(),
    }
}

fn peer(upstream: &Upstream, timeouts: &Timeouts, address: SocketAddr) -> HttpPeer {
    let tls = upstream.base_url.scheme() == "https";
    let sni = match upstream.base_url.host() {
        _ if !tls => String::new(),
        Some(url::Host::Domain(name)) => name.to_owned(),
        _ => address.ip().to_string(),
    };
    let mut peer = HttpPeer::new(address, tls, sni);
    let options = &mut peer.options;
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.connect);
    options.read_timeout = Some(timeouts.first_byte);
    options.write_timeout = Some(timeouts.write);
    options.idle_timeout = Some(timeouts.upstream_idle);
    options.h2_stream_window_size = Some(H2_STREAM_WINDOW);
    options.h2_connection_window_size = Some(H2_CONNECTION_WINDOW);
    options.max_h2_streams = 100;
    options.alpn = match upstream.http {
        HttpVersion::H1 => ALPN::H1,
        HttpVersion::H2 => ALPN::H2,
        // Without TLS there is no negotiation, and prior knowledge is not ours to assume.
        HttpVersion::Auto if !tls => ALPN::H1,
        HttpVersion::Auto => ALPN::H2H1,
    };
    peer
}
