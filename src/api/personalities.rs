//! `GET /v1/personalities` and `/v1/personalities/{id}`.

use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

use super::Generation;
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
pub async fn show(generation: Generation, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let persona = generation.personalities.get(&id).ok_or_else(|| {
        ApiError::not_found(format!(
            "There is no personality `{id}`. GET /v1/personalities lists those there are."
        ))
        .code("personality_not_found")
    })?;
    Ok(Json(persona.detail()))
}
