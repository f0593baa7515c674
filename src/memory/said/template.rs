//! Templates in plain words: “Context: … Question: …”.

use super::labels::{BEHIND, CONTEXT, FIRST_PERSON, ORDERS, QUESTION, SPEAKS_OF, SURELY};
use super::paragraphs;

/// A section of what its author says of himself is no longer than this.
const LONGEST_OWN: usize = 1000;
/// Bytes of a paragraph that are looked at for what a template says.
const LOOKED_AT: usize = 2000;

/// Whether a text of one line may be a template.
pub fn may_begin(text: &str) -> bool {
    let begin: String = text.chars().take(24).collect();
    let begin = begin.to_lowercase();
    let context = CONTEXT.iter().any(|label| begin.starts_with(label));
    context && text.contains([':', '：'])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Question,
    Context,
    Behind,
}

/// The question that a template holds; `None` where the text is no template. `is_one` says that
/// it stands beside documents.
pub fn question(text: &str, is_one: bool) -> Option<String> {
    let lines = text.lines().flat_map(parts).map(|line| (line, label(line)));
    let lines: Vec<(&str, Option<(Label, &str)>)> = lines.collect();
    let is = |at: &usize, wanted| lines[*at].1.is_some_and(|(label, _)| label == wanted);
    let asked = (0..lines.len()).rfind(|at| is(at, Label::Question))?;
    let context = (0..lines.len()).find(|at| is(at, Label::Context));
    let orders = paragraphs(text).next().is_some_and(speaks_as_template)
        || paragraphs(text).last().is_some_and(speaks_as_template);
    let (_, first) = lines[asked].1?;
    let is_own = || context.is_none_or(|context| speaks_of_self(&lines[context..]));
    if !is_one && !orders && is_own() {
        return None;
    }
    let rest = lines[asked + 1..]
        .iter()
        .take_while(|(_, label)| label.is_none_or(|(label, _)| label == Label::Question));
    let said: Vec<&str> = std::iter::once(first)
        .chain(rest.map(|(line, _)| *line))
        .collect();
    let said = said.join("\n");
    // “Answer by the context above” ends some.
    let mut words: Vec<&str> = paragraphs(&said).collect();
    while words.len() > 1 && words.last().is_some_and(|last| instructs(last)) {
        words.pop();
    }
    let words = words.join("\n\n");
    (!words.is_empty()).then_some(words)
}

/// A line of a section of context, parted where the question stands on it too.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    let begins = matches!(label(line), Some((Label::Context, _)));
    let asked = [" Question: ", " Query: ", " 问题：", " 问题:"];
    let found = asked.iter().filter(|_| begins);
    let at = found.filter_map(|asked| line.rfind(asked)).max();
    let (context, question) = line.split_at(at.unwrap_or(line.len()));
    std::iter::once(context).chain(Some(question).filter(|it| !it.is_empty()))
}

/// Whether a section is short and its author speaks of himself there.
fn speaks_of_self(section: &[(&str, Option<(Label, &str)>)]) -> bool {
    let first = section[0].1.map_or("", |(_, rest)| rest);
    let rest = section[1..].iter().take_while(|(_, label)| label.is_none());
    let own: Vec<&str> = std::iter::once(first)
        .chain(rest.map(|(line, _)| *line))
        .collect();
    let own = own.join("\n").to_lowercase();
    if own.lines().skip(1).chain([first]).any(is_numbered) {
        return false;
    }
    let own = unquoted(&own);
    let mut words = own.split_whitespace();
    let is_first_person = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        FIRST_PERSON.contains(&word)
    };
    own.len() <= LONGEST_OWN && (words.any(is_first_person) || own.contains(['我', '私', '僕']))
}

/// Whether a line begins as those of documents that were found do: `[1] …`, `Document 2: …`, `Source: …`.
fn is_numbered(line: &str) -> bool {
    let line = line.trim_start().to_lowercase();
    let number = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let named = [
        "document ",
        "source",
        "chunk ",
        "passage ",
        "excerpt ",
        "user:",
        "assistant:",
        "文档",
        "来源",
    ];
    number.is_some_and(|(number, _)| is_number(number))
        || named.iter().any(|it| line.starts_with(it))
}

/// A text without what stands in quotation marks, which others said.
fn unquoted(text: &str) -> String {
    const MARKS: [(char, char); 7] = [
        ('"', '"'),
        ('“', '”'),
        ('„', '“'),
        ('«', '»'),
        ('「', '」'),
        ('『', '』'),
        ('‘', '’'),
    ];
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c| MARKS.iter().any(|(opens, _)| *opens == c)) {
        let opens = rest[at..].chars().next().unwrap_or('"');
        let behind = at + opens.len_utf8();
        let closes = MARKS
            .iter()
            .find(|(it, _)| *it == opens)
            .map_or('"', |it| it.1);
        kept.push_str(&rest[..at]);
        let end = rest[behind..].find(closes);
        rest = &rest[end.map_or(behind, |end| behind + end + closes.len_utf8())..];
    }
    kept + rest
}

/// The label that a line begins with, and what follows it: `Question: …`, `## 问题`, `[Context]`,
/// `**Query:** …`.
fn label(line: &str) -> Option<(Label, &str)> {
    let trimmed = line.trim().trim_start_matches(['-', '=']);
    let marked = trimmed.trim_start_matches(['#', '*', '[', '【', '「', '<', ' ']);
    let is_marked = marked.len() < trimmed.len();
    let end = marked.find([':', '：', ']', '】', '」', '*', '>']);
    // Without a colon only a heading is a label.
    let end = match end {
        Some(end) => end,
        None if is_marked => marked.len(),
        None => return None,
    };
    let name = marked[..end].trim().trim_end_matches('#').trim_end();
    // “Retrieved documents (3)”.
    let name = name.split(['(', '（']).next().unwrap_or(name).trim();
    if name.is_empty() || name.len() > 60 {
        return None;
    }
    let name = name.to_lowercase().replace('’', "'");
    let numbered = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let is = |labels: &[&str]| labels.contains(&&*name) || labels.contains(&numbered);
    let label = if is(&QUESTION) || name.starts_with("my request") {
        Label::Question
    } else if is(&CONTEXT) {
        Label::Context
    } else if is(&BEHIND) {
        Label::Behind
    } else {
        return None;
    };
    let rest = marked[end..].trim_start_matches([':', '：', ']', '】', '」', '*', '>', ' ']);
    Some((label, rest.trim()))
}

/// Whether a paragraph tells the model what to do with documents.
pub fn instructs(paragraph: &str) -> bool {
    if surely_instructs(paragraph) {
        return true;
    }
    let begin = &paragraph[..paragraph.floor_char_boundary(LOOKED_AT)];
    let lower = begin
        .trim_start_matches(['#', '*', '-', ' '])
        .to_lowercase();
    if paragraph.starts_with('#') {
        let heading = lower.lines().next().unwrap_or_default();
        let heading = heading.trim().trim_end_matches([':', '：']);
        let usual = [
            "task",
            "guideline",
            "instruction",
            "rule",
            "output",
            "example",
            "citation",
        ];
        return usual.iter().any(|word| heading.contains(word));
    }
    !asks(paragraph)
        && ORDERS.iter().any(|order| lower.starts_with(order))
        && SPEAKS_OF.iter().any(|word| lower.contains(word))
}

/// Whether it says what only a template does, and asks nothing.
pub fn surely_instructs(paragraph: &str) -> bool {
    !asks(paragraph) && speaks_as_template(paragraph)
}

fn asks(paragraph: &str) -> bool {
    paragraph.trim_end().ends_with(['?', '？', '؟'])
}

fn speaks_as_template(paragraph: &str) -> bool {
    let begin = &paragraph[..paragraph.floor_char_boundary(LOOKED_AT)];
    let lower = begin.to_lowercase().replace('’', "'");
    SURELY.iter().any(|phrase| lower.contains(phrase))
}
