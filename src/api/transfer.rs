//! `/v1/memories/users`, `/v1/memories/export` and `/v1/memories/import`: a tenant's memory as a whole.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Who;
use super::memories::{Narrow, Remembering, disabled, on, selection};
use super::reply::Query;
use crate::error::ApiError;
use crate::memory::{Import, ImportError, Line, Memory, Parts, lines, valid_id};

/// Users on a page where the caller does not say, and at most.
const PAGE: usize = 100;
const PAGE_MOST: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET /v1/memories/users?limit=&cursor=`:
/// `{object:"list",data:[{user_id,records}],has_more,next_cursor}`, by name.
pub async fn users(
    memory: Remembering,
    who: Who,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, ApiError> {
    let limit = wanted.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MOST {
        let message = format!("limit is {limit}. Send 1 to {PAGE_MOST}.");
        return Err(ApiError::bad_request(message).param("limit"));
    }
    let after = wanted.cursor.as_deref();
    if let Some(after) = after {
        valid_id("cursor", after.as_bytes())?;
    }
    // One more tells whether there are more.
    let mut users = on(&memory)?.users(&who.tenant, after, limit + 1).await?;
    let has_more = users.len() > limit;
    users.truncate(limit);
    let next = users.last().filter(|_| has_more);
    let next = next.map(|(user, _)| user.clone());
    let data = users.iter();
    let data: Vec<_> = data
        .map(|(user, records)| json!({ "user_id": user, "records": records }))
        .collect();
    Ok(Json(json!({
        "object": "list", "data": data, "has_more": has_more, "next_cursor": next,
    })))
}

/// `GET /v1/memories/export?user_id=`: every record of a user as lines of JSON, which
/// `yychat memory import` takes back. They are read as the client takes them.
pub async fn export(
    State(memory): Remembering,
    who: Who,
    headers: HeaderMap,
    narrow: Narrow,
) -> Result<Response, ApiError> {
    let selection = selection(&who, &headers, &narrow)?;
    let memory = memory.ok_or_else(disabled)?;
    let mut parts = memory.parts(Some((&who.tenant, &selection)));
    // A store that refuses is told of before the answer has begun.
    let first = next_lines(&memory, &mut parts).await?;
    let rest = stream::try_unfold((memory, parts), async |(memory, mut parts)| {
        let lines = next_lines(&memory, &mut parts).await?;
        Ok::<_, ApiError>(lines.map(|lines| (lines, (memory, parts))))
    });
    let all = stream::iter(first.map(Ok)).chain(rest);
    Ok((
        [(header::CONTENT_TYPE, "application/jsonl")],
        Body::from_stream(all),
    )
        .into_response())
}

async fn next_lines(memory: &Memory, parts: &mut Parts) -> Result<Option<Bytes>, ApiError> {
    let records = memory.read(memory.next_part(parts)).await?;
    Ok(records.map(|records| lines(&records).into()))
}

/// `POST /v1/memories/import`, lines of JSON as the export gives them: `{imported}`. Whatever tenant a
/// line names, it becomes the caller's; a record that is there already is replaced.
pub async fn import(memory: Remembering, who: Who, bytes: Bytes) -> Result<Json<Value>, ApiError> {
    let memory = on(&memory)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let what = format!(
            "The body is not UTF-8 from byte {} on.",
            error.valid_up_to()
        );
        ApiError::bad_request(what)
    })?;
    let mut lines = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if !line.trim().is_empty() {
            let line: Line = serde_json::from_str(line).map_err(|error| bad(at + 1, error))?;
            let own = Line {
                tenant: Some(who.tenant.to_string()),
                ..line
            };
            serde_json::to_writer(&mut lines, &own).map_err(|error| bad(at + 1, error))?;
        }
        lines.push(b'\n');
    }
    let how = Import {
        tenant: &who.tenant,
        from_line: 1,
        now: jiff::Timestamp::now().as_millisecond(),
        told: &mut |_| {},
    };
    let imported = memory.import(&mut &*lines, how).await;
    let imported = imported.map_err(|error| match error {
        ImportError::Line { line, what, stored } => bad(
            line,
            format!("{what} ({stored} records before it are stored)"),
        ),
        error => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("The import broke off: {error}. Try again."),
        )
        .code("memory_unavailable"),
    })?;
    Ok(Json(json!({ "imported": imported.records })))
}

fn bad(line: usize, what: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!(
        "Line {line} is no record: {what}. Send lines as GET /v1/memories/export gives them."
    ))
    .param(format!("line {line}"))
}
