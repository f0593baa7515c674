//! What takes `server.admin_key`: whatever changes something, and on an address that others reach
//! everything but metrics, health and the page's own files, which hold nothing.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};

use super::guard::OPEN;
use super::page;
use crate::error::ApiError;
use crate::snapshot::{ADMIN_KEY, Store};
use crate::telemetry::Metrics;

/// What decides who is let through.
#[derive(Clone)]
pub struct Door {
    pub snapshots: Arc<Store>,
    pub metrics: Arc<Metrics>,
    /// Whether others reach the address that is bound, whatever the file says of it by now.
    pub exposed: bool,
}

/// Answers 401 where the key is not shown, 403 where there is none to show.
pub async fn enter(State(door): State<Door>, request: Request, next: Next) -> Response {
    match door.judge(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => door.refuse(refusal),
    }
}

impl Door {
    fn judge(&self, request: &Request) -> Result<(), ApiError> {
        let path = request.uri().path();
        if OPEN.contains(&path) || page::is_file(path) {
            return Ok(());
        }
        if !self.exposed && !changes(request.method(), path) {
            return Ok(());
        }
        let snapshot = self.snapshots.load();
        match snapshot.admin_key.is_set() {
            true => snapshot.admin_key.prove(request.headers()),
            false if self.exposed => Err(no_key(
                "Others than this machine reach the admin listener, and without a key it shows \
                 metrics and health alone",
                ", or put server.admin_listen on 127.0.0.1",
            )),
            false => Err(no_key("Nothing is changed here without a key", "")),
        }
    }

    fn refuse(&self, refusal: ApiError) -> Response {
        let mut response = refusal.into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            self.metrics.auth_failures.inc();
            let bearer = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

/// Whether a request may change something: all but those that are known to look.
fn changes(method: &Method, path: &str) -> bool {
    let looks = [Method::GET, Method::HEAD].contains(method);
    let searches = method == Method::POST && path == "/v1/memories/search";
    !looks && !searches
}

fn no_key(what: &str, or_else: &str) -> ApiError {
    let message = format!("{what}: set {ADMIN_KEY} (YYCHAT_ADMIN_KEY) and send that key{or_else}.");
    ApiError::new(StatusCode::FORBIDDEN, message).param(ADMIN_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_look_changes() {
        for (method, path) in [
            (Method::GET, "/v1/memories/export"),
            (Method::HEAD, "/status"),
            (Method::POST, "/v1/memories/search"),
        ] {
            assert!(!changes(&method, path), "{method} {path}");
        }
        for (method, path) in [
            (Method::POST, "/v1/memories"),
            (Method::POST, "/v1/memories/search/"),
            (Method::PUT, "/v1/memories/search"),
            (Method::DELETE, "/v1/performance/clear"),
            (Method::OPTIONS, "/status"),
            (Method::PATCH, "/whatever-comes"),
        ] {
            assert!(changes(&method, path), "{method} {path}");
        }
    }
}
