//! Who may look at the admin listener through a browser: pages of other sites may not, whatever
//! name they give this address (DNS rebinding), and none of them may change anything.

use std::net::IpAddr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};

use crate::error::ApiError;

/// What programs ask for, by whatever name they know the host.
const OPEN: [&str; 3] = ["/metrics", "/livez", "/readyz"];

/// Answers 403 where a browser may have been led here.
pub async fn guard(request: Request, next: Next) -> Response {
    if !OPEN.contains(&request.uri().path())
        && let Err(why) = judge(request.method(), request.headers())
    {
        return ApiError::new(StatusCode::FORBIDDEN, why).into_response();
    }
    next.run(request).await
}

fn judge(method: &Method, headers: &HeaderMap) -> Result<(), String> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let host = text(header::HOST).unwrap_or_default();
    if !names_an_address(host) {
        return Err(format!(
            "The dashboard is not served under the name `{host}`, which another site could have \
             given this address. Ask for it by address, or as localhost."
        ));
    }
    let is_same = |origin: &str| origin.split_once("://").is_some_and(|(_, at)| at == host);
    let changes = ![Method::GET, Method::HEAD].contains(method);
    match text(header::ORIGIN) {
        Some(origin) if changes && !is_same(origin) => Err(format!(
            "A page of `{origin}` may not change anything here."
        )),
        _ => Ok(()),
    }
}

/// Whether a `Host` is an IP address or localhost, which no other site can be.
fn names_an_address(host: &str) -> bool {
    let port = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, rest)) if port(rest) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || bare.unwrap_or(name).parse::<IpAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_another_sites_is_refused() {
        for host in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "localhost:9090",
            "LOCALHOST",
            "10.0.0.7",
        ] {
            assert!(names_an_address(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example:1",
        ] {
            assert!(!names_an_address(host), "{host}");
        }
    }
}
