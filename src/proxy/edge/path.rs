//! From the client's path to the upstream's.

use http::Uri;
use url::Url;

use crate::error::ApiError;

/// Refuses a path that could climb out of the one that `base_url` confines callers to: a `..`,
/// plain, encoded, or with parameters behind it.
pub fn expect_resolved(path: &str) -> Result<(), ApiError> {
    if !path.contains(['.', '%']) {
        return Ok(());
    }
    let plain = path.to_ascii_lowercase().replace("%2e", ".");
    let plain = plain.replace("%2f", "/").replace("%5c", "/");
    let mut segments = plain
        .split(['/', '\\'])
        .map(|segment| segment.split(';').next());
    if segments.any(|segment| matches!(segment, Some("." | ".."))) {
        return Err(ApiError::bad_request(
            "The path holds a `.` or `..` segment. Send it resolved.",
        ));
    }
    Ok(())
}

/// The upstream's path for the client's: what follows `/v1`, under the path of `base`.
pub fn under(client: &Uri, base: &Url) -> String {
    let path = client.path();
    let rest = path.strip_prefix("/v1").unwrap_or(path);
    let prefix = base.path().trim_end_matches('/');
    match client.query() {
        Some(query) => [prefix, rest, "?", query].concat(),
        None => [prefix, rest].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_dot_segment_in_any_spelling_is_refused() {
        for path in [
            "/v1/..",
            "/v1/../x",
            "/v1/./x",
            "/v1/a/%2e%2E/x",
            "/v1/.%2e",
            "/v1/a%2f..%2fx",
            "/v1/a%5C..",
            "/v1/a\\..\\x",
            "/v1/..;x=1/y",
        ] {
            assert!(expect_resolved(path).is_err(), "{path}");
        }
        for path in ["/v1/a", "/v1/a.b", "/v1/...", "/v1/a..b/.c", "/v1/a%20b;.."] {
            assert_eq!(expect_resolved(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn what_follows_v1_stands_under_the_upstreams_path() {
        let under = |client: &'static str, base: &str| {
            super::under(&Uri::from_static(client), &base.parse().unwrap())
        };
        assert_eq!(under("/v1/models", "http://u/"), "/models");
        assert_eq!(under("/v1/models", "http://u/v1"), "/v1/models");
        assert_eq!(under("/v1/a?b=c&d", "http://u/x/v2/"), "/x/v2/a?b=c&d");
        assert_eq!(under("/v1", "http://u/v1"), "/v1");
        assert_eq!(under("http://other/v1/a", "http://u/v1"), "/v1/a");
    }
}
