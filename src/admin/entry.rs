//! What happens to a request of the admin listener before its endpoint sees it: its body is read,
//! its key proven where it asks for what users said, and the generation in force is put beside it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::error::ApiError;
use crate::snapshot::{Caller, Store, prove};

/// Bytes of a body at most: memories are texts of some sentences.
const BODY: usize = 1 << 20;
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Lets a request in, or says why not.
pub async fn enter(State(store): State<Arc<Store>>, request: Request, next: Next) -> Response {
    match prepare(&store, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn prepare(store: &Store, request: Request) -> Result<Request, ApiError> {
    let snapshot = store.load();
    let caller = match is_users_own(request.uri().path()) {
        true => prove(request.headers(), &snapshot.keys)?,
        false => Caller::anonymous(),
    };
    let (parts, body) = request.into_parts();
    let body = read(body).await?;
    let mut request = Request::from_parts(parts, body.into());
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(snapshot);
    Ok(request)
}

/// Whether a path shows what users said, for which it takes their app's key.
fn is_users_own(path: &str) -> bool {
    path.starts_with("/v1/memories") || path.starts_with("/v1/conversations")
}

async fn read(body: Body) -> Result<bytes::Bytes, ApiError> {
    if body.size_hint().lower() > BODY as u64 {
        return Err(too_large());
    }
    let reading = timeout(BODY_TIME, Limited::new(body, BODY).collect());
    let read = reading.await.map_err(|_| {
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("The request body did not come within {BODY_TIME:?}."),
        )
    })?;
    read.map(|body| body.to_bytes())
        .map_err(|error| match error.is::<LengthLimitError>() {
            true => too_large(),
            false => ApiError::bad_request("The request body broke off."),
        })
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("The request body is larger than the {BODY} bytes that are taken here."),
    )
}
