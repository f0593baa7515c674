//! `GET /v1/personalities` and `/v1/personalities/{id}`.

use axum::Json;
use serde_json::{Value, json};

use super::Generation;
use super::reply::Name;
use crate::error::ApiError;

/// `{object:"list",data:[{id,name,…}]}`, by id.
pub async fn list(generation: Generation) -> Json<Value> {
    let data: Vec<_> = generation
        .personalities
        .iter()
        .map(|persona| persona.summary())
        .collect();
    Json(json!({ "object": "list", "data": data }))
}

/// One personality with the keys of its file, or 404 `personality_not_found`.
pub async fn show(generation: Generation, Name(id): Name) -> Result<Json<Value>, ApiError> {
    let persona = generation.personalities.find(&id)?;
    Ok(Json(persona.detail()))
}
