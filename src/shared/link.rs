//! The connection to Valkey or Redis.

use std::time::Duration;

use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, RedisError, ScriptInvocation, ServerErrorKind,
};
use secrecy::{ExposeSecret, SecretString};

/// How long a connection may take to come about; requests do not wait for it.
const CONNECTING: Duration = Duration::from_secs(2);

/// One connection for all. It comes about when it is first used, and again when it broke.
pub struct Link {
    client: Client,
    config: ConnectionManagerConfig,
    connection: Mutex<Option<ConnectionManager>>,
}

impl Link {
    /// Reads `url`.
    ///
    /// # Errors
    ///
    /// Says what of the URL cannot be used.
    pub fn new(url: &SecretString, answer_within: Duration) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(url.expose_secret())?,
            config: ConnectionManagerConfig::new()
                .set_connection_timeout(Some(CONNECTING))
                .set_response_timeout(Some(answer_within))
                .set_number_of_retries(0),
            connection: Mutex::default(),
        })
    }

    /// Calls a script, which is sent where the server does not have it.
    ///
    /// # Errors
    ///
    /// The server's, or the connection's.
    pub async fn invoke<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        call.invoke_async(&mut self.connection()?).await
    }

    /// Runs a command.
    ///
    /// # Errors
    ///
    /// The server's, or the connection's.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.connection()?).await
    }

    /// Runs several commands in one round trip.
    ///
    /// # Errors
    ///
    /// The server's, or the connection's.
    pub async fn pipe<T: FromRedisValue>(
        &self,
        pipeline: &redis::Pipeline,
    ) -> Result<T, RedisError> {
        pipeline.query_async(&mut self.connection()?).await
    }

    /// Asks whether it is there and takes writes.
    ///
    /// # Errors
    ///
    /// The server's, or the connection's.
    pub async fn ping(&self) -> Result<(), RedisError> {
        let mut command = redis::cmd("SET");
        command.arg("yychat:ping").arg(1).arg("EX").arg(60);
        self.query(&command).await
    }

    /// The policy by which the server evicts what has counts in it, where it does. One that does not
    /// tell is believed.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub async fn evicts(&self) -> Result<Option<String>, RedisError> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let told: String = match self.query(&command).await {
            Ok(told) => told,
            Err(error) if is_refusal(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let field = |name: &str| {
            let mut lines = told.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        let is_bounded = field("maxmemory").is_some_and(|bytes| bytes.trim() != "0");
        let policy = field("maxmemory_policy").unwrap_or_default().trim();
        let is_safe = matches!(policy, "noeviction" | "volatile-ttl" | "");
        Ok((is_bounded && !is_safe).then(|| policy.to_owned()))
    }

    /// Removes all keys that fit a pattern.
    ///
    /// # Errors
    ///
    /// The server's, or the connection's.
    pub async fn unlink_all(&self, pattern: &str) -> Result<(), RedisError> {
        const AT_ONCE: usize = 1000;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern);
            scan.arg("COUNT").arg(AT_ONCE);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.query(&scan).await?;
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys);
                self.query::<()>(&unlink).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Nodes of the cluster that the server is one of, where it is; one that does not tell is in none.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub async fn nodes(&self) -> Result<u64, RedisError> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("INFO");
        let told: String = match self.query(&command).await {
            Ok(told) => told,
            Err(error) if is_refusal(&error) => return Ok(1),
            Err(error) => return Err(error),
        };
        let mut lines = told.lines();
        let size = lines.find_map(|line| line.strip_prefix("cluster_size:")?.trim().parse().ok());
        Ok(size.unwrap_or(1))
    }

    /// The next use connects anew.
    pub fn let_go(&self) {
        self.connection.lock().take();
    }

    fn connection(&self) -> Result<ConnectionManager, RedisError> {
        let mut connection = self.connection.lock();
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let made =
            ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())?;
        Ok(connection.insert(made).clone())
    }
}

/// Whether the server says that it will not, ever: a wrong password, a right that the user lacks, a
/// script that it does not take.
pub fn is_refusal(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig
        | ErrorKind::UnexpectedReturnType
        | ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => true,
        ErrorKind::Extension => matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM")),
        // A replica, one that loads or is full, a cluster that is down: these may change.
        _ => false,
    }
}

/// Whether a key holds what no gateway wrote there: that is no fault of the server's.
pub fn is_of_a_key(error: &RedisError) -> bool {
    const KIND: &str = "WRONGTYPE";
    // Older servers put it into what a script says.
    error.code() == Some(KIND) || error.detail().is_some_and(|it| it.contains(KIND))
}

/// A name as it stands within a key: it can neither end the hash tag nor be read as another's.
pub fn encoded(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, NON_ALPHANUMERIC)
}
