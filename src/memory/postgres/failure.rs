//! What PostgreSQL's errors mean to the store, in words that hold nothing secret.

use std::error::Error;

use deadpool_postgres::HookError;
use deadpool_postgres::PoolError;

use crate::error::Fault;

/// Why the database could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It will not serve until somebody changes it.
    #[error("{0}")]
    Unfit(Fault),
    #[error("{0}")]
    Unavailable(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Unavailable(describe(&error))
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                describe(&error)
            }
            PoolError::Timeout(_) => "no connection in time".into(),
            other => other.to_string(),
        })
    }
}

/// The error with its causes. Of the server's own errors, the detail is left out, since it may
/// quote what was to be stored, and so are names of users and databases.
fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let code = db.code().code();
        return match code {
            "3D000" => "the server has no such database (3D000)".into(),
            _ if code.starts_with("28") => {
                format!("the server refuses the user or the password ({code})")
            }
            _ => format!("{} ({code})", db.message()),
        };
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
