//! How upstreams are reached: an idle connection, or a new one to whichever address answers first.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moka::future::Cache;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::v2::Connector;
use pingora::protocols::ALPN;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType};
use pingora_timeout::{sleep, timeout};
use xxhash_rust::xxh3::Xxh3;

use super::addresses::Addresses;
use super::connection::{Connection, rejoin};
use super::error::{UpstreamError, UpstreamErrorKind};
use super::trust::{self, Authorities};
use crate::config::model::{HttpVersion, Timeouts, Upstream};

/// How long parsed `upstreams.ca` files are believed.
const AUTHORITIES_TTL: Duration = Duration::from_secs(15);
/// How long one address is waited for before the next is tried beside it (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// How long a connection rests after a stream before it may serve another request …
const SETTLING: Duration = Duration::from_millis(5);
/// … and where the upstream was seen to close one meanwhile, for as long as that is remembered.
const WARY_SETTLING: Duration = Duration::from_millis(50);
const WARY: Duration = Duration::from_secs(600);
/// HTTP/2 windows to upstreams: pingora's 64 KiB would cap an upload at one window a round trip.
const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 8 << 20;

/// Connections to upstreams, kept for reuse.
pub struct Dialer {
    /// Opens connections of either version and keeps idle ones: of HTTP/2 itself, of HTTP/1 by
    /// its transport.
    connector: Connector,
    addresses: Addresses,
    /// Parsed `upstreams.ca` files.
    authorities: Cache<PathBuf, Authorities>,
    /// Peers, by their reuse hash, that closed a connection right after a stream.
    wary_of: moka::sync::Cache<u64, ()>,
}

/// Which connections will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Idle ones too.
    Allowed,
    /// None that an upstream may be closing just now: what is sent cannot be sent again.
    Refused,
    /// A new one over HTTP/1, for bytes that will not be HTTP any more.
    Upgrade,
}

impl Dialer {
    /// Opens nothing yet: sockets belong to the runtime that first dials.
    pub fn new(options: ConnectorOptions) -> Self {
        Self {
            connector: Connector::new(Some(options)),
            addresses: Addresses::new(),
            authorities: Cache::builder()
                .max_capacity(64)
                .time_to_live(AUTHORITIES_TTL)
                .build(),
            wary_of: moka::sync::Cache::builder()
                .max_capacity(1024)
                .time_to_live(WARY)
                .build(),
        }
    }

    /// Takes an idle connection where one is allowed, or connects within `timeouts.connect`.
    pub async fn connect(
        &self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        kept: Kept,
    ) -> Result<Box<Connection>, UpstreamError> {
        let failed = |kind, why| UpstreamError {
            upstream: upstream.name.clone(),
            kind,
            why,
        };
        let connecting = async {
            let found = self.addresses.of(&upstream.base_url).await;
            let addresses = found.map_err(|why| failed(UpstreamErrorKind::Resolve, why))?;
            let authorities = match &upstream.ca {
                Some(file) => Some(
                    self.authorities
                        .try_get_with_by_ref(file, async { trust::authorities(file) })
                        .await
                        .map_err(|why| failed(UpstreamErrorKind::Tls, why.to_string()))?,
                ),
                None => None,
            };
            let peer = |address: &SocketAddr| {
                let mut peer = peer(upstream, timeouts, *address, authorities.as_ref());
                if kept == Kept::Upgrade {
                    peer.options.alpn = ALPN::H1;
                }
                peer
            };
            if kept != Kept::Upgrade {
                for peer in addresses.iter().map(peer) {
                    if let Some(session) = self.idle(&peer, kept).await {
                        return Ok(Box::new(Connection::new(session, peer, true)));
                    }
                }
            }
            // Boxed, since a new connection needs much room, and most requests take an idle one.
            let opening = Box::pin(self.open(addresses.iter().map(peer), timeouts.connect));
            let (session, peer) = opening
                .await
                .map_err(|error| UpstreamError::new(&upstream.name, &error))?;
            if let (2.., Some(address)) = (addresses.len(), peer.address().as_inet()) {
                self.addresses.reached(&upstream.base_url, *address);
            }
            Ok(Box::new(Connection::new(session, peer, false)))
        };
        let mut connection = timeout(timeouts.connect, connecting).await.map_err(|_| {
            let why = format!("no connection within {:?}", timeouts.connect);
            failed(UpstreamErrorKind::Connect, why)
        })??;
        connection.session.set_write_timeout(Some(timeouts.write));
        Ok(connection)
    }

    /// Opens a connection to whichever peer answers first. The next one is tried beside those
    /// before it when one of them has failed, or has had its share of the time.
    async fn open(
        &self,
        mut peers: impl ExactSizeIterator<Item = HttpPeer>,
        within: Duration,
    ) -> pingora::Result<(HttpSession, HttpPeer)> {
        let count = u32::try_from(peers.len()).unwrap_or(u32::MAX);
        let share = STAGGER.min(within / count.saturating_add(1));
        let dial = async |peer: HttpPeer| {
            let opened = self.connector.new_http_session(&peer).await;
            opened.map(|session| (session, peer))
        };
        let mut dials = FuturesUnordered::new();
        let mut failure = None;
        while let Some(peer) = peers.next() {
            dials.push(dial(peer));
            let turn = async {
                match peers.len() {
                    0 => std::future::pending().await,
                    _ => sleep(share).await,
                }
            };
            let mut turn = std::pin::pin!(turn);
            loop {
                tokio::select! {
                    biased;
                    dialled = dials.next() => match dialled {
                        Some(Ok(opened)) => return Ok(opened),
                        Some(Err(error)) => failure = Some(error),
                        None => {}
                    },
                    () = &mut turn => break,
                }
                if peers.len() > 0 || dials.is_empty() {
                    break;
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorType::ConnectNoRoute)))
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
            sleep(if wary { WARY_SETTLING } else { SETTLING }).await;
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
            upload,
            writing,
            ..
        } = *connection;
        if spent || upload.is_some() {
            return session.shutdown().await;
        }
        let idle = Some(timeouts.upstream_idle);
        match session {
            HttpSession::H1(mut http1) => {
                http1.respect_keepalive();
                if let Some(stream) = http1.reuse().await.and_then(|s| rejoin(s, writing)) {
                    let transport = self.connector.transport();
                    transport.release_stream(stream, peer.reuse_hash(), idle);
                }
            }
            HttpSession::H2(http2) => self.connector.release_http_session(http2, &peer, idle),
            HttpSession::Custom(()) => {}
        }
    }

    /// An idle connection, or a stream of one that others share.
    async fn idle(&self, peer: &HttpPeer, kept: Kept) -> Option<HttpSession> {
        let versions = &peer.options.alpn;
        if versions.get_max_http_version() == 2
            // One that cannot be used is none: a new one is opened.
            && let Ok(Some(idle)) = self.connector.reused_http_session(peer).await
        {
            return Some(HttpSession::H2(idle));
        }
        // Where either will do, the upstream may have chosen this one.
        if versions.get_min_http_version() == 1 && kept == Kept::Allowed {
            let idle = self.connector.transport().reused_stream(peer).await?;
            return Some(HttpSession::H1(Http1Session::new_with_options(idle, peer)));
        }
        None
    }
}

/// A peer, with all that makes it another than one at the same address in its reuse hash.
fn peer(
    upstream: &Upstream,
    timeouts: &Timeouts,
    address: SocketAddr,
    authorities: Option<&Authorities>,
) -> HttpPeer {
    let tls = upstream.base_url.scheme() == "https";
    let sni = match upstream.base_url.host() {
        _ if !tls => String::new(),
        Some(url::Host::Domain(name)) => name.to_owned(),
        _ => address.ip().to_string(),
    };
    let mut peer = HttpPeer::new(address, tls, sni);
    let mut group = Xxh3::new();
    // pingora's own hash has neither.
    upstream.http.hash(&mut group);
    if let Some(authorities) = authorities {
        authorities.digest.hash(&mut group);
        peer.options.ca = Some(authorities.certificates.clone());
    }
    peer.group_key = group.finish();
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
