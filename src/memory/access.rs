//! Single records and lists of them, as the API and the command line ask for them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::Memory;
use super::erasure::{self, Begun, Erased};
use super::left::patterns;
use super::line::check_text;
use super::record::Record;
use super::store::{Audit, Backlog, Page, Selection, StoreError};
use super::writer::{Edit, Job};
use crate::error::ApiError;

/// How long a caller of the API waits for its write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

impl Memory {
    /// Why the store cannot be used at present, as far as is known.
    pub fn trouble(&self) -> Option<String> {
        self.store.trouble()
    }

    /// Adds a record and gives it back once it is on disk; the same text of the same role and
    /// conversation gives the record that is already there.
    ///
    /// # Errors
    ///
    /// 400 or 413 for a bad text, 409 where its memory was erased meanwhile, 503 when the store
    /// refuses.
    pub async fn create(&self, record: Record) -> Result<Record, ApiError> {
        check_text(&record.text)?;
        let begun = Begun {
            at: erasure::now(),
            conversation: record.conversation.clone(),
        };
        self.write(|reply| Job::Create(Box::new(record), begun, reply))
            .await?
            .ok_or_else(|| {
                let message = "the memory was erased while this was on its way to it: send it \
                    again if it is to be kept";
                ApiError::new(http::StatusCode::CONFLICT, message).code("memory_erased")
            })
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
        check_text(&text)?;
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

    /// Erases all that is selected: no turn that began before it is saved after it, here or by
    /// another gateway that shares the store.
    ///
    /// # Errors
    ///
    /// 503 when the store refuses.
    pub async fn erase(&self, tenant: &str, selection: Selection) -> Result<Erased, ApiError> {
        let of = (tenant.to_owned(), selection.clone());
        let erased = self.write(|reply| Job::Erase(of.0, of.1, reply)).await?;
        // Nothing is ever served of them that is not in the store; but they hold texts.
        if let Some(rankings) = &self.rankings {
            rankings.invalidate_all();
        }
        self.known.forget();
        self.standing.forget(tenant, &selection);
        self.notes().erase(tenant, &patterns(&selection)).await;
        Ok(erased)
    }

    /// Rewrites what the store keeps its records in, so that nothing is left there of what was
    /// erased. It takes its time, and may hold up all else.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        self.store.scrub().await
    }

    /// Files that the store has set aside as damaged. What was erased since is still in them.
    pub fn set_aside(&self) -> Vec<PathBuf> {
        self.store.set_aside()
    }

    /// Overwrites one of those and removes it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn destroy(&self, file: &Path) -> Result<(), StoreError> {
        self.store.destroy(file).await
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

    /// A tenant's users, each with the number of its records, in the order of their names: those after
    /// `after`, `limit` at most.
    ///
    /// # Errors
    ///
    /// 503 when the store fails.
    pub async fn users(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, ApiError> {
        self.read(self.store.users(tenant, after, limit)).await
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

    /// What the store answers, in time.
    ///
    /// # Errors
    ///
    /// 503 when it fails or does not answer.
    pub async fn read<T>(
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
    if matches!(error, StoreError::Internal(_)) {
        let message = format!("{error}; nothing was written");
        let status = http::StatusCode::INTERNAL_SERVER_ERROR;
        return ApiError::new(status, message).code("memory_failed");
    }
    unavailable(format!("{error}; nothing was written: try again later"))
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
