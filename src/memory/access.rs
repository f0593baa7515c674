//! Single records and lists of them, as the API and the command line ask for them.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::Memory;
use super::record::{self, Record};
use super::store::{Audit, Backlog, Page, Selection, StoreError};
use super::writer::{Edit, Job};
use crate::error::ApiError;

/// How long a caller of the API waits for its write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

impl Memory {
    /// Adds a record and gives it back once it is on disk; the same text of the same role and
    /// conversation gives the record that is already there.
    ///
    /// # Errors
    ///
    /// 400 or 413 for a bad text, 503 when the store refuses.
    pub async fn create(&self, record: Record) -> Result<Record, ApiError> {
        record::check_text(&record.text)?;
        self.write(|reply| Job::Create(Box::new(record), reply))
            .await
    }

    /// The record of this id, if it is the tenant's, and the user's where one is given.
    ///
    /// # Errors
    ///
    /// 404 for no such record, or another's.
    pub async fn get(
        &self,
        tenant: &str,
        user: Option<&str>,
        id: &str,
    ) -> Result<Record, ApiError> {
        let found = match Uuid::parse_str(id) {
            Ok(id) => self.read(self.store.get(tenant, id)).await?,
            Err(_) => None,
        };
        found
            .filter(|r| user.is_none() || r.scope.user().map(|u| &**u) == user)
            .ok_or_else(not_found)
    }

    /// Gives a record another text; the old one stays in its history.
    ///
    /// # Errors
    ///
    /// As [`Memory::get`] and [`Memory::create`].
    pub async fn update(
        &self,
        tenant: &str,
        user: Option<&str>,
        (id, text): (&str, String),
    ) -> Result<Record, ApiError> {
        record::check_text(&text)?;
        let id = self.get(tenant, user, id).await?.id;
        let edit = Edit {
            tenant: tenant.to_owned(),
            id,
            text,
            now: jiff::Timestamp::now().as_millisecond(),
        };
        self.write(|reply| Job::Edit(edit, reply))
            .await?
            .ok_or_else(not_found)
    }

    /// Removes a record.
    ///
    /// # Errors
    ///
    /// As [`Memory::get`]; 503 when the store refuses.
    pub async fn delete(&self, tenant: &str, user: Option<&str>, id: &str) -> Result<(), ApiError> {
        let record = self.get(tenant, user, id).await?;
        self.write(|reply| Job::Remove(record.scope, record.id, reply))
            .await
    }

    /// Removes all that is selected; how many records that were.
    ///
    /// # Errors
    ///
    /// 503 when the store refuses.
    pub async fn delete_all(&self, tenant: &str, selection: Selection) -> Result<u64, ApiError> {
        let tenant = tenant.to_owned();
        self.write(|reply| Job::Delete(tenant, selection, reply))
            .await
    }

    /// A page of a tenant's records, the newest first, after the one that `cursor` (an id) names.
    ///
    /// # Errors
    ///
    /// 400 for a bad cursor, 503 when the store fails.
    pub async fn list(
        &self,
        tenant: &str,
        selection: &Selection,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page, ApiError> {
        let before = cursor.map(Uuid::parse_str).transpose().map_err(|_| {
            let message = "cursor is not one that a list gave: leave it out to begin anew";
            ApiError::bad_request(message).param("cursor")
        })?;
        self.read(self.store.list(tenant, selection, before, limit))
            .await
    }

    /// Records in all.
    ///
    /// # Errors
    ///
    /// 503 when the store fails.
    pub async fn count(&self) -> Result<u64, ApiError> {
        self.read(self.store.count()).await
    }

    /// Exchanges that wait to be extracted, and those that are set aside.
    ///
    /// # Errors
    ///
    /// 503 when the store fails.
    pub async fn backlog(&self) -> Result<Backlog, ApiError> {
        self.read(self.store.backlog()).await
    }

    /// Looks at every record, checksum and entry.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn audit(&self) -> Result<Audit, StoreError> {
        self.store.audit().await
    }

    async fn read<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, ApiError> {
        match timeout(WRITE_TIMEOUT, answer).await {
            Ok(result) => result.map_err(refused),
            Err(_) => Err(too_late()),
        }
    }

    async fn write<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let written = async {
            let gone = || StoreError::Unavailable("memory has stopped".into());
            self.jobs.send(job(reply)).await.map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        };
        match timeout(WRITE_TIMEOUT, written).await {
            Ok(result) => result.map_err(refused),
            Err(_) => Err(too_late()),
        }
    }
}

fn not_found() -> ApiError {
    ApiError::not_found("no such memory: list them with GET /v1/memories").code("memory_not_found")
}

fn refused(error: StoreError) -> ApiError {
    let message = format!("{error}; nothing was written: try again later");
    unavailable(message)
}

fn too_late() -> ApiError {
    unavailable("the memory store does not answer; whether it wrote is not known: try again later")
}

fn unavailable(message: impl Into<String>) -> ApiError {
    let mut error =
        ApiError::new(http::StatusCode::SERVICE_UNAVAILABLE, message).code("memory_unavailable");
    error.retry_after = Some(1);
    error
}
