//! The macros of character cards ("curly braced syntaxes"), resolved when a card is loaded.
//!
//! Only `{{user}}` and `{{original}}` wait for the request. `{{random:…}}` and `{{roll:…}}` are
//! drawn once a generation and not once a request: a system prompt that changed with each turn
//! would defeat the upstream's prompt cache.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

/// The name that `{{user}}` stands for when the request tells none; cards must have a default.
pub(super) const DEFAULT_USER: &str = "User";

/// A stretch of a card's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Fixed text, not yet escaped.
    Text(String),
    /// `{{user}}`: the name of whom the persona talks to.
    User,
    /// `{{original}}`: the client's own system text.
    Original,
}

/// A text whose macros are resolved.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    /// Without adjacent texts, and without white space around the whole.
    pub(super) pieces: Vec<Piece>,
    /// What `{{hidden_key:…}}` held: it triggers book entries and is never sent.
    pub(super) hidden: Vec<String>,
}

impl Expanded {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    fn push(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    fn trim(mut self) -> Self {
        if let Some(Piece::Text(first)) = self.pieces.first_mut() {
            *first = first.trim_start().to_owned();
        }
        if let Some(Piece::Text(last)) = self.pieces.last_mut() {
            last.truncate(last.trim_end().len());
        }
        self.pieces
            .retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        self
    }
}

/// The pieces as one text for a user of that name, without `{{original}}`.
pub(super) fn plain(pieces: &[Piece], user: &str) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::User => user,
            Piece::Original => "",
        })
        .collect()
}

/// Resolves the macros of `text` for a character named `char`.
///
/// `{{char}}`, `{{user}}`, `<BOT>`, `<CHAR>` and `<USER>` are found in any letter case. A macro
/// that is not known stays as it is written: it may be meant for the model.
pub(super) fn expand(text: &str, char: &str) -> Expanded {
    let text = text.replace("\r\n", "\n");
    let mut expanded = Expanded::default();
    let mut rest = text.as_str();
    while let Some(start) = rest.find(['{', '<']) {
        let (before, tail) = rest.split_at(start);
        expanded.push(before);
        let taken = curly(tail, char, &mut expanded).or_else(|| tag(tail, char, &mut expanded));
        rest = match taken {
            Some(length) => &tail[length..],
            None => {
                expanded.push(&tail[..1]);
                &tail[1..]
            }
        };
    }
    expanded.push(rest);
    expanded.trim()
}

/// A `{{macro}}` at the head of `text`: applies it and gives its length.
fn curly(text: &str, char: &str, out: &mut Expanded) -> Option<usize> {
    let inner = text.strip_prefix("{{")?;
    let inner = &inner[..inner.find("}}")?];
    let (name, arguments) = match inner.split_once(':') {
        Some((name, arguments)) => (name, arguments.trim_start_matches(':')),
        None => (inner, ""),
    };
    match name.trim().to_ascii_lowercase().as_str() {
        "char" => out.push(char),
        "user" => out.pieces.push(Piece::User),
        "original" => out.pieces.push(Piece::Original),
        "comment" => {}
        "hidden_key" => out.hidden.push(arguments.to_owned()),
        "reverse" => out.push(&arguments.chars().rev().collect::<String>()),
        "random" => out.push(&choose(arguments, RandomState::new().hash_one(()))),
        "pick" => out.push(&choose(arguments, stable_hash(arguments))),
        "roll" => out.push(&roll(arguments)?.to_string()),
        comment if comment.starts_with("//") => {}
        _ => return None,
    }
    Some(inner.len() + "{{}}".len())
}

/// A `<USER>`, `<BOT>` or `<CHAR>` of V1 at the head of `text`.
fn tag(text: &str, char: &str, out: &mut Expanded) -> Option<usize> {
    let inner = text.strip_prefix('<')?;
    let inner = &inner[..inner.find('>')?];
    match inner.to_ascii_lowercase().as_str() {
        "user" => out.pieces.push(Piece::User),
        "bot" | "char" => out.push(char),
        _ => return None,
    }
    Some(inner.len() + "<>".len())
}

/// One of the options in `arguments`, which commas separate and `\,` does not.
fn choose(arguments: &str, draw: u64) -> String {
    const ESCAPED_COMMA: &str = "\u{0}";
    let arguments = arguments.replace("\\,", ESCAPED_COMMA);
    let options: Vec<&str> = arguments.split(',').collect();
    let chosen = draw % options.len() as u64;
    options[chosen as usize].replace(ESCAPED_COMMA, ",")
}

/// A number from 1 to N of `N` or `dN`.
fn roll(arguments: &str) -> Option<u64> {
    let sides: u64 = arguments
        .trim()
        .trim_start_matches(['d', 'D'])
        .parse()
        .ok()?;
    let draw = RandomState::new().hash_one(());
    draw.checked_rem(sides).map(|below| below + 1)
}

/// `{{pick:…}}` should give the same value for the same prompt, restarts included.
fn stable_hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        plain(&expand(text, "Mira").pieces, "Ada")
    }

    #[test]
    fn names_are_put_in_whatever_the_letter_case() {
        assert_eq!(
            said("{{char}} {{CHAR}} <bot> <Char>"),
            "Mira Mira Mira Mira"
        );
        assert_eq!(said("{{user}} {{ User }} <USER>"), "Ada Ada Ada");
    }

    #[test]
    fn comments_vanish_and_hidden_keys_are_kept_aside() {
        let text = "a{{// b}}{{comment: c}}{{hidden_key:d}}e";
        assert_eq!(said(text), "ae");
        assert_eq!(expand(text, "Mira").hidden, ["d"]);
    }

    #[test]
    fn what_is_no_macro_stays() {
        for text in [
            "{{unknown}}",
            "{{",
            "<b>x</b>",
            "{ {char} }",
            "{{roll:0}}",
            "a < b {",
        ] {
            assert_eq!(said(text), text);
        }
    }

    #[test]
    fn original_is_a_piece_of_its_own() {
        let pieces = expand(" {{original}}\nthen {{user}}{{original}} ", "Mira").pieces;
        let text = |text: &str| Piece::Text(text.to_owned());
        let expected = [
            Piece::Original,
            text("\nthen "),
            Piece::User,
            Piece::Original,
        ];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn draws_stay_within_their_options() {
        for _ in 0..50 {
            assert!(["a", "b,c"].contains(&said(r"{{random:a,b\,c}}").as_str()));
            assert!((1..=6).contains(&said("{{roll:d6}}").parse().unwrap()));
        }
        assert_eq!(said("{{pick::a,b,c}}"), said("{{pick:a,b,c}}"));
        assert_eq!(said("{{reverse:龙b}}"), "b龙");
    }
}
