//! How a message tells a conversation: with whatever else it says, alone, or with what a front end wants of
//! it.

use serde::Serialize;
use toml::de::DeValue;

use super::signs::{self, is_speaker};

/// What a rule asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transcript {
    /// The message tells one.
    #[serde(rename = "true")]
    Told,
    /// It is one, and says nothing else.
    Alone,
    /// It says what is wanted of it too, and not as somebody does who wants that for himself.
    Impersonal,
}

/// How a text tells a conversation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    is_told: bool,
    is_alone: bool,
    is_impersonal: bool,
}

/// Bytes of what is said beside a conversation that are looked at.
const LONGEST: usize = 3000;

/// How people speak of themselves, …
const PERSON: &str = "|i|i'm|i've|i'd|i'll|my|me|mine|myself|we|we're|we've|our|us|ich|mein|meine|meinen|meiner|\
    mir|mich|wir|unser|je|j'ai|mon|ma|mes|moi|nous|yo|mi|mis|nosotros|eu|meu|minha|mim|nós|io|mio|mia|noi|я|мой|\
    моя|мои|мне|мы|ik|mijn|mij|wij|ja|mój|moja|mnie|ben|benim|bana|tôi|saya|";
/// … and what they want of a conversation that front ends do not.
const WANTED: &str = "|convert|turn|translate|translation|act|continue|explain|play|pretend|proofread|correct|fix|\
    finish|reply|respond|debug|traduis|traduce|traduza|übersetze|traduci|переведи|";
/// The same in scripts that do not part words.
const UNPARTED: [&str; 16] = [
    "我", "私", "僕", "俺", "내 ", "제 ", "나는", "나의", "저는", "저의", "翻译", "翻譯", "继续",
    "繼續", "扮演", "訳",
];

impl Transcript {
    /// From a rule; `None` where it asks nothing.
    pub(super) fn parse(value: &DeValue<'_>) -> Result<Option<Self>, ()> {
        match value {
            DeValue::Boolean(told) => Ok(told.then_some(Self::Told)),
            DeValue::String(word) if word == "alone" => Ok(Some(Self::Alone)),
            DeValue::String(word) if word == "impersonal" => Ok(Some(Self::Impersonal)),
            _ => Err(()),
        }
    }

    pub(super) fn holds(self, told: Told) -> bool {
        match self {
            Self::Told => told.is_told,
            Self::Alone => told.is_alone,
            Self::Impersonal => told.is_impersonal,
        }
    }
}

impl Told {
    /// Of the texts of a message.
    pub(super) fn of<'a>(texts: impl Iterator<Item = std::borrow::Cow<'a, str>>) -> Self {
        let mut told = Self::default();
        for text in texts.filter(|text| signs::tells_conversation(text)) {
            told.is_told = true;
            told.is_alone |= is_alone(&text);
            told.is_impersonal |= beside(&text).is_some_and(|beside| is_impersonal(&beside));
        }
        told
    }
}

/// Whether the first that a text says, behind marks and headings, is who speaks.
fn is_alone(text: &str) -> bool {
    let is_frame = |line: &&str| {
        line.is_empty()
            || (line.starts_with('<') && line.ends_with('>'))
            || ["```", "---", "===", "#", "["]
                .iter()
                .any(|mark| line.starts_with(mark))
                && !line.contains("\"role\"")
    };
    let mut lines = text.lines().map(str::trim).skip_while(is_frame);
    let first = lines.next().unwrap_or_default();
    let begins = first.trim_start_matches(['[', '{', ' ']);
    is_speaker(first) || begins.starts_with("\"role\"") || begins.starts_with("'role'")
}

/// What a text says before the conversation that it tells, and in its last paragraph.
fn beside(text: &str) -> Option<String> {
    let mut at = 0;
    let mut speaks = Vec::new();
    for line in text.split_inclusive('\n') {
        if is_speaker(line) {
            speaks.push((at, at + line.len()));
        }
        at += line.len();
    }
    let (begin, end) = (speaks.first()?.0, speaks.last()?.1);
    let behind = &text[end..];
    let behind = behind.rfind("\n\n").map_or("", |at| &behind[at..]);
    let beside = format!("{}\n{behind}", &text[..begin]);
    (beside.len() <= LONGEST).then_some(beside)
}

/// Whether what is said beside a conversation wants something of it, and not for the speaker himself.
fn is_impersonal(beside: &str) -> bool {
    let lower = beside.to_lowercase().replace('’', "'");
    let words = lower.split(|c: char| !c.is_alphanumeric() && c != '\'');
    let mut words = words.filter(|word| !word.is_empty()).peekable();
    let is_a_persons = |word: &str| {
        let word = format!("|{word}|");
        PERSON.contains(&word) || WANTED.contains(&word)
    };
    words.peek().is_some()
        && !words.any(is_a_persons)
        && !beside.contains(['?', '？'])
        && !UNPARTED.iter().any(|it| lower.contains(it))
}
