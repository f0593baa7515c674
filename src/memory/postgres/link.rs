//! The one connection that is always there: it prepares the schema, hears what other gateways
//! write, and tells whether the database can be reached.

use std::future::poll_fn;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::failure::Failure;
use super::schema;
use super::target::{CONNECT, Target};
use crate::memory::scope::Scope;
use crate::memory::store::Elsewhere;

/// The channel of notifications.
pub const CHANNEL: &str = "yychat_memory";

/// How often the database is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(5);

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
}

impl Link {
    pub fn new() -> Self {
        Self {
            me: Uuid::new_v4(),
            state: watch::Sender::new(State::Down("it has not been reached yet".into())),
            elsewhere: broadcast::channel(1024).0,
            suspect: Notify::new(),
        }
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

    /// Holds the connection for good, and makes it anew when it breaks. `first` is told how the
    /// first try went.
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
        // It may have changed while nobody listened.
        let _ = self.elsewhere.send(Elsewhere::Everything);
        self.state.send_replace(State::Up);
        tracing::info!("memory store reached");
        if let Some(first) = first.take() {
            let _ = first.send(Ok(()));
        }
        loop {
            tokio::select! {
                why = &mut ended => {
                    return why.unwrap_or_else(|e| Failure::Unavailable(e.to_string()));
                }
                () = sleep(PING) => {}
                () = self.suspect.notified() => {}
            }
            match timeout(PING, client.batch_execute("")).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return no_answer(),
            }
        }
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
                    Some(Ok(AsyncMessage::Notification(news))) => link.heard(news.payload()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error.into(),
                    None => return Failure::Unavailable("the connection was closed".into()),
                }
            }
        }));
        let ready = async {
            schema::migrate(&mut client).await?;
            client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
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
