//! What is wrong where a file is no TOML, in the words of whoever wrote it.

use toml::de::Error;

/// A fault of syntax.
pub struct NoToml {
    /// The byte at which it shows.
    pub at: usize,
    pub what: String,
    pub mend: &'static str,
}

impl NoToml {
    pub fn new(error: &Error, text: &str) -> Self {
        let span = error.span().unwrap_or_default();
        let (message, named) = (error.message(), text.get(span.clone()).unwrap_or_default());
        let mend = match message {
            said if said.starts_with("duplicate key") => {
                let what = match named.trim_matches(['[', ']', ' ']) {
                    "" => "names a key that stands above already".to_owned(),
                    named => format!("names `{named}`, which stands above already"),
                };
                return Self {
                    at: span.start,
                    what,
                    mend: "keep one of the two",
                };
            }
            said if said.starts_with("string values must be quoted") => {
                "put text into straight quotes, as in \"text\"; `true`, `false` and numbers have none"
            }
            said if said.starts_with("invalid boolean") => "write `true` or `false`",
            said if said.starts_with("key with no value") => "write `key = value`",
            _ => "see https://toml.io for how it is written",
        };
        Self {
            at: span.start,
            what: format!("is not TOML: {message}"),
            mend,
        }
    }
}
