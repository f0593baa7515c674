//! `GET /v1/tools` and `POST /v1/tools/call`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Generation, reply};
use crate::error::ApiError;
use crate::telemetry::Metrics;
use crate::tools::{CallContext, Outcome};

/// Bytes of a result at most, as in a chat.
const RESULT_CAP: usize = 256 * 1024;

/// `{object:"list",data:[{name,description,parameters,plugin,kind}]}`, by name.
pub async fn list(generation: Generation) -> Json<Value> {
    Json(json!({ "object": "list", "data": generation.tools.list() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    tool_name: String,
    #[serde(default)]
    params: Map<String, Value>,
}

/// Runs one tool, as a model's call of it would: `{success,result}`, where `result` is what the
/// model would be told. 404 for a tool that there is not, 400 for parameters that its schema
/// refuses.
pub async fn call(
    State(metrics): State<Arc<Metrics>>,
    generation: Generation,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let Call { tool_name, params } = reply::body(&body)?;
    let tool = generation.tools.get(&tool_name).ok_or_else(|| {
        let message =
            format!("There is no tool `{tool_name}`. GET /v1/tools lists those there are.");
        ApiError::not_found(message)
            .param("tool_name")
            .code("tool_not_found")
    })?;
    let id = Uuid::now_v7().to_string();
    let limits = CallContext {
        timeout: generation.config.tools.timeout,
        result_cap: RESULT_CAP,
        request_id: &id,
    };
    let answer = tool.call(&Value::from(params).to_string(), limits).await;
    metrics.tools.called(&tool_name, answer.outcome.label());
    let result: Value = serde_json::from_str(&answer.content)
        .unwrap_or_else(|_| Value::from(answer.content.as_str()));
    if answer.outcome == Outcome::InvalidArguments {
        let why = result["error"].as_str().unwrap_or(&answer.content);
        let message = format!("`{tool_name}` does not take these `params`: {why}");
        return Err(ApiError::bad_request(message).param("params"));
    }
    Ok(Json(json!({
        "success": answer.outcome == Outcome::Ok,
        "result": result,
    })))
}
