//! `POST /v1/preview`: what a chat request would become, and why. Nothing is sent or saved.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use http::HeaderMap;
use serde_json::Value;

use super::{Generation, Who};
use crate::error::ApiError;
use crate::memory::Memory;
use crate::telemetry::Ledger;
use crate::turn::{self, HiddenRounds, PrepareContext};

/// What a preview is made from, beside the generation.
#[derive(Clone)]
pub struct Source {
    /// Absent where memory is switched off.
    pub memory: Option<Arc<Memory>>,
    /// Tool turns that clients have still to go on with.
    pub hidden_rounds: Arc<HiddenRounds>,
}

/// The body for the upstream that would be asked first, its SHA-256, and each insertion with its
/// reason. The errors are those of the chat route.
pub async fn preview(
    State(source): State<Source>,
    generation: Generation,
    who: Who,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let asked = PrepareContext {
        snapshot: &generation,
        memory: source.memory.as_deref(),
        caller: &who,
        hidden_rounds: &source.hidden_rounds,
        headers: &headers,
    };
    let turn = turn::prepare(asked, body, &mut Ledger::new(Instant::now())).await?;
    Ok(Json(turn.explain(&generation)?))
}
