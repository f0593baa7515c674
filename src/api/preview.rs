//! `POST /v1/preview`: what a chat request would become, and why. Nothing is sent or saved.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::reply::Query;
use super::{Generation, Who};
use crate::dialect::Dialect;
use crate::error::ApiError;
use crate::memory::Memory;
use crate::telemetry::Ledger;
use crate::turn::{self, HiddenRounds, PrepareContext, Wish};

/// What a preview is made from, beside the generation.
#[derive(Clone)]
pub struct Source {
    /// Absent where memory is switched off.
    pub memory: Option<Arc<Memory>>,
    /// Tool turns that clients have still to go on with.
    pub hidden_rounds: Arc<HiddenRounds>,
}

#[derive(Deserialize)]
pub struct Asked {
    dialect: Option<String>,
}

impl Asked {
    /// The dialect of the request in the body: `chat` where none is named.
    fn dialect(&self) -> Result<Dialect, ApiError> {
        let Some(name) = &self.dialect else {
            return Ok(Dialect::Chat);
        };
        let mut all = Dialect::ALL.into_iter();
        all.find(|known| known.name() == name).ok_or_else(|| {
            let known = Dialect::ALL.map(Dialect::name);
            let message = format!(
                "There is no dialect `{name}`. Ask for one of: {}.",
                known.join(", ")
            );
            ApiError::bad_request(message).param("dialect")
        })
    }
}

/// The body for the upstream that would be asked first, its SHA-256, and each insertion with its
/// reason. The errors are those of the chat route.
pub async fn preview(
    State(source): State<Source>,
    (generation, who): (Generation, Who),
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let context = PrepareContext {
        snapshot: &generation,
        memory: source.memory.as_deref(),
        caller: &who,
        hidden_rounds: &source.hidden_rounds,
        dialect: asked.dialect()?,
        wish: Wish::Answer,
        headers: &headers,
    };
    let turn = turn::prepare(context, body, &mut Ledger::new(Instant::now())).await?;
    Ok(Json(turn.explain(&generation)?))
}
