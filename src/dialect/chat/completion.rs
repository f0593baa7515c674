//! Finds the places of one completion that matter, without building what does not.
//!
//! `chat.completion` and `chat.completion.chunk` differ in `message` and `delta` alone. Absent and
//! null are the same everywhere, as upstreams differ in which they write.

use memchr::memmem;

use crate::dialect::answer::{Usage, believed};
use crate::wire::json::{JsonError, Kind, Scanner, Span, Text};

type Result<T> = std::result::Result<T, JsonError>;

/// Nesting that is followed: what serde_json follows.
const MAX_DEPTH: usize = 128;
/// Bytes at the end of an answer in which its usage is looked for first.
const TAIL: usize = 2048;

/// Where a completion says what.
#[derive(Debug, Default)]
pub struct Completion {
    pub id: Option<Text>,
    pub object: Option<Text>,
    pub model: Option<Text>,
    pub choices: Vec<Choice>,
    pub usage: Option<Usage>,
    pub has_error: bool,
}

/// Where a choice says what.
#[derive(Debug, Default)]
pub struct Choice {
    pub index: u64,
    pub role: Option<Text>,
    pub content: Content,
    pub refusal: Option<Text>,
    pub finish_reason: Option<Text>,
    pub has_tool_calls: bool,
    /// What the message holds beside its role, text and calls, and is not null.
    pub rest: Vec<(Text, Span)>,
    /// Thinking before the answer, under any of its names.
    thinks: bool,
}

/// A message's `content`.
#[derive(Debug, Default)]
pub enum Content {
    #[default]
    Nothing,
    Text(Text),
    /// Parts, of which some have text.
    Parts {
        any: bool,
        texts: Vec<Text>,
    },
}

impl Content {
    /// Whether it says nothing.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Text(text) => text.is_empty(),
            Self::Parts { any, .. } => !any,
        }
    }

    /// The string literals that hold its text.
    pub fn texts(&self) -> &[Text] {
        match self {
            Self::Nothing => &[],
            Self::Text(text) => std::slice::from_ref(text),
            Self::Parts { texts, .. } => texts,
        }
    }
}

impl Choice {
    /// Whether there is anything but a refusal.
    pub fn says_something(&self) -> bool {
        self.has_tool_calls || self.thinks || !self.content.is_nothing()
    }
}

impl Completion {
    /// The text, where the first choice says that and nothing else is said beside what every event of
    /// a stream repeats.
    pub fn text_alone(&self) -> Option<Text> {
        let [choice] = &self.choices[..] else {
            return None;
        };
        let is_over = choice.finish_reason.is_some() || self.usage.is_some() || self.has_error;
        let says_more =
            choice.has_tool_calls || choice.refusal.is_some() || !choice.rest.is_empty();
        match choice.content {
            Content::Text(text) if choice.index == 0 && !is_over && !says_more => Some(text),
            _ => None,
        }
    }

    /// Reads one whole JSON object.
    pub fn read(json: &[u8]) -> Result<Self> {
        let mut reader = Reader {
            json,
            scanner: Scanner::new(json, MAX_DEPTH)?,
        };
        let mut completion = Self::default();
        reader.object(|reader, key| {
            match key {
                b"id" => completion.id = reader.string()?,
                b"object" => completion.object = reader.string()?,
                b"model" => completion.model = reader.string()?,
                // Some write the only one without a list around it.
                b"choices" if reader.scanner.peek()? == Kind::Object => {
                    completion.choices = vec![reader.choice()?];
                }
                b"choices" => {
                    completion.choices.clear();
                    reader.list(|reader| {
                        completion.choices.push(reader.choice()?);
                        Ok(())
                    })?;
                }
                b"usage" => completion.usage = reader.usage()?,
                b"error" => completion.has_error = reader.something()?.is_some(),
                _ => drop(reader.scanner.skip()?),
            }
            Ok(())
        })?;
        reader.scanner.finish()?;
        Ok(completion)
    }
}

struct Reader<'a> {
    json: &'a [u8],
    scanner: Scanner<'a>,
}

impl Reader<'_> {
    /// Reads an object, each member's value by `member`; null is one without members.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &[u8]) -> Result<()>) -> Result<()> {
        let json = self.json;
        self.members(|reader, key| member(reader, &key.bytes(json)))
    }

    /// The same, with the keys as they are written.
    fn members(&mut self, mut member: impl FnMut(&mut Self, Text) -> Result<()>) -> Result<()> {
        match self.scanner.peek()? {
            Kind::Object => {
                let mut object = self.scanner.open()?;
                while let Some(key) = self.scanner.next_key(&mut object)? {
                    member(self, key)?;
                }
                Ok(())
            }
            _ => self.null(),
        }
    }

    /// Reads an array, each element by `element`; null is an empty one.
    fn list(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        match self.scanner.peek()? {
            Kind::Array => {
                let mut array = self.scanner.open()?;
                while self.scanner.next_element(&mut array)? {
                    element(self)?;
                }
                Ok(())
            }
            _ => self.null(),
        }
    }

    fn string(&mut self) -> Result<Option<Text>> {
        match self.scanner.peek()? {
            Kind::String => self.scanner.text().map(Some),
            _ => self.null().map(|()| None),
        }
    }

    /// Passes a null; anything else is of the wrong type.
    fn null(&mut self) -> Result<()> {
        match self.scanner.peek()? {
            Kind::Null => self.scanner.skip().map(drop),
            _ => Err(JsonError {
                offset: self.scanner.offset(),
                problem: "a value of another type was expected",
            }),
        }
    }

    /// Passes any value; its place, unless it is null.
    fn something(&mut self) -> Result<Option<Span>> {
        let is_null = self.scanner.peek()? == Kind::Null;
        let span = self.scanner.skip()?;
        Ok((!is_null).then_some(span))
    }

    /// Passes any value; what it is as a count, if it is one.
    fn count(&mut self) -> Result<Option<u64>> {
        let span = self.scanner.skip()?;
        // One with a sign, a fraction or an exponent is none.
        let digits = &self.json[span.range()];
        Ok(digits.iter().try_fold(0_u64, |count, &byte| {
            let digit = char::from(byte).to_digit(10)?;
            count.checked_mul(10)?.checked_add(digit.into())
        }))
    }

    /// The same, of tokens.
    fn tokens(&mut self) -> Result<Option<u64>> {
        Ok(self.count()?.and_then(believed))
    }

    fn choice(&mut self) -> Result<Choice> {
        let mut choice = Choice::default();
        self.object(|reader, key| {
            match key {
                b"index" => choice.index = reader.count()?.unwrap_or(0),
                b"delta" | b"message" => reader.message(&mut choice)?,
                b"finish_reason" => choice.finish_reason = reader.string()?,
                _ => drop(reader.scanner.skip()?),
            }
            Ok(())
        })?;
        Ok(choice)
    }

    fn message(&mut self, choice: &mut Choice) -> Result<()> {
        let json = self.json;
        self.members(|reader, key| {
            match &*key.bytes(json) {
                b"role" => choice.role = reader.string()?,
                b"content" => {
                    reader.scanner.peek()?;
                    let start = reader.scanner.offset();
                    let content = reader.content()?;
                    let end = reader.scanner.offset();
                    // It may stand in `delta` and in `message`.
                    if content.is_nothing() && !choice.content.is_nothing() {
                        return Ok(());
                    }
                    choice.content = content;
                    if matches!(choice.content, Content::Parts { .. }) {
                        choice.rest.push((key, Span { start, end }));
                    }
                }
                // vLLM writes an empty list where there are none.
                b"tool_calls" if reader.scanner.peek()? == Kind::Array => {
                    reader.list(|reader| {
                        choice.has_tool_calls = true;
                        reader.scanner.skip().map(drop)
                    })?
                }
                b"tool_calls" => choice.has_tool_calls |= reader.something()?.is_some(),
                b"function_call" => choice.has_tool_calls |= reader.something()?.is_some(),
                b"refusal" => {
                    reader.scanner.peek()?;
                    let start = reader.scanner.offset();
                    choice.refusal = reader.string()?;
                    let end = reader.scanner.offset();
                    if choice.refusal.is_some() {
                        choice.rest.push((key, Span { start, end }));
                    }
                }
                // What DeepSeek and vLLM call the thinking before the answer, and what OpenRouter
                // and Ollama call it.
                b"reasoning_content" | b"reasoning" => {
                    let thought = reader.something()?;
                    let is_thought = |span: Span| {
                        let raw = &reader.json[span.range()];
                        raw != br#""""# && raw != b"[]"
                    };
                    choice.thinks |= thought.is_some_and(is_thought);
                    choice.rest.extend(thought.map(|span| (key, span)));
                }
                _ => choice
                    .rest
                    .extend(reader.something()?.map(|span| (key, span))),
            }
            Ok(())
        })
    }

    fn content(&mut self) -> Result<Content> {
        if self.scanner.peek()? != Kind::Array {
            return Ok(self.string()?.map_or(Content::Nothing, Content::Text));
        }
        let (mut any, mut texts) = (false, Vec::new());
        self.list(|reader| {
            any = true;
            reader.object(|reader, key| {
                match key {
                    b"text" => texts.extend(reader.string()?),
                    _ => drop(reader.scanner.skip()?),
                }
                Ok(())
            })
        })?;
        Ok(Content::Parts { any, texts })
    }

    /// Usage of a shape that is not known is none.
    fn usage(&mut self) -> Result<Option<Usage>> {
        if self.scanner.peek()? != Kind::Object {
            return self.scanner.skip().map(|_| None);
        }
        let mut usage = Usage::default();
        self.object(|reader, key| {
            match key {
                // The newer names are those of images and transcriptions.
                b"prompt_tokens" | b"input_tokens" => usage.prompt_tokens = reader.tokens()?,
                b"completion_tokens" | b"output_tokens" => {
                    usage.completion_tokens = reader.tokens()?;
                }
                b"total_tokens" => usage.total_tokens = reader.tokens()?,
                b"prompt_tokens_details" | b"input_tokens_details"
                    if reader.scanner.peek()? == Kind::Object =>
                {
                    reader.object(|reader, key| {
                        match key {
                            b"cached_tokens" => usage.cached_tokens = reader.tokens()?,
                            _ => drop(reader.scanner.skip()?),
                        }
                        Ok(())
                    })?;
                }
                // DeepSeek's name for the cached ones.
                b"prompt_cache_hit_tokens" => {
                    let cached = reader.tokens()?;
                    usage.cached_tokens = usage.cached_tokens.or(cached);
                }
                _ => drop(reader.scanner.skip()?),
            }
            Ok(())
        })?;
        Ok((usage != Usage::default()).then_some(usage))
    }
}

impl Usage {
    /// The usage of a whole JSON answer, found where servers put it: near the end. What stands before it
    /// is not looked at. `None` where it does not stand there.
    pub fn at_end(json: &[u8]) -> Option<Self> {
        let tail = json.len().saturating_sub(TAIL);
        let key = tail + memmem::rfind(&json[tail..], br#""usage""#)?;
        // A key, and not the end of a string: within one, a quote stands behind a backslash.
        let before = json[..key].trim_ascii_end().last()?;
        if !matches!(before, b',' | b'{') {
            return None;
        }
        let json = &json[key..];
        let mut reader = Reader {
            json,
            scanner: Scanner::new(json, MAX_DEPTH).ok()?,
        };
        // What closes one object and the text with it is of the answer itself.
        let mut answer = reader.scanner.inside();
        let mut usage = None;
        while let Some(key) = reader.scanner.next_key(&mut answer).ok()? {
            match &*key.bytes(json) {
                b"usage" => usage = reader.usage().ok()?,
                _ => drop(reader.scanner.skip().ok()?),
            }
        }
        reader.scanner.finish().ok()?;
        usage
    }
}
