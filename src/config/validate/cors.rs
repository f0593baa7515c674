//! `[cors]`.

use url::{Origin, Url};

use crate::config::check::Check;
use crate::config::model::{Cors, Origins};
use crate::config::raw;

pub(super) fn cors(raw: &raw::Cors, check: &mut Check<'_>) -> Cors {
    if raw.origins.iter().any(|origin| origin == "*") {
        return Cors {
            origins: Origins::Any,
        };
    }
    let origins = raw.origins.iter().enumerate().filter_map(|(index, text)| {
        let origin = origin(text);
        if origin.is_none() {
            check.fault(
                &format!("cors.origins.{index}"),
                format!("is {text:?}, not an origin"),
                "write scheme, host and, where it has one, port, such as \
                 \"https://app.example.com\" or \"http://localhost:3000\", or \"*\" for all",
            );
        }
        origin
    });
    Cors {
        origins: Origins::Listed(origins.collect()),
    }
}

/// As a browser would write it: in lower case, without the scheme's own port. Apps in a frame of
/// their own have schemes of their own (`tauri://localhost`, `chrome-extension://…`).
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let (scheme, host) = text.split_once("://")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.is_empty() || host.contains(['/', '?', '#', '@', '*', '\\']) {
        return None;
    }
    Some(match url.origin() {
        origin @ Origin::Tuple(..) => origin.ascii_serialization(),
        Origin::Opaque(_) => format!("{}://{}", scheme.to_lowercase(), host.to_lowercase()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for (text, expected) in [
            ("https://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:3000/", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            (
                "https://b\u{fc}cher.example",
                "https://xn--bcher-kva.example",
            ),
            ("tauri://localhost", "tauri://localhost"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(origin(text).as_deref(), Some(expected));
        }
        for text in [
            "",
            "null",
            "app.example.com",
            "localhost:3000",
            "https://",
            "https://app.example.com/chat",
            "https://user@app.example.com",
            "https://*.example.com",
            "file:///tmp",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }
}
