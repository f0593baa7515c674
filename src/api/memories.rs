//! `/v1/memories…` and `/v1/conversations/{id}/memory`: a tenant's own records, and nobody
//! else's.
//!
//! The tenant is the one that the caller's key proves. A user, where one is named (the query's
//! `user_id` or `X-YYChat-User-Id`), narrows it further; another's record is a 404.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::request;
use http::{Extensions, HeaderMap, StatusCode};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reply::{Name, Query, body};
use super::{Generation, Who};
use crate::error::ApiError;
use crate::memory::{
    Beside, Clock, Line, Memory, Page, Question, RecallQuery, Record, Scope, Selection, Source,
    valid_id,
};
use crate::snapshot::Snapshot;
use crate::turn::time_zone;

/// Records on a page where the caller does not say.
const PAGE: usize = 50;
/// Records on a page at most.
const PAGE_MOST: usize = 1000;

/// Memory, or `None` where it is switched off.
pub type Remembering = State<Option<Arc<Memory>>>;

/// What narrows a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrow {
    user_id: Option<String>,
    conversation_id: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Narrow {
    fn of_conversation(self, id: String) -> Self {
        Self {
            conversation_id: Some(id),
            ..self
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Narrow {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        query.map(|Query(narrow)| narrow).map_err(|mut refusal| {
            refusal.message += " It takes user_id, conversation_id, limit and cursor.";
            refusal
        })
    }
}

/// A record as these endpoints show it. The tenant is the caller's own and left out.
fn show(record: &Record, score: Option<f32>) -> Value {
    #[derive(Serialize)]
    struct Shown {
        object: &'static str,
        #[serde(flatten)]
        line: Line,
        #[serde(skip_serializing_if = "Option::is_none")]
        score: Option<f32>,
    }
    let mut line = Line::from(record);
    line.tenant = None;
    json!(Shown {
        object: "memory",
        line,
        score,
    })
}

/// `GET /v1/memories?user_id=&conversation_id=&limit=&cursor=`:
/// `{object:"list",data:[…],total,has_more,next_cursor}`, the newest first.
pub async fn list(
    State(memory): Remembering,
    who: Who,
    headers: HeaderMap,
    narrow: Narrow,
) -> Result<Json<Value>, ApiError> {
    let selection = selection(&who, &headers, &narrow)?;
    page(on(&memory)?, &who, &selection, &narrow).await
}

/// `POST /v1/memories` `{user_id,conversation_id,role,text,created_at}`: 201 and the record, once
/// it is synced to disk.
pub async fn create(
    State(memory): Remembering,
    who: Who,
    generation: Generation,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    let mut line: Line = body(&bytes)?;
    line.id = None;
    line.tenant = Some(who.tenant.to_string());
    line.source = Some(Source::Api);
    line.history = Vec::new();
    line.request_id = None;
    line.generation = generation.generation;
    if let Some(user) = named_user(&headers)? {
        line.user_id = Some(user);
    }
    let record = line.into_record(&who.tenant, now())?;
    let stored = on(&memory)?.create(record).await?;
    Ok((StatusCode::CREATED, Json(show(&stored, None))).into_response())
}

/// `GET /v1/memories/{id}`: the record, and what it has to do with others of its scope.
pub async fn get(
    State(memory): Remembering,
    who: Who,
    headers: HeaderMap,
    Name(id): Name,
) -> Result<Json<Value>, ApiError> {
    let user = named_user(&headers)?;
    let memory = on(&memory)?;
    let record = memory.get(&who.tenant, user.as_deref(), &id).await?;
    let beside = memory.beside(&record).await?;
    Ok(Json(json!(Whole {
        record: show(&record, None),
        beside,
    })))
}

#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    record: Value,
    #[serde(flatten)]
    beside: Beside,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    text: String,
}

/// `PUT /v1/memories/{id}` `{text}`; the old text stays in the record's history.
pub async fn update(
    State(memory): Remembering,
    who: Who,
    headers: HeaderMap,
    Name(id): Name,
    bytes: Bytes,
) -> Result<Json<Value>, ApiError> {
    let edit: Edit = body(&bytes)?;
    let user = named_user(&headers)?;
    let record = on(&memory)?
        .update(&who.tenant, user.as_deref(), (&id, edit.text))
        .await?;
    Ok(Json(show(&record, None)))
}

/// `DELETE /v1/memories/{id}`: `{id,deleted}`.
pub async fn delete(
    State(memory): Remembering,
    who: Who,
    headers: HeaderMap,
    Name(id): Name,
) -> Result<Json<Value>, ApiError> {
    let user = named_user(&headers)?;
    on(&memory)?
        .delete(&who.tenant, user.as_deref(), &id)
        .await?;
    Ok(Json(
        json!({ "id": id, "object": "memory", "deleted": true }),
    ))
}

/// `DELETE /v1/memories?user_id=`: everything of a user, `{deleted_count,erased_at}`. Without a user or a
/// conversation it is refused: a slip must not empty a tenant.
pub async fn delete_selected(
    State(memory): Remembering,
    who: Who,
    headers: HeaderMap,
    narrow: Narrow,
) -> Result<Json<Value>, ApiError> {
    let selection = selection(&who, &headers, &narrow)?;
    if selection == Selection::All {
        return Err(ApiError::bad_request(
            "Whose memories? Name a user_id or a conversation_id in the query.",
        )
        .param("user_id"));
    }
    let erased = on(&memory)?.erase(&who.tenant, selection).await?;
    let at = jiff::Timestamp::from_microsecond(erased.at).ok();
    Ok(Json(
        json!({ "deleted_count": erased.records, "erased_at": at }),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
    user_id: Option<String>,
    conversation_id: Option<String>,
    #[serde(default)]
    context: Vec<String>,
    /// JSON knows no whole numbers: `10.0` is one too.
    limit: Option<f64>,
}

/// `POST /v1/memories/search` `{query,user_id,conversation_id,context,limit}`: the ranking that a
/// chat request would use, with scores. Of no user and no conversation there is nothing to find.
pub async fn search(
    State(memory): Remembering,
    who: Who,
    (headers, extensions): (HeaderMap, Extensions),
    bytes: Bytes,
) -> Result<Json<Value>, ApiError> {
    let search: Search = body(&bytes)?;
    let user = named_user(&headers)?.or(search.user_id);
    let scope = scope(&who, user.as_deref(), search.conversation_id.as_deref())?;
    let configured = || {
        let snapshot = extensions.get::<Arc<Snapshot>>();
        snapshot.map(|it| it.config.memory.time_zone.clone())
    };
    let zone = time_zone(&headers)?.or_else(configured);
    let query = RecallQuery {
        question: Question::new(search.query, search.context).into(),
        limit: found_at_most(search.limit),
        deadline: std::time::Duration::from_secs(10),
        clock: Clock {
            now: now(),
            zone: zone.unwrap_or(TimeZone::UTC),
        },
        ..RecallQuery::default()
    };
    let recall = on(&memory)?.recall(&scope, &query).await;
    let data: Vec<_> = recall
        .records
        .iter()
        .map(|found| show(&found.record, Some(found.score)))
        .collect();
    Ok(Json(json!({
        "object": "list",
        "outcome": recall.outcome.name(),
        "cached": recall.cached,
        "data": data,
    })))
}

/// `GET /v1/conversations/{id}/memory?limit=&cursor=`.
pub async fn conversation(
    memory: Remembering,
    who: Who,
    headers: HeaderMap,
    Name(id): Name,
    narrow: Narrow,
) -> Result<Json<Value>, ApiError> {
    list(memory, who, headers, narrow.of_conversation(id)).await
}

/// `DELETE /v1/conversations/{id}/memory`: `{deleted_count}`.
pub async fn delete_conversation(
    memory: Remembering,
    who: Who,
    headers: HeaderMap,
    Name(id): Name,
    narrow: Narrow,
) -> Result<Json<Value>, ApiError> {
    delete_selected(memory, who, headers, narrow.of_conversation(id)).await
}

async fn page(
    memory: &Memory,
    who: &Who,
    selection: &Selection,
    narrow: &Narrow,
) -> Result<Json<Value>, ApiError> {
    let limit = narrow.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MOST {
        return Err(
            ApiError::bad_request(format!("limit is {limit}. Send 1 to {PAGE_MOST}."))
                .param("limit"),
        );
    }
    let Page {
        records,
        total,
        more,
    } = memory
        .list(&who.tenant, selection, narrow.cursor.as_deref(), limit)
        .await?;
    let data: Vec<_> = records.iter().map(|record| show(record, None)).collect();
    let next = records.last().filter(|_| more).map(|record| record.id);
    Ok(Json(json!({
        "object": "list",
        "data": data,
        "total": total,
        "has_more": more,
        "next_cursor": next,
    })))
}

pub(super) fn selection(
    who: &Who,
    headers: &HeaderMap,
    narrow: &Narrow,
) -> Result<Selection, ApiError> {
    if let Some(user) = &narrow.user_id {
        valid_id("user_id", user.as_bytes())?;
    }
    let user = named_user(headers)?.or_else(|| narrow.user_id.clone());
    if let Some(conversation) = &narrow.conversation_id {
        valid_id("conversation_id", conversation.as_bytes())?;
        return Ok(Selection::Conversation {
            id: conversation.clone(),
            user,
        });
    }
    Ok(match Scope::of(&who.tenant, user.as_deref(), None) {
        Some(scope) => Selection::Scope(scope),
        None => Selection::All,
    })
}

/// How many records a search gives.
fn found_at_most(limit: Option<f64>) -> usize {
    let wanted = limit.unwrap_or(10.0);
    (1..PAGE_MOST)
        .find(|&count| count as f64 >= wanted)
        .unwrap_or(PAGE_MOST)
}

fn scope(who: &Who, user: Option<&str>, conversation: Option<&str>) -> Result<Scope, ApiError> {
    for (what, id) in [("user_id", user), ("conversation_id", conversation)] {
        if let Some(id) = id {
            valid_id(what, id.as_bytes())?;
        }
    }
    Scope::of(&who.tenant, user, conversation).ok_or_else(|| {
        ApiError::bad_request("Whose memory? Name a user_id or a conversation_id.").param("user_id")
    })
}

fn named_user(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("x-yychat-user-id") else {
        return Ok(None);
    };
    let decoded = percent_encoding::percent_decode(value.as_bytes().trim_ascii());
    let user = decoded.decode_utf8().map_err(|_| {
        ApiError::bad_request("X-YYChat-User-Id is not UTF-8.").param("X-YYChat-User-Id")
    })?;
    if user.is_empty() {
        return Ok(None);
    }
    valid_id("X-YYChat-User-Id", user.as_bytes())?;
    Ok(Some(user.into_owned()))
}

pub(super) fn on(memory: &Option<Arc<Memory>>) -> Result<&Memory, ApiError> {
    memory.as_deref().ok_or_else(disabled)
}

pub(super) fn disabled() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "Memory is switched off here. Set memory.enabled = true and restart.",
    )
    .code("memory_disabled")
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
