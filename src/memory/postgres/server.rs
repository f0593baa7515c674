//! Which server a connection leads to, and what it is good for.

use tokio_postgres::Client;

use super::failure::Failure;
use crate::memory::erasure::now;

/// A server as one of its connections tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// When it was started, to the microsecond: that tells it from any other.
    started: String,
    /// Why nothing can be written to it.
    refuses: Option<&'static str>,
}

impl Server {
    /// Asks for it, and by how many microseconds its clock is ahead of this machine's.
    pub async fn of(client: &Client) -> Result<(Self, i64), Failure> {
        let sql =
            "SELECT pg_postmaster_start_time()::text AS started, pg_is_in_recovery() AS follows,
            current_setting('transaction_read_only') = 'on' AS reads,
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now";
        let asked = now();
        let row = client.query_one(sql, &[]).await?;
        let answered = now();
        let server = Self {
            started: row.try_get("started")?,
            refuses: match (row.try_get("follows")?, row.try_get("reads")?) {
                (true, _) => Some("the server is a standby, and takes no writes"),
                (false, true) => Some("the server is set to read-only, and takes no writes"),
                (false, false) => None,
            },
        };
        let ahead = row.try_get::<_, i64>("now")? - i64::midpoint(asked, answered);
        // What may be the network's doing is not the clock's.
        let unsure = (answered - asked) / 2;
        let ahead = if ahead.abs() <= unsure { 0 } else { ahead };
        Ok((server, ahead))
    }

    /// As a failure, where nothing can be written to it.
    pub fn writable(self) -> Result<Self, Failure> {
        match self.refuses {
            Some(why) => Err(Failure::Unavailable(why.into())),
            None => Ok(self),
        }
    }
}
