//! The dashboard page and what it is made of, as files in the binary.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderName, header};

/// Nothing but the page's own files, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal $name:literal $kind:ident),+ $(,)?) => {
        [$(($path, $kind, include_str!(concat!("page/", $name)))),+]
    };
}
const FILES: [(&str, &str, &str); 15] = files![
    "/" "index.html" HTML,
    "/page.css" "page.css" CSS,
    "/page.js" "page.js" SCRIPT,
    "/ask.js" "ask.js" SCRIPT,
    "/draw.js" "draw.js" SCRIPT,
    "/find.js" "find.js" SCRIPT,
    "/gateway.js" "gateway.js" SCRIPT,
    "/history.js" "history.js" SCRIPT,
    "/memories.js" "memories.js" SCRIPT,
    "/overview.js" "overview.js" SCRIPT,
    "/personas.js" "personas.js" SCRIPT,
    "/records.js" "records.js" SCRIPT,
    "/requests.js" "requests.js" SCRIPT,
    "/usage.js" "usage.js" SCRIPT,
    "/words.js" "words.js" SCRIPT,
];

/// A route for each file.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(async move || file(kind, text)))
        })
}

/// Whether a path is one of the page's own files, which show nothing of the gateway.
pub fn is_file(path: &str) -> bool {
    FILES.iter().any(|(own, _, _)| *own == path)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    (headers, text).into_response()
}
