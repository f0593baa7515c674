//! What a model thought before it answered, in whatever spelling it stands in its text.

use std::borrow::Cow;

use memchr::{memchr2, memmem};

use super::elements::{Fence, MOST_OPEN};

/// Names of the elements that models think in, in lower case: `<think>`, `[THINK]`, `◁think▷`.
const NAMES: [&str; 14] = [
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "reason",
    "reflection",
    "analysis",
    "scratchpad",
    "antthinking",
    "reasoning_content",
    "inner_monologue",
    "chain_of_thought",
    "cot",
];
/// Tags that come in pairs of other names.
const PAIRS: [(&str, &str); 7] = [
    ("<|thinking|>", "<|/thinking|>"),
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
const BRACKETS: [(char, char); 4] = [('<', '>'), ('[', ']'), ('◁', '▷'), ('＜', '＞')];

/// The words of a model's answer without its thinking: `<think>…</think>` and its kin, closed or
/// not, with the opening tag left to the prompt's template, as channels (`<|channel|>analysis`),
/// and as front ends fold it away (`<details type="reasoning">`). A tag that is spoken of, in code
/// or in backticks, is the model's words.
pub fn answer_words(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let holds = |what: &str| memmem::find(bytes, what.as_bytes()).is_some();
    let may = memchr2(b'<', b'[', bytes).is_some() || text.contains(['◁', '＜']);
    if !may && !holds("assistantfinal") && !holds(":::thinking") {
        return Cow::Borrowed(text);
    }
    if let Some(answer) = final_channel(text) {
        return Cow::Owned(answer);
    }
    let rest = behind_orphan(text);
    let mut kept = String::new();
    let mut fence = Fence::default();
    let mut at = 0;
    while let Some((next, end)) = thinking(rest, at, &mut fence) {
        kept.push_str(&rest[at..next]);
        at = end;
    }
    if at == 0 && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    kept.push_str(&rest[at..]);
    Cow::Owned(without_wrapping(kept.trim()).trim().to_owned())
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
        let open = read + text[read..].find(['<', '[', '◁', '＜', ':'])?;
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
    is_pair || rest.starts_with("<details") || Tag::read(rest).is_some_and(|tag| !tag.is_closing)
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
    let tag = Tag::read(rest)?;
    if tag.is_closing {
        return None;
    }
    match tag.close(rest) {
        Some(end) => Some(open + end),
        // A tag that nothing closes begins what was cut off, unless a sentence speaks of it.
        None => starts_line(text, open).then_some(text.len()),
    }
}

fn starts_line(text: &str, at: usize) -> bool {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    text[line..at].trim().is_empty()
}

/// Whether it is one of [`NAMES`], or one that a model's makers put their own name before, as in
/// `seed:think` and `longcat_think`.
fn is_thinking(name: &str) -> bool {
    let last = name.rsplit([':', '_']).next().unwrap_or(name);
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let ends = |known: &str| last.eq_ignore_ascii_case(known);
    NAMES.iter().any(|known| is(known)) || NAMES[..2].iter().any(|known| ends(known))
}

/// A tag of an element that models think in.
struct Tag<'a> {
    name: &'a str,
    brackets: (char, char),
    is_closing: bool,
    length: usize,
}

impl<'a> Tag<'a> {
    fn read(rest: &'a str) -> Option<Self> {
        let open = rest.chars().next()?;
        let brackets = *BRACKETS.iter().find(|(it, _)| *it == open)?;
        let inner = &rest[open.len_utf8()..];
        let end = inner[..inner.floor_char_boundary(LONGEST_TAG)].find(brackets.1)?;
        let body = &inner[..end];
        let (is_closing, body) = match body.strip_prefix('/') {
            Some(body) => (true, body),
            None => (false, body),
        };
        let name = body.split([' ', '\t', '\n']).next()?;
        let is_known = is_thinking(name);
        // “[Analysis]” is a heading; Mistral's models write it in capitals.
        let is_known = is_known && (open != '[' || name == "THINK");
        is_known.then_some(Self {
            name,
            brackets,
            is_closing,
            length: open.len_utf8() + end + brackets.1.len_utf8(),
        })
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
                _ => at += self.brackets.0.len_utf8(),
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
    while let Some(next) = text[at..].find(['<', '[', '◁', '＜']) {
        let open = at + next;
        let is_spoken_of = text[..open].ends_with('`');
        match Tag::read(&text[open..]).filter(|_| !is_spoken_of) {
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

/// Where a block ends that a front end folds the model's thinking, or its calls, into.
fn folded(rest: &str) -> Option<usize> {
    let head = &rest[..rest.floor_char_boundary(LONGEST_TAG)];
    let head = &head[..head.find('>')? + 1];
    let types = [
        "type=\"reasoning\"",
        "type=\"tool_calls\"",
        "type=\"code_interpreter\"",
    ];
    let is_typed = types.iter().any(|it| head.contains(it));
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

/// The last channel that is an answer, of a text in channels: `<|channel|>analysis<|message|>…`,
/// and `<|channel>thought … <channel|>`. Also where the marks are gone and their names are not:
/// `analysisThe user asks …assistantfinalHello.`
fn final_channel(text: &str) -> Option<String> {
    if text.contains("<|channel|>") {
        let mut answer = String::new();
        let mut parts = text.split("<|channel|>");
        // What stands before the first is no channel's: the header of a message, or an answer.
        let before = parts.next().unwrap_or_default();
        for part in parts {
            let (name, said) = part.split_once("<|message|>").unwrap_or((part, ""));
            if name.trim_start().starts_with("final") {
                let end = said.find("<|").unwrap_or(said.len());
                answer.push_str(&said[..end]);
            }
        }
        let before = before.split("<|").next().unwrap_or_default();
        return Some(format!("{}{}", before, answer).trim().to_owned());
    }
    if let Some(begin) = text.find("<|channel>") {
        let rest = &text[begin..];
        let end = rest
            .find("<channel|>")
            .map(|end| begin + end + "<channel|>".len());
        let behind = end.map_or("", |end| &text[end..]);
        return Some(format!("{}{}", &text[..begin], behind).trim().to_owned());
    }
    let thought = ["analysis", "commentary"]
        .iter()
        .find_map(|name| text.trim_start().strip_prefix(name))?;
    let (_, answer) = thought.rsplit_once("assistantfinal")?;
    Some(answer.trim().to_owned())
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
