//! Errors of the local endpoints, in OpenAI's shape, and what is read of a request so that its
//! refusals have it too.

use axum::extract::{self, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, headers, self.body()).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// What the query says.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = extract::Query::<T>::from_request_parts(parts, state).await;
        let query = query.map_err(|refusal| refused("query", &refusal.body_text()))?;
        Ok(Self(query.0))
    }
}

/// The one name in a path such as `/v1/memories/{id}`.
#[derive(Debug)]
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = extract::Path::<String>::from_request_parts(parts, state).await;
        let path = path.map_err(|refusal| refused("path", &refusal.body_text()))?;
        Ok(Self(path.0))
    }
}

fn refused(what: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!("The {what} is not valid: {why}."))
}

/// Reads a JSON body.
///
/// # Errors
///
/// 400 that says where it went wrong.
pub fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("The request body is not valid: {error}.")))
}

pub async fn no_such_endpoint(request: Request) -> ApiError {
    ApiError::not_found(format!("There is nothing at `{}`.", request.uri().path()))
}

pub async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "`{}` does not take {}.",
            request.uri().path(),
            request.method()
        ),
    )
}
