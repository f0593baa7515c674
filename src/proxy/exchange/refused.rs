//! What an upstream's refusal is about, as far as its words tell.

use http::StatusCode;
use memchr::memmem;

/// Words by which upstreams tell that something is no business of a model's, whatever is asked of it.
const NOT_TAKEN: [&str; 17] = [
    "support",
    "requires --",
    "not enabled",
    "isn't enabled",
    "disabled",
    "not implemented",
    "not available",
    "unavailable",
    "not permitted",
    "not allowed",
    "unrecognized",
    "unknown",
    "unexpected",
    "cannot use",
    "can't use",
    "incapable",
    "no such",
];

/// Whether a status may mean that an upstream cannot do what was asked: they differ in which they
/// answer with.
pub fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 422 | 500 | 501)
}

/// Whether the gateway's tools may have caused a refusal. A request that was found wrong was not
/// served, and may be tried again; of the others only one that says that it is about tools, where the
/// client brings none.
pub fn may_be_ours(status: StatusCode, said: &[u8], client_has_tools: bool) -> bool {
    match status.as_u16() {
        400 | 422 => true,
        _ => !client_has_tools && is_about_tools(&said.to_ascii_lowercase()),
    }
}

/// Whether a refusal is of tools as such, or of one of `ours` by its name, and so will be met again: any
/// other may be of what stands in this one request beside them.
pub fn is_of_tools<'a>(said: &[u8], mut ours: impl Iterator<Item = &'a str>) -> bool {
    let lower = said.to_ascii_lowercase();
    !is_about_length(&lower)
        && ((is_about_tools(&lower) && NOT_TAKEN.iter().any(|word| holds(&lower, word)))
            || ours.any(|name| holds(said, name)))
}

/// Whether a refusal names what asks for the usage of a stream.
pub fn is_about_usage(said: &[u8]) -> bool {
    holds(said, "stream_options") || holds(said, "include_usage")
}

fn is_about_tools(lower: &[u8]) -> bool {
    holds(lower, "tool") || holds(lower, "function")
}

/// Whether a refusal is about the length of the request, which another may not have.
fn is_about_length(lower: &[u8]) -> bool {
    [
        "context length",
        "context_length",
        "context size",
        "too many tokens",
        "maximum context",
    ]
    .iter()
    .any(|word| holds(lower, word))
}

fn holds(text: &[u8], word: &str) -> bool {
    memmem::find(text, word.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_tools_as_such_is_told_from_what_is_said_of_a_request() {
        let is_of_tools = |said: &str| is_of_tools(said.as_bytes(), ["calculator"].into_iter());
        for said in [
            "registry.ollama.ai/library/m does not support tools",
            r#""auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"#,
            "tools param requires --jinja flag",
            "No endpoints found that support tool use",
            "Function calling is not enabled for models/m",
            "Unrecognized request argument supplied: tools",
            "Tool calling is disabled on this server",
            "Invalid schema for function 'calculator': None is not of type 'object'",
        ] {
            assert!(is_of_tools(said), "{said}");
        }
        for said in [
            "no",
            "{}",
            "messages with role 'tool' must be a response to a preceding message with 'tool_calls'",
            "'temperature' does not support 3 with this model",
            "maximum context length is 10: tools are not supported beyond",
        ] {
            assert!(!is_of_tools(said), "{said}");
        }
    }
}
