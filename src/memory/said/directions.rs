//! Directions to the model that stage front ends put into a user message, on a line in brackets, where their
//! users let them merge what is the system's into what is the user's.

/// How the lines begin, in lower case; SillyTavern's own words, and those that others took over.
const DIRECTIONS: [&str; 9] = [
    "write the next reply only as ",
    "write the next reply as ",
    "write your next reply from the point of view of ",
    "continue your last message without ",
    "continue the following message.",
    "start a new chat]",
    "start a new group chat.",
    "example chat]",
    "the user has been idle",
];

/// The text without them; `None` where it has none.
pub fn without(text: &str) -> Option<String> {
    if !text.contains('[') || !text.lines().any(is_direction) {
        return None;
    }
    let rest: Vec<_> = text.lines().filter(|line| !is_direction(line)).collect();
    Some(rest.join("\n").trim().to_owned())
}

fn is_direction(line: &str) -> bool {
    let line = line.trim();
    let Some(inner) = line.strip_prefix('[').filter(|_| line.ends_with(']')) else {
        return false;
    };
    let begins = |direction: &&str| {
        let begin = inner.get(..direction.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(direction))
    };
    DIRECTIONS.iter().any(begins)
}
