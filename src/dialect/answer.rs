//! What an upstream said, in whole or so far.

/// Bytes of an answer's text that are kept: what becomes a record of memory is smaller.
const TEXT_LIMIT: usize = 64 * 1024;

/// What of an answer somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// What it cost.
    Usage,
    /// All but its text.
    Facts,
    /// All, with this many bytes of text at most.
    Text(usize),
}

impl Wanted {
    /// All that is kept of any answer.
    pub const ALL: Self = Self::Text(TEXT_LIMIT);

    /// Bytes of text to keep.
    pub fn text_limit(self) -> usize {
        match self {
            Self::Text(limit) => limit,
            Self::Usage | Self::Facts => 0,
        }
    }
}

/// The facts of one answer, read from a whole JSON body or gathered from a stream.
///
/// Where there are several choices it tells of the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The upstream's id of it.
    pub id: Option<String>,
    /// The id by which the upstream knows its end, where the client was told another.
    pub upstream_id: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// Who speaks, `assistant` as a rule.
    pub role: Option<String>,
    /// What was said, up to a limit.
    pub text: String,
    /// Whether there was more text than the limit.
    pub truncated: bool,
    /// Why the model would not say it, within the same limit.
    pub refusal: String,
    /// Why it ended, in the dialect's own words.
    pub finish_reason: Option<String>,
    /// Whether that means that the model had said all of it.
    pub ended_by_itself: bool,
    /// What it cost, where the upstream says.
    pub usage: Option<Usage>,
    /// Whether it asks for tool calls, in any choice.
    pub has_tool_calls: bool,
    /// Whether it is, or holds, an error.
    pub has_error: bool,
    /// How many events brought something said: text, reasoning, a refusal, a tool call.
    pub content_events: u64,
    /// Whether some of it could not be read, so that the rest of this is what came before.
    pub unreadable: bool,
}

/// Tokens counted by the upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    pub total_tokens: Option<u64>,
    /// Those of the prompt that the upstream had cached.
    pub cached_tokens: Option<u64>,
}

/// No request uses more. A larger number is none: sums of such would not fit anywhere.
const MOST_TOKENS: u64 = 1 << 40;

/// What an upstream, or a request, says of tokens; `None` where it cannot be true.
pub fn believed(tokens: u64) -> Option<u64> {
    (tokens <= MOST_TOKENS).then_some(tokens)
}

impl Answer {
    /// Whether it may be stored as what the assistant said: it ended by itself, and all of it was
    /// read. An answer that ran into its token limit breaks off in mid-sentence, and is as partial
    /// as one whose connection broke.
    ///
    /// For a stream, that its connection ended cleanly is for the caller to add.
    pub fn is_complete(&self) -> bool {
        self.ended_by_itself && !self.has_error && !self.unreadable
    }

    /// Adds text that was said, up to `limit` bytes of all.
    pub fn say(&mut self, more: &str, limit: usize) {
        self.truncated |= push(&mut self.text, more, limit);
    }

    /// Adds to why the model would not say it.
    pub fn refuse(&mut self, more: &str, limit: usize) {
        self.truncated |= push(&mut self.refusal, more, limit);
    }
}

/// Appends what fits of `more`; true when some did not.
fn push(text: &mut String, more: &str, limit: usize) -> bool {
    let room = limit.saturating_sub(text.len());
    let fits = more.floor_char_boundary(room);
    text.push_str(&more[..fits]);
    fits < more.len()
}
