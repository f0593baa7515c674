//! The gateway's keys end here: they are taken out of a request when it is admitted, wherever they
//! stand and however they are written, so that nothing that is made of it can have them.
//!
//! A key is known by its value, not by the name of its field. Bodies are not searched.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri, header};
use pingora::http::RequestHeader;

use crate::error::ApiError;
use crate::snapshot::KeyFinder;

/// Takes what holds a key out of the query and the fields of `request`.
///
/// # Errors
///
/// 400 where a key stands in the path, of which nothing can be taken out.
pub fn strip(request: &mut RequestHeader, keys: &KeyFinder) -> Result<(), ApiError> {
    if keys.is_idle() {
        return Ok(());
    }
    if keys.is_in(request.uri.path().as_bytes()) {
        return Err(misplaced("path"));
    }
    if let Some(query) = request.uri.query()
        && keys.is_in(query.as_bytes())
    {
        let uri = without(&request.uri, query, keys)?;
        request.set_uri(uri);
    }
    let mut leaking: Vec<HeaderName> = Vec::new();
    for (name, value) in &request.headers {
        let leaks = || keys.is_in(value.as_bytes()) || keys.is_in_name(name.as_str());
        if leaking.last() != Some(name) && leaks() {
            leaking.push(name.clone());
        }
    }
    for name in leaking {
        strip_field(request, name, keys)?;
    }
    Ok(())
}

/// The parameters of `query` that hold no key.
fn without(uri: &Uri, query: &str, keys: &KeyFinder) -> Result<Uri, ApiError> {
    let kept: Vec<_> = query
        .split('&')
        .filter(|parameter| !keys.is_in(parameter.as_bytes()))
        .collect();
    let kept = kept.join("&");
    // One that holds `&` stands across parameters.
    if keys.is_in(kept.as_bytes()) {
        return Err(misplaced("query"));
    }
    let path = uri.path();
    let target = match kept.is_empty() {
        true => path.to_owned(),
        false => [path, "?", &kept].concat(),
    };
    // It is a part of one that was valid.
    let target = PathAndQuery::try_from(target).map_err(|_| misplaced("query"))?;
    Ok(target.into())
}

/// Takes out the lines of a field that hold a key; of those that are lists, the items alone.
fn strip_field(
    request: &mut RequestHeader,
    name: HeaderName,
    keys: &KeyFinder,
) -> Result<(), ApiError> {
    let separator = match name {
        _ if keys.is_in_name(name.as_str()) => None,
        header::COOKIE => Some(b';'),
        header::SEC_WEBSOCKET_PROTOCOL => Some(b','),
        _ => None,
    };
    let lines = request.headers.get_all(&name).into_iter();
    let kept: Vec<_> = match separator {
        Some(separator) => lines
            .filter_map(|line| items_without(line, separator, keys))
            .collect(),
        None => lines
            .filter(|line| !keys.is_in(line.as_bytes()) && !keys.is_in_name(name.as_str()))
            .cloned()
            .collect(),
    };
    request.remove_header(&name);
    for line in kept {
        let appended = request.append_header(name.clone(), line);
        appended.map_err(|_| misplaced("header"))?;
    }
    Ok(())
}

/// The items of a list that hold no key; `None` where there are none.
fn items_without(line: &HeaderValue, separator: u8, keys: &KeyFinder) -> Option<HeaderValue> {
    let items = line.as_bytes().split(|&byte| byte == separator);
    let kept: Vec<_> = items
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty() && !keys.is_in(item))
        .collect();
    let kept = kept.join(&[separator, b' '][..]);
    (!kept.is_empty() && !keys.is_in(&kept))
        .then(|| HeaderValue::from_bytes(&kept).ok())
        .flatten()
}

fn misplaced(place: &str) -> ApiError {
    ApiError::bad_request(format!(
        "A key of this gateway stands in the {place} of the request, which goes on to an upstream. \
         Send it in `Authorization`, `x-api-key` or `api-key`."
    ))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use http::Method;

    use super::*;

    const KEY: &str = "key-of-app-0123456789";

    /// The target and the fields that are left.
    fn stripped(target: &str, fields: &[(&'static str, &str)]) -> Result<String, String> {
        let keys = KeyFinder::new([KEY.as_bytes(), b"an&other-0123456789"]);
        let mut request = RequestHeader::build(Method::GET, target.as_bytes(), None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        strip(&mut request, &keys).map_err(|error| error.message)?;
        let lines = request.headers.iter().map(|(name, value)| {
            format!("\n{name}: {}", String::from_utf8_lossy(value.as_bytes()))
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        Ok(format!("{}{}", request.uri, lines.concat()))
    }

    #[test]
    fn a_key_is_taken_out_wherever_it_stands() {
        let basic = format!("Basic {}", STANDARD.encode(format!("user:{KEY}")));
        let encoded = KEY.replace('k', "%6B");
        for (fields, left) in [
            (&[("authorization", &*format!("Bearer {KEY}"))][..], ""),
            (&[("authorization", &basic)], ""),
            (
                &[("x-goog-api-key", KEY), ("accept", "*/*")],
                "\naccept: */*",
            ),
            (&[("x-anything", &encoded)], ""),
            (&[("x-key-of-app-0123456789", "1")], ""),
            (
                &[("x-a", "1"), ("x-a", KEY), ("x-a", "2"), ("x-b", "3")],
                "\nx-a: 1\nx-a: 2\nx-b: 3",
            ),
            (
                &[("cookie", &format!("a=1; key={KEY}; b=2"))],
                "\ncookie: a=1; b=2",
            ),
            (&[("cookie", &format!("key={KEY}"))], ""),
            (
                &[(
                    "sec-websocket-protocol",
                    &format!("realtime,openai-insecure-api-key.{KEY}, beta"),
                )],
                "\nsec-websocket-protocol: realtime, beta",
            ),
        ] {
            assert_eq!(stripped("/v1/a", fields), Ok(format!("/v1/a{left}")));
        }
        for (target, left) in [
            (format!("/v1/a?key={KEY}"), "/v1/a"),
            (
                format!("/v1/a?a=b&api_key={encoded}&c=%20d"),
                "/v1/a?a=b&c=%20d",
            ),
            (format!("/v1/a?{KEY}=1&c"), "/v1/a?c"),
        ] {
            assert_eq!(stripped(&target, &[]), Ok(left.into()));
        }
    }

    #[test]
    fn where_nothing_can_be_taken_out_the_request_is_refused() {
        for target in [
            format!("/v1/{KEY}/models"),
            format!("/v1/{}", KEY.replace('-', "%2d")),
            "/v1/a?k=an&other-0123456789".to_owned(),
        ] {
            let told = stripped(&target, &[]).unwrap_err();
            assert!(told.contains("A key of this gateway") && !told.contains(KEY));
        }
    }

    #[test]
    fn what_holds_no_key_stays_as_it_came() {
        let fields = [
            ("authorization", "Bearer sk-of-the-callers-own"),
            ("cookie", "a=1;b=2 ; "),
            (
                "sec-websocket-protocol",
                "openai-insecure-api-key.sk-theirs,x",
            ),
        ];
        let lines = fields.map(|(name, value)| format!("\n{name}: {value}"));
        let left = format!("/v1/a?x&&y={}", lines.concat());
        assert_eq!(stripped("/v1/a?x&&y=", &fields), Ok(left));
    }
}
