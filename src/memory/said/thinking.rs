//! What a model thought before it answered, in whatever spelling it stands in its text.

use std::borrow::Cow;

use memchr::{memchr2, memmem};

use super::channels::final_channel;
use super::elements::{Fence, MOST_OPEN};
use super::{calls, sections};

/// Names of the elements that models think in, in lower case, without what parts their words: `<think>`,
/// `[THINK]`, `◁think▷`, `<inner-monologue>`.
const NAMES: [&str; 31] = [
    "think",
    "thinking",
    "thought",
    "thoughts",
    "scratchpad",
    "antthinking",
    "reasoning",
    "reasoningcontent",
    "reasoningprocess",
    "innermonologue",
    "innerthought",
    "innerthoughts",
    "innervoice",
    "internalmonologue",
    "internalthought",
    "internalthoughts",
    "internalreasoning",
    "internalthinking",
    "hiddenthoughts",
    "thoughtprocess",
    "thinkingprocess",
    "selfreflection",
    "chainofthought",
    "chainofthoughts",
    "cot",
    "思考",
    "思考过程",
    "思考過程",
    "推理",
    "推理过程",
    "内心独白",
];
/// Those that are elements of much else too: these think where they stand on a line of their own, and are
/// closed.
const AMBIGUOUS: [&str; 8] = [
    "reason",
    "reflection",
    "analysis",
    "internal",
    "monologue",
    "deliberation",
    "planning",
    "hidden",
];
/// Tags that come in pairs of other names.
const PAIRS: [(&str, &str); 10] = [
    ("<start_of_thought>", "<end_of_thought>"),
    ("<thinking_start>", "<thinking_end>"),
    ("<start_think>", "<end_think>"),
    ("<|startofthink|>", "<|endofthink|>"),
    ("<unused94>thought", "<unused95>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|think_start|>", "<|think_end|>"),
    (":::thinking", "\n:::"),
];
/// Tags that stand around an answer that thinking stands before.
const AROUND: [&str; 9] = [
    "<|begin_of_solution|>",
    "<|end_of_solution|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
    "<|START_TEXT|>",
    "<|END_TEXT|>",
    "<|end|>",
    "<|return|>",
    "<|im_end|>",
];
/// Bytes of a tag at most.
const LONGEST_TAG: usize = 256;
/// Brackets that a tag stands in.
const BRACKETS: [(&str, &str); 7] = [
    ("<", ">"),
    ("[", "]"),
    ("◁", "▷"),
    ("＜", "＞"),
    ("【", "】"),
    ("&lt;", "&gt;"),
    ("\\u003c", "\\u003e"),
];
/// What they begin with.
const BEGIN: [char; 7] = ['<', '[', '◁', '＜', '【', '&', '\\'];

/// The words of a model's answer without its thinking: `<think>…</think>` and its kin, closed or
/// not, with the opening tag left to the prompt's template, as channels (`<|channel|>analysis`),
/// and as front ends fold it away (`<details type="reasoning">`). A tag that is spoken of, in code
/// or in backticks, is the model's words.
pub fn answer_words(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let holds = |what: &str| memmem::find(bytes, what.as_bytes()).is_some();
    let may = memchr2(b'<', b'[', bytes).is_some() || text.contains(&BEGIN[2..]);
    let hints = [
        "assistantfinal",
        ":::thinking",
        "```",
        "~~~",
        "Action Input:",
    ];
    if !may && !hints.into_iter().any(holds) && !sections::may_think(text) {
        return Cow::Borrowed(text);
    }
    if let Some(answer) = final_channel(text).or_else(|| sections::answer(text)) {
        return Cow::Owned(answer);
    }
    // What calls a tool is no answer, thinking or not.
    if let Some(said) = calls::beside(text) {
        return Cow::Owned(said);
    }
    let unfenced = sections::without_fenced(text);
    let text = unfenced.as_ref();
    let answer = without_elements(text);
    match (answer, unfenced) {
        (Some(answer), _) => Cow::Owned(answer),
        (None, Cow::Owned(unfenced)) => Cow::Owned(unfenced.trim().to_owned()),
        (None, unfenced) => unfenced,
    }
}

/// The answer without elements that hold thinking; `None` where there are none.
fn without_elements(text: &str) -> Option<String> {
    let rest = behind_orphan(text);
    let mut kept = String::new();
    let mut fence = Fence::default();
    let mut at = 0;
    while let Some((next, end)) = thinking(rest, at, &mut fence) {
        kept.push_str(&rest[at..next]);
        at = end;
    }
    if at == 0 && rest.len() == text.len() {
        return None;
    }
    kept.push_str(&rest[at..]);
    Some(without_wrapping(kept.trim()).trim().to_owned())
}

/// Where thinking begins at or behind `at`, and where the answer goes on.
fn thinking(text: &str, at: usize, fence: &mut Fence) -> Option<(usize, usize)> {
    let mut read = at;
    // Each that nothing closes costs a look at all that follows.
    for _ in 0..MOST_OPEN {
        let open = tag_after(text, read, fence)?;
        if let Some(end) = end_of_thinking(text, open) {
            return Some((open, end));
        }
        read = open + text[open..].chars().next().map_or(1, char::len_utf8);
    }
    None
}

/// Where the next tag stands that is not spoken of, in code or in backticks.
fn tag_after(text: &str, at: usize, fence: &mut Fence) -> Option<usize> {
    let mut read = at;
    loop {
        let next = |c: char| c == ':' || BEGIN.contains(&c);
        let open = read + text[read..].find(next)?;
        fence.read(&text[read..open]);
        let length = text[open..].chars().next().map_or(1, char::len_utf8);
        read = open + length;
        if !fence.is_open() && !text[..open].ends_with('`') && may_think(&text[open..]) {
            return Some(open);
        }
    }
}

fn may_think(rest: &str) -> bool {
    let is_pair = PAIRS.iter().any(|(opening, _)| rest.starts_with(opening));
    let is_else = ["<details", "<!--"].iter().any(|it| rest.starts_with(it));
    is_pair || is_else || Tag::read(rest).is_some_and(|tag| !tag.is_closing)
}

fn end_of_thinking(text: &str, open: usize) -> Option<usize> {
    let rest = &text[open..];
    if let Some((_, closing)) = PAIRS.iter().find(|(it, _)| rest.starts_with(it)) {
        let end = rest.find(closing);
        return Some(end.map_or(text.len(), |end| open + end + closing.len()));
    }
    if rest.starts_with("<details") {
        return folded(rest).map(|end| open + end);
    }
    if let Some(comment) = rest.strip_prefix("<!--") {
        let begin: String = comment.trim_start().chars().take(16).collect();
        let begin = begin.to_lowercase();
        let end = comment.find("-->").map(|end| open + 4 + end + 3);
        let thinks = ["think", "thought", "reasoning", "scratchpad", "internal"];
        return end.filter(|_| thinks.iter().any(|it| begin.starts_with(it)));
    }
    let tag = Tag::read(rest)?;
    if tag.is_closing {
        return None;
    }
    let begins = starts_line(text, open);
    match tag.close(rest) {
        // “<think> and </think> mark it” speaks of them.
        Some(end) if !begins && tag.holds_nothing(&rest[..end]) => None,
        Some(end) => (begins || !tag.is_ambiguous).then_some(open + end),
        // A tag that nothing closes begins what was cut off, unless a sentence speaks of it.
        None => (begins && !tag.is_ambiguous && !tag.may_head()).then_some(text.len()),
    }
}

fn starts_line(text: &str, at: usize) -> bool {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    text[line..at].trim().is_empty()
}

/// Whether it is one of [`NAMES`], or one that a model's makers put their own name before, as in
/// `seed:think` and `longcat_think`.
pub(super) fn is_thinking(name: &str) -> bool {
    let plain = plain(name);
    let last = name.rsplit([':', '_']).next().unwrap_or(name);
    let ends = |known: &str| last.eq_ignore_ascii_case(known);
    NAMES.contains(&&*plain)
        || NAMES[..2].iter().any(|known| ends(known))
        || plain.starts_with("thinkneverused")
}

/// A name in small letters, without what parts its words.
pub(super) fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    letters.flat_map(char::to_lowercase).collect()
}

/// A tag of an element that models think in.
struct Tag<'a> {
    name: &'a str,
    brackets: (&'static str, &'static str),
    is_closing: bool,
    /// Whether much else is called so.
    is_ambiguous: bool,
    length: usize,
}

impl<'a> Tag<'a> {
    fn read(rest: &'a str) -> Option<Self> {
        let mut known = BRACKETS.iter();
        let brackets = *known.find(|(open, _)| rest.starts_with(open))?;
        let inner = &rest[brackets.0.len()..];
        let end = inner[..inner.floor_char_boundary(LONGEST_TAG)].find(brackets.1)?;
        let body = inner[..end].trim().trim_matches('|');
        let (is_closing, body) = match body.strip_prefix('/') {
            Some(body) => (true, body.trim()),
            None => (false, body),
        };
        let name = body.split([' ', '\t', '\n']).next()?;
        let is_ambiguous = AMBIGUOUS.contains(&&*plain(name));
        (is_ambiguous || is_thinking(name)).then_some(Self {
            name,
            brackets,
            is_closing,
            is_ambiguous,
            length: brackets.0.len() + end + brackets.1.len(),
        })
    }

    /// “[Thinking]” and “【思考】” are headings too; Mistral's models write their tag in capitals.
    fn may_head(&self) -> bool {
        matches!(self.brackets.0, "[" | "【") && self.name != "THINK"
    }

    /// Whether no more than a word or two stands in its element.
    fn holds_nothing(&self, element: &str) -> bool {
        let inner = &element[self.length..];
        let inner = &inner[..inner.rfind(self.brackets.0).unwrap_or(inner.len())];
        inner.len() < 16 && inner.chars().filter(|c| c.is_alphanumeric()).count() <= 3
    }

    /// Where its element ends, which may hold others of its name.
    fn close(&self, rest: &str) -> Option<usize> {
        let mut depth = 1;
        let mut at = self.length;
        while depth > 0 {
            at += rest[at..].find(self.brackets.0)?;
            match Tag::read(&rest[at..]) {
                Some(tag) if tag.name.eq_ignore_ascii_case(self.name) => {
                    depth = if tag.is_closing { depth - 1 } else { depth + 1 };
                    at += tag.length;
                }
                _ => at += self.brackets.0.len(),
            }
        }
        Some(at)
    }
}

/// What follows a closing tag whose opening one is not there: some templates put that into the
/// prompt.
fn behind_orphan(text: &str) -> &str {
    let mut depth = 0usize;
    let mut orphan = None;
    let mut at = 0;
    while let Some(next) = text[at..].find(BEGIN) {
        let open = at + next;
        let tag = Tag::read(&text[open..]).filter(|tag| {
            let (before, behind) = (&text[..open], &text[open + tag.length..]);
            !tag.is_ambiguous && !is_spoken_of(before, behind)
        });
        match tag {
            Some(tag) => {
                at = open + tag.length;
                match (tag.is_closing, depth) {
                    (true, 0) => orphan = Some(at),
                    (true, _) => depth -= 1,
                    (false, _) => depth += 1,
                }
            }
            None => at = open + text[open..].chars().next().map_or(1, char::len_utf8),
        }
    }
    orphan.map_or(text, |at| &text[at..])
}

/// Whether what stands before and behind a tag speaks of it.
fn is_spoken_of(before: &str, behind: &str) -> bool {
    let goes_on = |c: char| c.is_lowercase() || matches!(c, '.' | ',' | ';' | ')' | '?');
    before.ends_with('`')
        || (before.ends_with(' ')
            && behind
                .strip_prefix(' ')
                .unwrap_or(behind)
                .starts_with(goes_on))
}

/// Where a block ends that a front end folds the model's thinking, or its calls, into.
fn folded(rest: &str) -> Option<usize> {
    let head = &rest[..rest.floor_char_boundary(LONGEST_TAG)];
    let head = &head[..head.find('>')? + 1];
    let types = [
        "type=\"reasoning\"",
        "type=\"tool_calls\"",
        "type=\"code_interpreter\"",
    ];
    let classes = ["class=\"think", "class=\"reasoning", "class=\"thought"];
    let is_typed = types.iter().chain(&classes).any(|it| head.contains(it));
    if !is_typed {
        let inner = rest[head.len()..].trim_start();
        let summary = inner.strip_prefix("<summary>")?;
        let summary = summary[..summary.find("</summary>")?].to_lowercase();
        let says = ["thought", "thinking", "reasoning", "思考", "推理"];
        if !says.iter().any(|word| summary.contains(word)) {
            return None;
        }
    }
    let closing = "</details>";
    Some(
        rest.find(closing)
            .map_or(rest.len(), |end| end + closing.len()),
    )
}

/// Takes off the tags that stood around the answer.
fn without_wrapping(answer: &str) -> String {
    let mut answer = answer.to_owned();
    for tag in AROUND {
        answer = answer.replace(tag, "");
    }
    let trimmed = answer.trim();
    for name in ["answer", "response", "output"] {
        let inner = trimmed
            .strip_prefix(&format!("<{name}>"))
            .and_then(|rest| rest.strip_suffix(&format!("</{name}>")));
        if let Some(inner) = inner {
            return inner.trim().to_owned();
        }
    }
    answer
}
