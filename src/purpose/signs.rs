//! What a text looks like whose words nobody knows: templates are edited, translated and new in each
//! version, and yet say what they want, and of what.

use memchr::memchr_iter;
use memchr::memmem::find_iter;

/// Bytes of a text's beginning, and of its end, in which an instruction stands.
const BEGINNING: usize = 1500;
const END: usize = 600;
/// Bytes of a line in which somebody's name may stand.
const LONGEST_NAME: usize = 48;

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

/// Who speaks in it, at the beginning of a line: the user …
const USERS: &str = "|user|human|me|prompt|nutzer|nutzerin|benutzer|mensch|utilisateur|utilisatrice|usuario|\
    usuária|usuário|utilizador|utente|użytkownik|gebruiker|kullanıcı|người dùng|pengguna|\
    пользователь|человек|користувач|用户|用戶|使用者|人类|人類|ユーザー|ユーザ|사용자|유저|المستخدم|مستخدم|उपयोगकर्ता|\
    ผู้ใช้|";
/// … and the model.
const MODELS: &str = "|assistant|ai|ai assistant|response|model|bot|chatbot|chatgpt|claude|gpt|gemini|llm|system|\
    assistent|assistentin|ki|ia|asistente|assistente|asystent|asistan|yapay zeka|trợ lý|asisten|\
    ассистент|помощник|ии|асистент|помічник|助手|助理|机器人|模型|アシスタント|어시스턴트|도우미|المساعد|مساعد|सहायक|\
    ผู้ช่วย|pembantu|";

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

/// Where the sentences of a text end, the last at its end; those without a letter are none.
pub fn sentences(text: &str) -> Vec<usize> {
    let mut ends = Vec::with_capacity(16);
    let bytes = text.as_bytes();
    let mut is_empty = true;
    for (at, byte) in bytes.iter().enumerate() {
        let ends_here = match byte {
            b'.' | b'!' | b'?' => true,
            b'\n' => !goes_on(bytes, at),
            // 。！？।؟, by the last byte of each.
            0x82 => bytes[..at].ends_with(b"\xE3\x80"),
            0x81 | 0x9F => {
                let before = &bytes[..at];
                before.ends_with(b"\xEF\xBC") || (*byte == 0x9F && before.ends_with(b"\xD8"))
            }
            0xA4 => bytes[..at].ends_with(b"\xE0\xA5"),
            _ => {
                is_empty &= byte.is_ascii_whitespace();
                false
            }
        };
        if ends_here && !is_empty {
            ends.push(at + 1);
            is_empty = true;
        }
    }
    match ends.last_mut() {
        Some(last) if is_empty => *last = text.len(),
        _ => ends.push(text.len()),
    }
    ends
}

/// Whether a sentence was broken at this line's end: a letter or a comma stands before it and a word behind,
/// which is not somebody's name.
fn goes_on(text: &[u8], at: usize) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase();
    let before = text[..at].last();
    let behind = &text[at + 1..];
    before.is_some_and(|byte| is_letter(byte) || *byte == b',')
        && behind.first().is_some_and(is_letter)
        && {
            let word = behind.iter().position(|byte| !is_letter(byte));
            word.is_some_and(|end| behind[end] != b':')
        }
}

/// Whether a text tells a conversation: both sides of it, or one between such marks.
pub fn tells_conversation(text: &str) -> bool {
    let mut speaks = (false, false);
    let mut has_roles = false;
    // All of it stands before a colon, and of those there are few.
    let colons = memchr_iter(b':', text.as_bytes());
    for at in colons.chain(find_iter(text.as_bytes(), "：")) {
        let before = &text[..at];
        has_roles |= [r#""role""#, "'role'"]
            .iter()
            .any(|key| before.ends_with(key));
        if let Some(name) = speaker(before) {
            speaks.0 |= USERS.contains(&name);
            speaks.1 |= MODELS.contains(&name);
        }
    }
    let whole = || lower(text);
    speaks == (true, true)
        || (speaks != (false, false) && is_marked(&whole()))
        || (has_roles && KEYS.iter().any(|key| both(&whole(), key)))
}

/// Whether a line begins with who speaks in a conversation.
pub fn is_speaker(line: &str) -> bool {
    let before = line.find([':', '：']).map(|at| &line[..at]);
    let name = before.and_then(speaker);
    name.is_some_and(|name| USERS.contains(&name) || MODELS.contains(&name))
}

/// The name that a text's last line has alone, whatever stands around it to set it off, in small letters
/// and between bars.
fn speaker(text: &str) -> Option<String> {
    let text = text.trim_end_matches(['*', ' ', ']', '>', '_', ')']);
    let from = text.ceil_char_boundary(text.len().saturating_sub(LONGEST_NAME));
    let line = text[from..].rfind(['\n', '"']);
    let from = match line {
        Some(at) => from + at + 1,
        None if from == 0 => 0,
        None => return None,
    };
    let decoration = |c: char| {
        c.is_ascii_digit()
            || matches!(
                c,
                ' ' | '\t' | '*' | '#' | '-' | '[' | '<' | '>' | '_' | '|' | '.' | '('
            )
    };
    let name = text[from..].trim_start_matches(decoration);
    (!name.is_empty()).then(|| format!("|{}|", lower(name)))
}

fn is_marked(text: &str) -> bool {
    MARKS.iter().any(|mark| text.contains(mark))
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
