//! From the client's path to the upstream's.
//!
//! A path that the gateway acts upon is that path however it is written: doubled slashes, a slash at
//! the end and encoded letters change nothing (RFC 3986, section 6.2.2). What only some servers take
//! for the same (other case, an encoded slash, a backslash, `;` and what follows it, `/v1` twice) is
//! refused where it would lead past the gateway, and goes on as it came everywhere else.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::ApiError;

/// How often a lax server is taken to decode a path.
const DECODED: usize = 3;

/// A path as it goes on: one that `is_ours` in its normal form, another as it came.
///
/// # Errors
///
/// 400 where it could climb out of what `base_url` confines callers to, by a `..` in any spelling,
/// and where a lax server would take it for one of ours that it is not.
pub fn spelled(path: &str, is_ours: impl Fn(&str) -> bool) -> Result<Cow<'_, str>, ApiError> {
    if is_plain(path) && is_ours(path) {
        return Ok(Cow::Borrowed(path));
    }
    let lax = lax(path);
    let mut segments = lax.split('/');
    if segments.any(|segment| matches!(segment, "." | "..")) {
        return Err(ApiError::bad_request(
            "The path holds a `.` or `..` segment. Send it resolved.",
        ));
    }
    let normal = collapse(decode_letters(path).split('/'));
    if is_ours(&normal) {
        return Ok(Cow::Owned(normal));
    }
    let meant = meant(&lax);
    if is_ours(&meant) {
        return Err(ApiError::bad_request(format!(
            "The path is another spelling of `{meant}`. Ask for that: in lower case, with one \
             `/v1`, and nothing encoded that need not be."
        )));
    }
    Ok(match is_under_v1(path) {
        true => Cow::Borrowed(path),
        false => Cow::Owned(normal),
    })
}

/// Whether it is one of the API's.
pub fn is_under_v1(path: &str) -> bool {
    path.strip_prefix("/v1")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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

/// Whether it has one spelling alone.
fn is_plain(path: &str) -> bool {
    !path.contains(['%', '\\', ';'])
        && !path.contains("//")
        && !path.contains("/.")
        && !path.ends_with('/')
}

/// With letters, digits, `-`, `.`, `_` and `~` as themselves: they mean the same encoded.
fn decode_letters(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, code) = rest.split_at(at);
        decoded.push_str(before);
        let digits = code.get(1..3).filter(|digits| !digits.contains('+'));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let length = match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(char::from(byte));
                3
            }
            _ => {
                decoded.push('%');
                1
            }
        };
        rest = &code[length..];
    }
    decoded.push_str(rest);
    decoded
}

/// As the laxest server would read it: decoded again and again, with a backslash for a slash, without
/// parameters and without spaces at the ends of its segments.
fn lax(path: &str) -> String {
    let mut path = Cow::Borrowed(path);
    for _ in 0..DECODED {
        if !path.contains('%') {
            break;
        }
        let decoded = percent_decode_str(&path).decode_utf8_lossy().into_owned();
        path = Cow::Owned(decoded);
    }
    let end = path.find(['\0', '?', '#']).unwrap_or(path.len());
    let segments = path[..end].split(['/', '\\']);
    let bare = segments.map(|segment| segment.split(';').next().unwrap_or_default().trim());
    bare.collect::<Vec<_>>().join("/")
}

/// The path of ours that a lax server could take it for.
fn meant(lax: &str) -> String {
    let lower = lax.to_lowercase();
    let segments = lower
        .split('/')
        .map(|segment| segment.trim_end_matches('.'));
    let mut meant = collapse(segments);
    while let Some(rest) = meant.strip_prefix("/v1").filter(|rest| is_under_v1(rest)) {
        meant = rest.to_owned();
    }
    meant
}

fn collapse<'a>(segments: impl Iterator<Item = &'a str>) -> String {
    let mut path = String::new();
    for segment in segments.filter(|segment| !segment.is_empty()) {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(path: &str) -> bool {
        path == "/v1/chat/completions" || path.starts_with("/v1/memories")
    }

    #[test]
    fn a_path_of_ours_is_that_path_however_it_is_written() {
        for path in [
            "/v1/chat/completions",
            "/v1/chat/completions/",
            "/v1/chat/completions//",
            "/v1//chat/completions",
            "//v1/chat///completions",
            "/v1/chat/c%6fmpletions",
            "/%76%31/chat/%63ompletions/",
        ] {
            assert_eq!(
                spelled(path, is_ours).unwrap(),
                "/v1/chat/completions",
                "{path}"
            );
        }
        let of_id = spelled("/v1//memories/a%2Fb%7e%3A/", is_ours);
        assert_eq!(of_id.unwrap(), "/v1/memories/a%2Fb~%3A");
    }

    #[test]
    fn what_a_lax_server_could_take_for_ours_is_refused() {
        for path in [
            "/v1/Chat/Completions",
            "/v1/chat%2Fcompletions",
            "/v1/chat%252fcompletions",
            "/v1/chat\\completions",
            "/v1/chat%5Ccompletions",
            "/v1/chat/completions;a=b",
            "/v1/chat;a=b/completions",
            "/v1/chat/completions%20",
            "/v1/chat/completions%00.js",
            "/v1/chat/completions%3Fa=b",
            "/v1/chat/completions%23a",
            "/v1/chat/completions.",
            "/v1/v1/chat/completions",
            "/v1/v1//V1/chat/completions/",
            "/v1/%25252563hat/../completions",
            "/v1/MEMORIES",
        ] {
            let told = spelled(path, is_ours).expect_err(path).message;
            let named = told.contains("/v1/chat/completions") || told.contains("/v1/memories");
            assert!(named || told.contains("`..`"), "{path}: {told}");
        }
    }

    #[test]
    fn what_is_not_ours_goes_on_as_it_came() {
        for path in [
            "/v1",
            "/v1/",
            "/v1/models/",
            "/v1/files//a/",
            "/v1/Files/A%2fb;c",
            "/v1/a.b",
            "/v1/...",
            "/v1/a..b/.c",
            "/v1/a%20b;..",
            "/v1/x/http://a.example/b",
            "/v1/%zz%",
            "/v1/%E4%BD%A0%ff",
        ] {
            assert_eq!(spelled(path, is_ours), Ok(Cow::Borrowed(path)), "{path}");
        }
        assert_eq!(spelled("//v1/a%2Fb", is_ours).unwrap(), "/v1/a%2Fb");
    }

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
            "/v1/%252e%252e/x",
            "/v1/a/..%20/x",
            "/v1/chat/x/../completions",
        ] {
            assert!(spelled(path, is_ours).is_err(), "{path}");
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
