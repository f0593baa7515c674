//! Judging a raw HTTP/1 header section: what two readers could read in two ways is refused.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::config::model::Config;
use crate::error::ApiError;

/// What a header section may be.
#[derive(Debug, Clone, Copy)]
pub struct HeaderLimits {
    /// Bytes at most.
    pub bytes: usize,
    /// Fields at most.
    pub fields: usize,
    /// From the first byte to the blank line.
    pub time: Duration,
}

impl HeaderLimits {
    /// Those that an operator has set.
    pub fn of(config: &Config) -> Self {
        Self {
            bytes: config.limits.header_bytes,
            fields: config.limits.header_fields,
            time: config.timeouts.header,
        }
    }
}

/// Finds the end of the header section (just past the blank line) in `bytes`, going on from
/// `searched`. `Ok(None)`: it has not come yet. A line not ended by CRLF is refused as soon as it
/// is seen, since a reader that takes a bare LF would find another end.
pub fn header_end(bytes: &[u8], searched: &mut usize) -> Result<Option<usize>, ApiError> {
    while let Some(offset) = memchr::memchr2(b'\n', b'\r', &bytes[*searched..]) {
        let at = *searched + offset;
        if bytes[at] == b'\n' {
            return Err(malformed(
                "a header line ends in a bare LF; lines end in CRLF",
            ));
        }
        match bytes.get(at + 1) {
            None => {
                *searched = at;
                return Ok(None);
            }
            Some(b'\n') if bytes[..at].ends_with(b"\r\n") => return Ok(Some(at + 2)),
            Some(b'\n') => *searched = at + 2,
            Some(_) => return Err(malformed("a header line holds a bare CR")),
        }
    }
    *searched = bytes.len();
    Ok(None)
}

/// Judges a whole header section, blank line included, of at most `max_fields` fields.
pub fn inspect(section: &[u8], max_fields: usize) -> Result<(), ApiError> {
    let mut lines = section
        .strip_suffix(b"\r\n\r\n")
        .unwrap_or(section)
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request_line = lines.next().unwrap_or_default();
    let version_1_0 = inspect_request_line(request_line)?;
    let mut seen = Seen::default();
    for (number, line) in lines.enumerate() {
        if number >= max_fields {
            return Err(ApiError::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                format!(
                    "The request has more than {max_fields} header fields. Send fewer, or raise \
                     limits.header_fields."
                ),
            ));
        }
        seen.field(line)?;
    }
    seen.judge(version_1_0)
}

/// Gives whether the version is HTTP/1.0.
fn inspect_request_line(line: &[u8]) -> Result<bool, ApiError> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed(
            "the request line is not `METHOD target HTTP/1.1` with single spaces",
        ));
    };
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(malformed("the request method is not a token"));
    }
    if method == b"CONNECT" {
        return Err(ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "CONNECT is not served: this is a gateway to an API, not a forward proxy.",
        ));
    }
    if target.is_empty() || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return Err(malformed("the request target holds a control character"));
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err(ApiError::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "The HTTP version is not one of HTTP/1.0, HTTP/1.1 and HTTP/2.",
        )),
    }
}

/// Makes of a target that names scheme and host, as it is sent to forward proxies, the path that it is for a
/// server (RFC 9112, section 3.2.2). Whose host is meant is nothing that the gateway goes by.
pub fn take_host_off(section: &mut BytesMut) {
    let Some((before, path)) = before_path(section) else {
        return;
    };
    let slash: &[u8] = match section.get(path) {
        Some(b'/') => b"",
        _ => b"/",
    };
    let parts = [&section[..before], slash, &section[path..]].concat();
    *section = BytesMut::from(&parts[..]);
}

/// Where scheme and host begin, and where they end.
fn before_path(section: &[u8]) -> Option<(usize, usize)> {
    let begins = memchr::memchr(b' ', section)? + 1;
    let target = section[begins..].split(|&byte| byte == b' ').next()?;
    let is = |scheme: &&&[u8]| {
        let start = target.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let scheme = schemes.iter().find(is)?.len();
    let host = &target[scheme..];
    let host = host
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let end = host.map_or(target.len(), |host| scheme + host);
    Some((begins, begins + end))
}

/// The fields that decide where a request ends and whom it is for.
#[derive(Default)]
struct Seen {
    hosts: usize,
    content_lengths: usize,
    transfer_encodings: usize,
}

impl Seen {
    fn field(&mut self, line: &[u8]) -> Result<(), ApiError> {
        if line
            .first()
            .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
        {
            return Err(malformed(
                "a header line is folded (it begins with white space)",
            ));
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err(malformed("a header line has no colon"));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return Err(malformed("a header field's name is not a token"));
        }
        if holds_control(value) {
            return Err(malformed(format!(
                "the header field {} holds a control character",
                String::from_utf8_lossy(name)
            )));
        }
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.content_lengths += 1;
            // 18 digits stay below 2^63, so that no reader's integer wraps.
            if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
                return Err(malformed("Content-Length is not a plain decimal number"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.transfer_encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(malformed("Transfer-Encoding is other than `chunked` alone"));
            }
        }
        Ok(())
    }

    fn judge(&self, version_1_0: bool) -> Result<(), ApiError> {
        if self.hosts > 1 || (self.hosts == 0 && !version_1_0) {
            return Err(malformed("exactly one Host header field is needed"));
        }
        if self.content_lengths > 1 {
            return Err(malformed("Content-Length stands more than once"));
        }
        if self.transfer_encodings > 1 {
            return Err(malformed("Transfer-Encoding stands more than once"));
        }
        if self.transfer_encodings > 0 && self.content_lengths > 0 {
            return Err(malformed(
                "Content-Length and Transfer-Encoding stand together; send one of them",
            ));
        }
        if self.transfer_encodings > 0 && version_1_0 {
            return Err(malformed("HTTP/1.0 has no Transfer-Encoding"));
        }
        Ok(())
    }
}

/// A whole HTTP/1 answer, for clients that are turned away before anything parses them.
pub fn refusal(error: &ApiError) -> Bytes {
    let body = error.body();
    let retry_after = error
        .retry_after
        .map(|seconds| format!("Retry-After: {seconds}\r\n"));
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}Connection: close\r\n\r\n",
        error.status,
        body.len(),
        retry_after.unwrap_or_default()
    );
    [head.as_bytes(), &body].concat().into()
}

/// Whether there is a control character other than a tab. Without a branch for each byte, so that
/// many are compared at once.
fn holds_control(value: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    value
        .iter()
        .fold(false, |any, &byte| any | is_control(byte))
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.'
            | b'^'..=b'`' | b'|' | b'~'
    )
}

fn malformed(what: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("The request is malformed: {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(section: &str) -> Result<(), ApiError> {
        let mut searched = 0;
        let end = header_end(section.as_bytes(), &mut searched)?.expect("a whole section");
        inspect(&section.as_bytes()[..end], 4)
    }

    #[test]
    fn plain_requests_pass() {
        for section in [
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789",
            "POST / HTTP/1.1\r\nhost:a\r\ntransfer-encoding: Chunked\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET /?q=%20 HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Text: \tcaf\u{e9}\r\n\r\n",
        ] {
            assert_eq!(judge(section), Ok(()), "{section:?}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for section in [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n Content-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "POST / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nNo-Colon\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "POST  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "POST / HTTP/1.2\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\nHost: a\n\n",
            "POST / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n",
        ] {
            assert!(judge(section).is_err(), "{section:?}");
        }
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_cut() {
        let section = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\n";
        for cut in 0..section.len() - 6 {
            let mut searched = 0;
            assert_eq!(
                header_end(&section[..cut], &mut searched),
                Ok(None),
                "{cut}"
            );
            assert_eq!(header_end(section, &mut searched), Ok(Some(27)), "{cut}");
        }
    }
    #[test]
    fn a_target_with_scheme_and_host_is_the_path_that_it_names() {
        for (target, wanted) in [
            ("http://a/v1/models", "/v1/models"),
            (
                "https://a:443/v1/models?x=http://b/",
                "/v1/models?x=http://b/",
            ),
            ("HTTPS://b", "/"),
            ("http://a?x", "/?x"),
            ("/v1/http://a/", "/v1/http://a/"),
            ("*", "*"),
        ] {
            let mut section = BytesMut::from(&*format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            take_host_off(&mut section);
            assert_eq!(section, format!("GET {wanted} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
    }
}
