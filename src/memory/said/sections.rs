//! Thinking that stands under a heading or in a fence of its own, before the answer.

use std::borrow::Cow;

use super::thinking::{is_thinking, plain};

/// Headings of thinking, in small letters and without what parts words …
const THINKING: [&str; 14] = [
    "thought",
    "thoughts",
    "thinking",
    "thinkingprocess",
    "thoughtprocess",
    "mythoughtprocess",
    "chainofthought",
    "scratchpad",
    "innermonologue",
    "internalmonologue",
    "思考",
    "思考过程",
    "思考過程",
    "推理过程",
];
/// … and of the answer behind it.
const ANSWER: [&str; 13] = [
    "answer",
    "finalanswer",
    "myanswer",
    "response",
    "finalresponse",
    "reply",
    "output",
    "回答",
    "答案",
    "最终回答",
    "最终答案",
    "回复",
    "最終回答",
];
/// Bytes of a line that may be a heading.
const LONGEST: usize = 64;

/// Whether a text's first line may be a heading of thinking.
pub fn may_think(text: &str) -> bool {
    let first = text.trim_start().lines().next().unwrap_or_default();
    heading(first, &THINKING).is_some()
}

/// What stands behind the answer's heading, where the text begins with thinking: `Thought: … Final Answer: …`,
/// `## Thinking … ## Answer …`.
pub fn answer(text: &str) -> Option<String> {
    if !may_think(text) {
        return None;
    }
    let mut at = 0;
    let mut answer = None;
    for line in text.split_inclusive('\n') {
        if let Some(rest) = heading(line, &ANSWER) {
            let begin = at + line.len() - rest.len();
            // The first heading of its kind; what follows may have others.
            answer = answer.or(Some(begin));
        }
        at += line.len();
    }
    Some(text[answer?..].trim().to_owned())
}

/// What follows a heading on its line, where the line begins with one of these: `## Thinking`,
/// `**Thinking:**`, `Thought: `.
fn heading<'a>(line: &'a str, known: &[&str]) -> Option<&'a str> {
    let marked = line.trim_start().trim_start_matches(['#', '*', '_', ' ']);
    let is_marked = line.trim_start().len() > marked.len();
    let looked_at = &marked[..marked.floor_char_boundary(LONGEST)];
    let end = looked_at.find([':', '：', '*', '\n']);
    let end = match end {
        Some(end) => end,
        None if is_marked && looked_at.len() == marked.len() => marked.len(),
        None => return None,
    };
    // Without a colon or a mark a line is a sentence.
    let is_said = is_marked || looked_at[end..].starts_with([':', '：']);
    let name = plain(marked[..end].trim());
    (is_said && known.contains(&&*name)).then(|| {
        let rest = &marked[end..];
        rest.trim_start_matches([':', '：', '*', '_', ' '])
    })
}

/// The text without fences that say they hold thinking: ```` ```think ````. Of others nothing is read.
pub fn without_fenced(text: &str) -> Cow<'_, str> {
    if !text.contains("```") && !text.contains("~~~") {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut is_cut = false;
    // How deep it is in thinking, or in code.
    let (mut thinking, mut code) = (0usize, false);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        let ticks = trimmed.trim_start_matches(['`', '~']);
        let is_fence = trimmed.len() - ticks.len() >= 3;
        let is_opening = is_fence && !ticks.is_empty() && !ticks.contains('`');
        let was_thinking = thinking > 0;
        match (is_fence, was_thinking) {
            (true, true) if is_opening => thinking += 1,
            (true, true) => thinking -= 1,
            (true, false) if code => code = is_opening,
            (true, false) if is_opening && is_thinking(ticks.trim()) => thinking = 1,
            (true, false) => code = is_opening || ticks.is_empty(),
            (false, _) => {}
        }
        match was_thinking || thinking > 0 {
            true => is_cut = true,
            false => kept.push_str(line),
        }
    }
    if is_cut {
        Cow::Owned(kept)
    } else {
        Cow::Borrowed(text)
    }
}
