//! The macros of character cards ("curly braced syntaxes"), resolved when a card is loaded.
//!
//! They are written as `{{name}}`, `{{name:arguments}}`, `{{name::one::two}}` or
//! `{{name arguments}}`, in any letter case, one within another too. `{{user}}`, `{{original}}`,
//! `{{outlet::…}}` and the time wait for the request. `{{random:…}}` and `{{roll:…}}` are drawn
//! once a generation and not once a request: a system prompt that changed with each turn would
//! defeat the upstream's prompt cache.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

use jiff::Zoned;

use super::clock::Clock;

/// The name that `{{user}}` stands for when the request tells none; cards must have a default.
pub(super) const DEFAULT_USER: &str = "User";

/// Macros within macros at most.
const DEEPEST: usize = 8;

/// Dice of one roll, and blanks of one macro, at most.
const MOST: usize = 1000;

/// Bytes that may be read and written to resolve one text, about. Beyond them macros stay as they are
/// written: a few of them within one another could ask for more than there is memory.
const MOST_WORK: usize = 16 << 20;

/// A stretch of a card's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Fixed text, not yet escaped.
    Text(String),
    /// `{{user}}`: the name of whom the persona talks to.
    User,
    /// `{{original}}`: the client's own system text.
    Original,
    /// `{{time}}` and the like.
    Now(Clock),
    /// `{{outlet::NAME}}`: where the book's entries of that outlet stand.
    Outlet(String),
}

/// What waits for the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) user: &'a str,
    pub(super) now: &'a Zoned,
}

/// What a card says of itself, for macros that quote it.
#[derive(Debug, Default, Clone)]
pub(super) struct Names<'a> {
    pub(super) char: &'a str,
    /// By the macro's name in lower case, such as `description`.
    pub(super) fields: BTreeMap<&'static str, &'a str>,
}

impl Names<'_> {
    /// The same within a field, which does not quote itself there.
    fn within(&self, field: &str) -> Self {
        let mut names = self.clone();
        names.fields.retain(|_, other| !std::ptr::eq(*other, field));
        names
    }
}

/// A text whose macros are resolved.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    /// Without adjacent texts, and without white space around the whole.
    pub(super) pieces: Vec<Piece>,
    /// What `{{hidden_key:…}}` held: it triggers book entries and is never sent.
    pub(super) hidden: Vec<String>,
    /// After `{{trim}}`: line breaks that follow are left out.
    trims: bool,
    /// Of [`MOST_WORK`].
    work: usize,
}

impl Expanded {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    fn push(&mut self, text: &str) {
        self.work += text.len();
        let text = if self.trims {
            text.trim_start_matches(['\r', '\n'])
        } else {
            text
        };
        self.trims &= text.is_empty();
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    fn piece(&mut self, piece: Piece) {
        self.trims = false;
        self.pieces.push(piece);
    }

    fn trim_lines(&mut self) {
        if let Some(Piece::Text(last)) = self.pieces.last_mut() {
            last.truncate(last.trim_end_matches(['\r', '\n']).len());
        }
        self.trims = true;
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

/// The pieces as one text, without `{{original}}` and outlets.
pub(super) fn plain(pieces: &[Piece], values: Values<'_>) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(fixed) => text.push_str(fixed),
            Piece::User => text.push_str(values.user),
            Piece::Now(clock) => text.push_str(&clock.tell(values.now)),
            Piece::Original | Piece::Outlet(_) => {}
        }
    }
    text
}

/// As [`plain`] where no request is there yet: to be measured, and to be looked for.
pub(super) fn standing(pieces: &[Piece]) -> String {
    let now = Zoned::default();
    let user = DEFAULT_USER;
    plain(pieces, Values { user, now: &now })
}

/// Resolves the macros of `text` for a character of those `names`.
///
/// A macro that is not known stays as it is written: it may be meant for the model.
pub(super) fn expand(text: &str, names: &Names<'_>) -> Expanded {
    let text = text.replace("\r\n", "\n");
    let mut expanded = Expanded::default();
    resolve(&text, names, 0, &mut expanded);
    expanded.trim()
}

fn resolve(text: &str, names: &Names<'_>, depth: usize, out: &mut Expanded) {
    let ends = ends(text);
    out.work += text.len();
    let mut at = 0;
    while let Some(found) = text[at..].find(['{', '<']) {
        out.push(&text[at..at + found]);
        at += found;
        let taken = match ends.get(&at) {
            Some(end) if depth < DEEPEST && out.work < MOST_WORK => {
                let call = Call::read(&text[at + 2..*end]);
                call.apply(names, depth, out).map(|()| end + 2)
            }
            _ => tag(&text[at..], names, out).map(|length| at + length),
        };
        at = taken.unwrap_or_else(|| {
            out.push(&text[at..=at]);
            at + 1
        });
    }
    out.push(&text[at..]);
}

/// Where each `{{` has its `}}`. Of three braces the last two open.
fn ends(text: &str) -> HashMap<usize, usize> {
    let bytes = text.as_bytes();
    let mut ends = HashMap::new();
    let mut open = Vec::new();
    let mut at = 0;
    while at + 1 < bytes.len() {
        at += match (&bytes[at..at + 2], bytes.get(at + 2)) {
            (b"{{", third) if third != Some(&b'{') => {
                open.push(at);
                2
            }
            (b"}}", _) => {
                if let Some(start) = open.pop() {
                    ends.insert(start, at);
                }
                2
            }
            _ => 1,
        };
    }
    ends
}

/// What stands between the braces.
struct Call<'a> {
    /// In lower case.
    name: String,
    arguments: &'a str,
}

impl<'a> Call<'a> {
    fn read(inner: &'a str) -> Self {
        let inner = inner.trim();
        if let Some(comment) = inner.strip_prefix("//") {
            return Self {
                name: "//".to_owned(),
                arguments: comment,
            };
        }
        let end = inner.find(|c: char| c == ':' || c.is_whitespace());
        let (name, rest) = inner.split_at(end.unwrap_or(inner.len()));
        let rest = rest.trim_start();
        let arguments = rest
            .strip_prefix("::")
            .or_else(|| rest.strip_prefix(':'))
            .unwrap_or(rest);
        Self {
            name: name.to_ascii_lowercase(),
            arguments,
        }
    }

    /// Puts what the macro stands for into `out`; `None` for one that is not known.
    fn apply(&self, names: &Names<'_>, depth: usize, out: &mut Expanded) -> Option<()> {
        let mut within = |text: &str| resolve(text, names, depth + 1, out);
        match self.name.as_str() {
            "random" if !self.arguments.is_empty() => {
                within(&choose(self.arguments, RandomState::new().hash_one(())));
            }
            "pick" if !self.arguments.is_empty() => {
                within(&choose(self.arguments, stable_hash(self.arguments)));
            }
            "roll" => {
                let total = roll(&self.value(names, depth, out))?;
                out.work += MOST;
                out.push(&total.to_string());
            }
            "reverse" => {
                let text = self.value(names, depth, out);
                out.push(&text.chars().rev().collect::<String>());
            }
            "hidden_key" => {
                let key = self.value(names, depth, out);
                out.hidden.push(key);
            }
            "comment" | "//" | "noop" | "persona" => {}
            "newline" => out.push(&"\n".repeat(self.count()?)),
            "space" => out.push(&" ".repeat(self.count()?)),
            "trim" => out.trim_lines(),
            "outlet" => out.piece(Piece::Outlet(self.arguments.trim().to_owned())),
            "time" => out.piece(Piece::Now(Clock::at("LT", self.arguments))),
            "datetimeformat" if !self.arguments.is_empty() => {
                out.piece(Piece::Now(Clock::new(self.arguments.trim())));
            }
            name if self.arguments.is_empty() => match name {
                "char" | "group" | "charifnotgroup" => out.push(names.char),
                "user" | "notchar" => out.piece(Piece::User),
                "original" => out.piece(Piece::Original),
                "date" => out.piece(Piece::Now(Clock::new("LL"))),
                "weekday" => out.piece(Piece::Now(Clock::new("dddd"))),
                "isotime" => out.piece(Piece::Now(Clock::new("HH:mm"))),
                "isodate" => out.piece(Piece::Now(Clock::new("YYYY-MM-DD"))),
                name => match name.strip_prefix("time_") {
                    Some(zone) => out.piece(Piece::Now(Clock::at("LT", zone))),
                    None => {
                        let field = names.fields.get(name)?;
                        resolve(field, &names.within(field), depth + 1, out);
                    }
                },
            },
            _ => return None,
        }
        Some(())
    }

    /// The arguments with their own macros resolved.
    fn value(&self, names: &Names<'_>, depth: usize, out: &mut Expanded) -> String {
        let mut inner = Expanded {
            work: out.work,
            ..Expanded::default()
        };
        resolve(self.arguments, names, depth + 1, &mut inner);
        out.work = inner.work;
        standing(&inner.pieces)
    }

    fn count(&self) -> Option<usize> {
        match self.arguments.trim() {
            "" => Some(1),
            count => count.parse().ok().filter(|count| *count <= MOST),
        }
    }
}

/// A `<USER>`, `<BOT>` or `<CHAR>` of V1 at the head of `text`.
fn tag(text: &str, names: &Names<'_>, out: &mut Expanded) -> Option<usize> {
    let inner = text.strip_prefix('<')?;
    // The longest of them; looking further would read the whole text for each of its signs.
    let end = inner
        .bytes()
        .take("charifnotgroup>".len())
        .position(|byte| byte == b'>')?;
    let inner = &inner[..end];
    match inner.to_ascii_lowercase().as_str() {
        "user" => out.piece(Piece::User),
        "bot" | "char" | "group" | "charifnotgroup" => out.push(names.char),
        _ => return None,
    }
    Some(inner.len() + "<>".len())
}

/// One of the options in `arguments`: `a::b`, or else `a,b`, where `\,` is a comma. What stands
/// within a macro or in braces of its own is not parted.
fn choose(arguments: &str, draw: u64) -> String {
    let mut options = parts(arguments, "::");
    if options.len() == 1 {
        options = parts(arguments, ",");
    }
    let chosen = options[(draw % options.len() as u64) as usize];
    chosen.trim().replace("\\,", ",")
}

/// `list` parted at each `separator` that is neither escaped nor within a macro; at least one.
fn parts<'a>(list: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut start, mut at, mut depth) = (0, 0, 0_usize);
    while let Some(c) = list[at..].chars().next() {
        let rest = &list[at..];
        let length = match rest {
            _ if rest.starts_with("{{") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("}}") => {
                depth = depth.saturating_sub(1);
                2
            }
            _ if rest.starts_with("\\,") => 2,
            _ if depth == 0 && rest.starts_with(separator) => {
                parts.push(&list[start..at]);
                start = at + separator.len();
                separator.len()
            }
            _ => c.len_utf8(),
        };
        at += length;
    }
    parts.push(&list[start..]);
    parts
}

/// The sum of the dice of `N`, `dN`, `2dN`, `2dN+3` or `2dN-3`; `None` for anything else.
fn roll(formula: &str) -> Option<i64> {
    let formula = formula.trim().to_ascii_lowercase();
    let (dice, rest) = formula.split_once('d').unwrap_or(("", &formula));
    let dice: usize = match dice.trim() {
        "" => 1,
        dice => dice.parse().ok()?,
    };
    let (sides, more) = match rest.find(['+', '-']) {
        Some(at) => (&rest[..at], rest[at..].replace(' ', "").parse().ok()?),
        None => (rest, 0_i64),
    };
    let sides: u32 = sides.trim().parse().ok()?;
    if sides == 0 || dice == 0 || dice > MOST || more.abs() > i64::from(u32::MAX) {
        return None;
    }
    let die = || RandomState::new().hash_one(()) % u64::from(sides);
    let sum: u64 = (0..dice).map(|_| die() + 1).sum();
    Some(i64::try_from(sum).ok()? + more)
}

/// `{{pick:…}}` should give the same value for the same prompt, restarts included.
fn stable_hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "macros_tests.rs"]
mod tests;
