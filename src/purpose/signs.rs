//! What a text looks like whose words nobody knows: templates are edited, translated and new in each
//! version, and yet say what they want, and of what.

/// Bytes of a text's beginning, and of its end, in which an instruction stands.
const BEGINNING: usize = 1500;
const END: usize = 600;

/// What front ends put around a conversation that they ask something about.
const MARKS: [&str; 12] = [
    "<chat_history",
    "<conversation",
    "<transcript",
    "<messages",
    "<dialog",
    "<history",
    "[conversation]",
    "\"role\": \"user\"",
    "\"role\":\"user\"",
    "'role': 'user'",
    "```conversation",
    "--- conversation",
];

/// Who speaks in it, the user and the model, at the beginning of a line.
const SIDES: [(&str, &str); 19] = [
    ("user", "assistant"),
    ("human", "assistant"),
    ("human", "ai"),
    ("user", "ai"),
    ("user", "response"),
    ("user", "model"),
    ("user", "bot"),
    ("nutzer", "assistent"),
    ("benutzer", "assistent"),
    ("utilisateur", "assistant"),
    ("usuario", "asistente"),
    ("usuário", "assistente"),
    ("utente", "assistente"),
    ("用户", "助手"),
    ("用户", "助理"),
    ("用戶", "助手"),
    ("使用者", "助理"),
    ("ユーザー", "アシスタント"),
    ("пользователь", "ассистент"),
];

/// How messages as JSON say whose they are.
const KEYS: [&str; 2] = ["\"role\":", "'role':"];

/// The part of a text in which words are looked for, in small letters.
pub fn instruction(text: &str) -> String {
    if text.len() <= BEGINNING + END {
        return lower(text);
    }
    let beginning = &text[..text.floor_char_boundary(BEGINNING)];
    let end = &text[text.ceil_char_boundary(text.len() - END)..];
    lower(&[beginning, "\n", end].concat())
}

/// A text in small letters. The standard library looks up every letter behind the first that is not
/// ASCII.
fn lower(text: &str) -> String {
    let mut lower = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c.is_ascii() {
            let end = rest.bytes().position(|byte| !byte.is_ascii());
            let (ascii, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let begun = lower.len();
            lower.push_str(ascii);
            lower[begun..].make_ascii_lowercase();
            rest = behind;
        } else {
            lower.extend(c.to_lowercase());
            rest = &rest[c.len_utf8()..];
        }
    }
    lower
}

/// Whether what [`instruction`] gives has a sentence with a word of each list; the last list's may stand
/// in the one before or behind it.
pub fn has_words(instruction: &str, wanted: &[Vec<String>]) -> bool {
    let has = |sentence: &str, words: &Vec<String>| {
        let mut words = words.iter();
        words.any(|word| sentence.contains(word.as_str()))
    };
    let ends = ['.', '!', '?', '\n', '。', '！', '？'];
    let sentences: Vec<_> = instruction
        .split(ends)
        .filter(|sentence| !sentence.trim().is_empty())
        .collect();
    let Some((last, others)) = wanted.split_last() else {
        return true;
    };
    (0..sentences.len()).any(|at| {
        let from = at.saturating_sub(usize::from(!others.is_empty()));
        let to = sentences
            .len()
            .min(at + 1 + usize::from(!others.is_empty()));
        others.iter().all(|words| has(sentences[at], words))
            && sentences[from..to].iter().any(|beside| has(beside, last))
    })
}

/// Whether a text tells a conversation: both sides of it, or one between such marks.
pub fn tells_conversation(text: &str) -> bool {
    let mut speaks = [(false, false); SIDES.len()];
    let mut has_roles = false;
    // All of it stands before a colon, and of those there are few.
    for (at, _) in text.match_indices([':', '：']) {
        let key = |quote| {
            text[..at]
                .strip_suffix(quote)
                .is_some_and(|it| lower_end(it, "role").is_some())
        };
        has_roles |= key('"') || key('\'');
        let before = text[..at].trim_end_matches(['*', ' ', ']', '>', '_']);
        for ((user, model), speaks) in SIDES.iter().zip(&mut speaks) {
            speaks.0 |= begins_line(before, user);
            speaks.1 |= begins_line(before, model);
        }
    }
    let whole = || lower(text);
    speaks.contains(&(true, true))
        || (speaks.iter().any(|(user, model)| *user || *model) && is_marked(&whole()))
        || (has_roles && KEYS.iter().any(|key| both(&whole(), key)))
}

fn is_marked(text: &str) -> bool {
    MARKS.iter().any(|mark| text.contains(mark))
}

/// Whether a text ends with a line of that name alone, whatever stands around the name to set it off.
fn begins_line(text: &str, name: &str) -> bool {
    let decoration = |c: char| {
        matches!(
            c,
            ' ' | '\t' | '*' | '#' | '-' | '[' | '<' | '>' | '_' | '|'
        )
    };
    lower_end(text, name).is_some_and(|before| {
        let before = before.trim_end_matches(decoration);
        before.is_empty() || before.ends_with(['\n', '"'])
    })
}

/// What stands before `end`, which is in small letters, where the text ends with that in whatever
/// letters.
fn lower_end<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let mut before = text.chars();
    let is_it = |c: char| {
        before
            .next_back()
            .is_some_and(|it| it.to_lowercase().eq([c]))
    };
    end.chars().rev().all(is_it).then_some(before.as_str())
}

/// Whether messages of both sides stand there as JSON.
fn both(text: &str, key: &str) -> bool {
    let roles = text.match_indices(key).map(|(at, key)| {
        let role = text[at + key.len()..].trim_start();
        role.trim_start_matches(['"', '\''])
    });
    let mut found = (false, false);
    for role in roles {
        found.0 |= role.starts_with("user");
        found.1 |= role.starts_with("assistant");
    }
    found.0 && found.1
}
