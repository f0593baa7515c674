//! The one connection that is always there: it prepares the schema, hears what other gateways
//! write, and tells whether the database can be reached.
//!
//! It knows whether it hears. At each beat it sends itself a notification through the server and
//! asks the server's role; now and then it looks where a new connection leads. A server that was
//! replaced and lives on answers as well as ever, and tells of nothing.

use std::future::poll_fn;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Notification};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::failure::Failure;
use super::schema;
use super::server::Server;
use super::target::{CONNECT, Target};
use crate::memory::scope::Scope;
use crate::memory::store::Elsewhere;

/// The channel of notifications.
pub const CHANNEL: &str = "yychat_memory";

/// How often the link looks whether it hears, and how long that may take.
const BEAT: Duration = Duration::from_secs(5);

/// At every which beat it looks where a new connection leads.
const PROBE: u32 = 3;

/// How long the schema may take to be brought up to date, in a database of any size.
const MIGRATE: Duration = Duration::from_secs(600);

/// How long the database is left alone after it could not be reached.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes of a notification at most; PostgreSQL takes 7,999.
const LONGEST: usize = 7900;

/// Whether the database can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Up,
    /// Why not.
    Down(String),
}

/// What the connection's task and the store have in common.
pub struct Link {
    /// Tells this gateway's notifications from others'.
    me: Uuid,
    pub state: watch::Sender<State>,
    pub elsewhere: broadcast::Sender<Elsewhere>,
    /// Has the database asked at once.
    pub suspect: Notify,
    /// The last beat that came back.
    heard: watch::Sender<u32>,
    /// Where the connection leads, and since when.
    server: Mutex<Option<(Server, Instant)>>,
    /// Why new connections cannot be made.
    closed: Mutex<Option<String>>,
    ahead: AtomicI64,
}

impl Link {
    pub fn new() -> Self {
        Self {
            me: Uuid::new_v4(),
            state: watch::Sender::new(State::Down("it has not been reached yet".into())),
            elsewhere: broadcast::channel(1024).0,
            suspect: Notify::new(),
            heard: watch::Sender::new(0),
            server: Mutex::default(),
            closed: Mutex::default(),
            ahead: AtomicI64::new(0),
        }
    }

    /// Microseconds that the server's clock is ahead of this machine's.
    pub fn clock_ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// What is wrong, as far as it is known.
    pub fn trouble(&self) -> Option<String> {
        if let State::Down(why) = &*self.state.borrow() {
            return Some(why.clone());
        }
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let no_new = |why| format!("no new connection can be made: {why}");
        closed.as_ref().map(no_new)
    }

    /// Whether a connection leads to the server that the link is with.
    pub async fn is_with(&self, client: &Client) -> Result<bool, Failure> {
        let (server, _) = Server::of(client).await?;
        Ok(self.is_at(&server))
    }

    fn is_at(&self, other: &Server) -> bool {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().is_some_and(|(server, _)| server == other)
    }

    /// Whether a connection of that age was made before the link was.
    pub fn is_later_than(&self, made: Instant) -> bool {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().is_none_or(|(_, since)| *since > made)
    }

    /// The notification of a change of this scope.
    pub fn news(&self, scope: &Scope) -> String {
        let mut news = format!("{} ", self.me);
        let start = news.len();
        BASE64.encode_string(scope.key(), &mut news);
        if news.len() > LONGEST {
            // Whoever hears it takes everything for changed.
            news.truncate(start);
        }
        news
    }

    pub fn heard(&self, news: &str) {
        let (who, scope) = news.split_once(' ').unwrap_or(("", news));
        if who.parse() == Ok(self.me) {
            return;
        }
        let scope = BASE64.decode(scope).ok().and_then(|key| Scope::parse(&key));
        // Nobody listening is fine.
        let _ = self
            .elsewhere
            .send(scope.map_or(Elsewhere::Everything, Elsewhere::Scope));
    }

    fn notified(&self, notification: &Notification) {
        match notification.channel() {
            CHANNEL => self.heard(notification.payload()),
            _ => {
                // Whatever cannot be read is no beat of ours.
                let beat = notification.payload().parse().unwrap_or(0);
                self.heard.send_replace(beat);
            }
        }
    }

    /// The channel of this gateway's own beats, which no other hears.
    fn own_channel(&self) -> String {
        format!("yychat_beat_{}", self.me.simple())
    }

    /// Holds the connection for good, and makes it anew when it breaks or hears nothing any more.
    /// `first` is told how the first try went.
    pub async fn keep(self: Arc<Self>, target: Target, first: mpsc::Sender<Result<(), Failure>>) {
        let mut first = Some(first);
        let mut last = String::new();
        loop {
            let failure = self.hold(&target, &mut first).await;
            let why = failure.to_string();
            let was = self.state.send_replace(State::Down(why.clone()));
            if was == State::Up || why != last {
                tracing::error!(error = %why, "memory store out of reach");
            }
            last = why;
            if let Some(first) = first.take() {
                // Whoever waited may have given up.
                let _ = first.send(Err(failure));
            }
            // One that broke is made anew at once.
            if was != State::Up {
                sleep(RETRY).await;
            }
        }
    }

    /// Connects, prepares and holds the connection; why it ended.
    async fn hold(
        self: &Arc<Self>,
        target: &Target,
        first: &mut Option<mpsc::Sender<Result<(), Failure>>>,
    ) -> Failure {
        let (client, mut ended) = match self.prepare(target).await {
            Ok(connection) => connection,
            Err(failure) => return failure,
        };
        if let Err(failure) = self.beat(&client, 1).await {
            return failure;
        }
        // It may have changed while nobody listened.
        let _ = self.elsewhere.send(Elsewhere::Everything);
        self.state.send_replace(State::Up);
        tracing::info!("memory store reached");
        if let Some(first) = first.take() {
            let _ = first.send(Ok(()));
        }
        let mut probed = Instant::now();
        for beat in 2.. {
            let suspected = tokio::select! {
                why = &mut ended => {
                    return why.unwrap_or_else(|e| Failure::Unavailable(e.to_string()));
                }
                () = sleep(BEAT) => false,
                () = self.suspect.notified() => true,
            };
            if let Err(failure) = self.beat(&client, beat).await {
                return failure;
            }
            let is_due = match suspected {
                true => probed.elapsed() >= RETRY,
                false => probed.elapsed() >= PROBE * BEAT,
            };
            if is_due {
                if let Err(failure) = self.probe(target).await {
                    return failure;
                }
                probed = Instant::now();
            }
        }
        no_answer()
    }

    /// Has the server send this gateway a notification and tell its role, and waits for both.
    async fn beat(&self, client: &Client, beat: u32) -> Result<(), Failure> {
        let (channel, number) = (self.own_channel(), beat.to_string());
        let asked = async {
            let sql = "SELECT pg_notify($1, $2)";
            client.query_one(sql, &[&channel, &number]).await?;
            Server::of(client).await
        };
        let answered = timeout(BEAT, asked).await;
        let (server, ahead) = answered.unwrap_or_else(|_| Err(no_answer()))?;
        server.writable()?;
        self.ahead.store(ahead, Ordering::Relaxed);
        let mut heard = self.heard.subscribe();
        let came = timeout(BEAT, heard.wait_for(|heard| *heard >= beat)).await;
        came.map(|_| ()).map_err(|_| {
            let what = "it sends no notifications: a pooler before it must leave sessions whole";
            Failure::Unavailable(what.into())
        })
    }

    /// Looks where a new connection leads. That none can be made is no end of this one.
    async fn probe(&self, target: &Target) -> Result<(), Failure> {
        let looked = async {
            let (client, connection) = target.config.connect(target.tls.clone()).await?;
            let _driven = AbortOnDropHandle::new(tokio::spawn(connection));
            Server::of(&client).await
        };
        let looked = timeout(CONNECT, looked).await;
        let why = match looked.unwrap_or_else(|_| Err(no_answer())) {
            Ok((server, _)) if self.is_at(&server) => None,
            Ok((server, _)) => {
                server.writable()?;
                let why = "another server has taken this one's place";
                return Err(Failure::Unavailable(why.into()));
            }
            Err(failure) => Some(failure.to_string()),
        };
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &why
            && closed.is_none()
        {
            tracing::warn!(%error, "memory store takes no new connection");
        }
        *closed = why;
        Ok(())
    }

    async fn prepare(
        self: &Arc<Self>,
        target: &Target,
    ) -> Result<(Client, AbortOnDropHandle<Failure>), Failure> {
        let connecting = target.config.connect(target.tls.clone());
        let connected = timeout(CONNECT, connecting).await;
        let (mut client, mut connection) = connected.map_err(|_| no_answer())??;
        let link = self.clone();
        let ended = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                match poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(AsyncMessage::Notification(news))) => link.notified(&news),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error.into(),
                    None => return Failure::Unavailable("the connection was closed".into()),
                }
            }
        }));
        let ready = async {
            let (server, ahead) = Server::of(&client).await?;
            let server = server.writable()?;
            schema::migrate(&mut client).await?;
            let own = self.own_channel();
            let listen = format!("LISTEN {CHANNEL}; LISTEN {own}");
            client.batch_execute(&listen).await?;
            self.heard.send_replace(0);
            self.ahead.store(ahead, Ordering::Relaxed);
            let mut with = self.server.lock().unwrap_or_else(PoisonError::into_inner);
            *with = Some((server, Instant::now()));
            Ok(())
        };
        timeout(MIGRATE, ready)
            .await
            .unwrap_or_else(|_| Err(no_answer()))?;
        Ok((client, ended))
    }
}

fn no_answer() -> Failure {
    Failure::Unavailable("it does not answer in time".into())
}
