//! Whether a question asks for what the assistant said: “what did you recommend?”, “你推荐过什么？”.

/// What the assistant may have done, as it stands behind “you” …
const DONE: [&str; 15] = [
    "recommended",
    "suggested",
    "told",
    "said",
    "mentioned",
    "gave",
    "given",
    "advised",
    "explained",
    "proposed",
    "listed",
    "provided",
    "described",
    "shown",
    "showed",
];
/// … or behind “did you” …
const DO: [&str; 13] = [
    "recommend",
    "suggest",
    "tell",
    "say",
    "mention",
    "give",
    "advise",
    "explain",
    "propose",
    "list",
    "provide",
    "describe",
    "show",
];
/// … and what of it is its own.
const ITS: [&str; 8] = [
    "advice",
    "suggestion",
    "suggestions",
    "recommendation",
    "recommendations",
    "answer",
    "reply",
    "explanation",
];
/// What may stand between.
const BETWEEN: [&str; 9] = [
    "ve",
    "had",
    "have",
    "just",
    "already",
    "also",
    "earlier",
    "previously",
    "once",
];

/// The same in Chinese: what it may have done, …
const SPEECH: [&str; 4] = ["推荐", "推薦", "建议", "建議"];
/// … where it is said that it was done, …
const SAID: [&str; 9] = [
    "说", "說", "告诉", "告訴", "提到", "介绍", "介紹", "讲", "講",
];
const PAST: [char; 4] = ['过', '過', '了', '的'];
/// … and what makes a request of it.
const REQUEST: [char; 7] = ['能', '可', '会', '會', '请', '請', '帮'];
/// Characters within which both stand behind 你.
const NEAR: usize = 6;

/// Whether the question is for what the assistant said.
pub(super) fn is_assistant(question: &str) -> bool {
    in_english(question) || in_chinese(question)
}

fn in_english(question: &str) -> bool {
    let is = |word: &[u8], known: &str| word.eq_ignore_ascii_case(known.as_bytes());
    let among = |word: &[u8], list: &[&str]| list.iter().any(|known| is(word, known));
    let words = question
        .as_bytes()
        .split(|byte| !byte.is_ascii_alphabetic());
    let mut words = words.filter(|word| !word.is_empty() && !among(word, &BETWEEN));
    let mut before: [&[u8]; 2] = [b"", b""];
    words.any(|word| {
        let [did, you] = before;
        before = [you, word];
        let asked = || is(did, "did") && among(word, &DO);
        (is(you, "you") && (among(word, &DONE) || asked()))
            || (is(you, "your") && among(word, &ITS))
    })
}

fn in_chinese(question: &str) -> bool {
    question.match_indices(['你', '您']).any(|(at, you)| {
        let behind = &question[at + you.len()..];
        let end = behind
            .char_indices()
            .nth(NEAR)
            .map_or(behind.len(), |(end, _)| end);
        let behind = &behind[..end];
        let said = SAID.iter().any(|word| {
            let mut behind = behind.split(word).skip(1);
            behind.any(|rest| rest.starts_with(PAST))
        });
        let said = said || SPEECH.iter().any(|word| behind.contains(word));
        said && !behind.contains(REQUEST)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_for_what_the_assistant_said_is_told_from_others() {
        for question in [
            "Which restaurant did you recommend?",
            "What was the book you've suggested?",
            "remind me of the steps you previously listed",
            "I lost your advice on sleep",
            "你之前推荐的餐厅是哪家？",
            "您说过的那本书叫什么",
            "你給我的建議是什麼",
        ] {
            assert!(is_assistant(question), "{question}");
        }
        for question in [
            "Can you recommend a restaurant?",
            "Did you know that I like tea?",
            "What did I tell you?",
            "What is your name?",
            "Would you say it again",
            "你能推荐一家餐厅吗？",
            "请你帮我说",
            "我喜欢什么？",
            "",
        ] {
            assert!(!is_assistant(question), "{question}");
        }
    }
}
