//! `GET /v1/usage`: what keys used, by model and day. On the API listener a caller sees its
//! tenant's; on the admin listener, whoever is let in sees all.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Extension, Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::performance::Of;
use super::reply::Query;
use crate::error::ApiError;
use crate::quota::Ledger;
use crate::quota::report::{By, days, report};
use crate::snapshot::Caller;

/// The endpoint, for one listener.
pub fn routes(ledger: Arc<Ledger>, of: Of) -> Router {
    Router::new()
        .route("/v1/usage", get(usage))
        .with_state((ledger, of))
}

#[derive(Deserialize)]
struct Wanted {
    from: Option<String>,
    to: Option<String>,
    by: Option<String>,
}

/// `{object:"list",data:[{key,model,day,requests,input_tokens,cached_tokens,output_tokens,usd}]}`.
async fn usage(
    State((ledger, of)): State<(Arc<Ledger>, Of)>,
    who: Extension<Caller>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, ApiError> {
    let bad = |param: &'static str| {
        move |what: String| ApiError::bad_request(format!("{what}.")).param(param)
    };
    let days = days(wanted.from.as_deref(), wanted.to.as_deref()).map_err(bad("from"))?;
    let by: By = match &wanted.by {
        Some(by) => by.parse().map_err(bad("by"))?,
        None => By::default(),
    };
    let tenant = (of == Of::Tenant).then_some(&*who.tenant);
    let rows = ledger.read(tenant, days).await.map_err(|error| {
        let what = format!("Usage cannot be read: {error}.");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, what)
    })?;
    let data = report(&rows, by, of == Of::Everyone);
    Ok(Json(json!({ "object": "list", "data": data })))
}
