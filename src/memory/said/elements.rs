//! Elements in angle brackets that clients and templates put around what the user says, or beside.

use std::ops::Range;

use memchr::{memchr, memmem};

/// Whose words stand in an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The user's, and all that is his: `<user_query>`.
    UserAlone,
    /// The user's, most likely: `<question>`.
    User,
    /// The client's own: `<system-reminder>`.
    Client,
    /// Those of a document that was attached or retrieved: `<context>`.
    Document,
}

/// An element with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub owner: Owner,
    pub at: Range<usize>,
    pub inner: Range<usize>,
}

/// Names without what parts their words …
const USER_ALONE: [&str; 9] = [
    "userquery",
    "userrequest",
    "usermessage",
    "userprompt",
    "userquestion",
    "userinput",
    "usertext",
    "commandargs",
    "humanmessage",
];
const USER: [&str; 6] = ["question", "query", "request", "task", "feedback", "prompt"];
/// … and words of which one in the name says enough.
const CLIENT: [&str; 12] = [
    "reminder",
    "environment",
    "instructions",
    "instruction",
    "permissions",
    "caveat",
    "skills",
    "system",
    "memory",
    "memories",
    "persona",
    "workspace",
];
const DOCUMENT: [&str; 31] = [
    "context",
    "contexts",
    "source",
    "sources",
    "document",
    "documents",
    "docs",
    "file",
    "files",
    "attachment",
    "attachments",
    "attached",
    "retrieved",
    "retrieval",
    "knowledge",
    "reference",
    "references",
    "excerpt",
    "excerpts",
    "passage",
    "passages",
    "snippet",
    "snippets",
    "chunk",
    "chunks",
    "materials",
    "histories",
    "history",
    "image",
    "citations",
    "transcript",
];
/// Words that say enough in a name of several.
const CLIENT_OF_SEVERAL: [&str; 32] = [
    "information",
    "metadata",
    "state",
    "layout",
    "steering",
    "todo",
    "command",
    "editor",
    "cursor",
    "ide",
    "skill",
    "rules",
    "aborted",
    "notification",
    "hook",
    "stdout",
    "stderr",
    "bash",
    "session",
    "info",
    "mode",
    "tabs",
    "git",
    "project",
    "subagent",
    "guidelines",
    "time",
    "date",
    "tools",
    "status",
    "settings",
    "profile",
];
const DOCUMENT_OF_SEVERAL: [&str; 8] = [
    "search", "results", "result", "web", "page", "doc", "data", "content",
];

/// Bytes of a tag's name at most, and of a tag.
const LONGEST_NAME: usize = 48;
const LONGEST_TAG: usize = 1024;
/// Tags that nothing closes and after which no more are looked for: each costs a look at all that
/// follows.
pub const MOST_OPEN: usize = 32;

/// The elements of a text, none within another, in order. What stands in code is the user's, and
/// so is a tag that is not closed or of a name that says nothing.
pub fn find(text: &str) -> Vec<Element> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut fence = Fence::default();
    let mut left_open = 0;
    while let Some(next) = memchr(b'<', &text.as_bytes()[at..]).filter(|_| left_open < MOST_OPEN) {
        let open = at + next;
        fence.read(&text[at..open]);
        at = open + 1;
        if fence.is_open() || text[..open].ends_with('`') {
            continue;
        }
        match element(text, open) {
            Found::Element(element) => {
                at = element.at.end;
                found.push(element);
            }
            Found::Pasted(end) => at = open + end,
            Found::LeftOpen => left_open += 1,
            Found::Nothing => {}
        }
    }
    found
}

/// Whether a place stands in a fenced block of code.
#[derive(Default)]
pub struct Fence {
    is_open: bool,
    /// What of the last line was read before.
    line: String,
}

impl Fence {
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Where a mark stands in a text, and whether in code.
    pub fn around<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = (usize, bool)> + 'a {
        let mut fence = Self::default();
        let mut read = 0;
        text.match_indices(mark).map(move |(at, _)| {
            fence.read(&text[read..at]);
            read = at;
            (at, fence.is_open())
        })
    }

    /// Goes on over `text`.
    pub fn read(&mut self, text: &str) {
        let Some((first, rest)) = text.split_once('\n') else {
            self.begin(text);
            return;
        };
        self.begin(first);
        self.end_line();
        let (lines, last) = rest.rsplit_once('\n').unwrap_or(("", rest));
        for line in lines.split('\n') {
            self.begin(line);
            self.end_line();
        }
        self.begin(last);
    }

    /// No more of a line is kept than tells whether it opens or closes code.
    fn begin(&mut self, part: &str) {
        if self.line.len() < 8 {
            let part = if self.line.is_empty() {
                part.trim_start()
            } else {
                part
            };
            self.line.extend(part.chars().take(4));
        }
    }

    fn end_line(&mut self) {
        if self.line.starts_with("```") || self.line.starts_with("~~~") {
            self.is_open = !self.is_open;
        }
        self.line.clear();
    }
}

/// What a `<` turns out to begin.
enum Found {
    Element(Element),
    /// A page or an XML file, which the user pasted, and how long it is.
    Pasted(usize),
    /// An element that nothing closes.
    LeftOpen,
    Nothing,
}

/// What begins at `open`, if it is something that tells whose it is.
fn element(text: &str, open: usize) -> Found {
    let rest = &text[open..];
    if let Some(comment) = rest.strip_prefix("<!--") {
        let Some(end) = comment.find("-->") else {
            return Found::LeftOpen;
        };
        let begin = &comment[..comment.floor_char_boundary(end.min(LONGEST_TAG))];
        let begin = begin.to_ascii_lowercase();
        let tells = ["context", "system", "attach"];
        return match tells.iter().any(|word| begin.contains(word)) {
            true => Found::Element(Element {
                owner: Owner::Client,
                at: open..open + 4 + end + 3,
                inner: open..open,
            }),
            false => Found::Nothing,
        };
    }
    let tag = &rest[..rest.floor_char_boundary(LONGEST_TAG)];
    let Some(head) = tag.find('>').map(|end| &tag[..end + 1]) else {
        return Found::Nothing;
    };
    if let Some(root) = page(rest, head) {
        return root.map_or(Found::LeftOpen, Found::Pasted);
    }
    let Some((name, owner)) = name(&head[1..]).and_then(|name| Some((name, owner(name)?))) else {
        return Found::Nothing;
    };
    if head.ends_with("/>") {
        return Found::Nothing;
    }
    let Some((inner, end)) = close(rest, name, head.len()) else {
        return Found::LeftOpen;
    };
    // “inside <context></context> tags” speaks of the element, and so does a sentence around it.
    let has_attributes = head.len() > name.len() + 2;
    let is_spoken_of = inner == head.len() && !has_attributes;
    let line = text[..open].rfind('\n').map_or(0, |end| end + 1);
    let before = text[line..open].trim_end();
    let opens = before.is_empty() || before.ends_with([':', '.', '>']);
    let ends = rest[end..].trim_start_matches([' ', '\t']);
    let closes = ends.is_empty() || ends.starts_with(['\n', '<']);
    if is_spoken_of || (owner != Owner::Client && !opens && !closes) {
        return Found::Nothing;
    }
    Found::Element(Element {
        owner,
        at: open..open + end,
        inner: open + head.len()..open + inner,
    })
}

/// Where a page or an XML file ends that begins with this tag, if one does, and it ends.
fn page(rest: &str, head: &str) -> Option<Option<usize>> {
    let begins = |with: &str| {
        let begin = head.get(..with.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(with))
    };
    let from = if begins("<?xml") || begins("<!doctype") {
        head.len() + rest[head.len()..].find('<')?
    } else if begins("<html") || begins("<svg") || head.contains("xmlns") {
        0
    } else {
        return None;
    };
    let root = &rest[from..];
    let end = root.find('>')? + 1;
    let closed = name(&root[1..]).and_then(|name| close(root, name, end));
    Some(closed.map(|(_, end)| from + end))
}

/// The name that a tag begins with. A few have a space in them, and no attributes then.
fn name(tag: &str) -> Option<&str> {
    let end = tag.find(['>', '/', '\n', '<', '='])?;
    let name = &tag[..end];
    let has_attribute = tag[end..].starts_with('=');
    let name = match name.split_once([' ', '\t']) {
        Some((first, _)) if has_attribute => first,
        _ => name.trim_end(),
    };
    let first = name.chars().next()?;
    let belongs = |c: char| c.is_alphanumeric() || "-_.: ".contains(c);
    let is_name = name.len() <= LONGEST_NAME && first.is_alphabetic() && name.chars().all(belongs);
    is_name.then_some(name)
}

/// Where the content ends and where its closing tag does, from the tag's own beginning.
fn close(rest: &str, name: &str, head: usize) -> Option<(usize, usize)> {
    let opening = format!("<{name}");
    let closing = format!("</{name}");
    let mut depth = 1usize;
    let mut at = head;
    loop {
        let end = at + memmem::find(&rest.as_bytes()[at..], closing.as_bytes())?;
        let opened = memmem::find_iter(&rest.as_bytes()[at..end], opening.as_bytes());
        let opened = opened.filter(|open| {
            let behind = rest.as_bytes().get(at + open + opening.len());
            behind.is_none_or(|byte| matches!(byte, b'>' | b' ' | b'\n' | b'\t'))
        });
        depth += opened.count();
        at = end + closing.len();
        let behind = rest[at..].trim_start();
        if !behind.starts_with('>') {
            continue;
        }
        depth -= 1;
        if depth == 0 {
            return Some((end, rest.len() - behind.len() + 1));
        }
    }
}

fn owner(name: &str) -> Option<Owner> {
    let words = words(name);
    let whole: String = words.concat();
    let any = |known: &[&str]| words.iter().any(|word| known.contains(&&**word));
    let of_several = |known: &[&str]| words.len() > 1 && any(known);
    if USER_ALONE.contains(&&*whole) {
        Some(Owner::UserAlone)
    } else if USER.contains(&&*whole) {
        Some(Owner::User)
    } else if any(&CLIENT) || of_several(&CLIENT_OF_SEVERAL) {
        Some(Owner::Client)
    } else if any(&DOCUMENT) || of_several(&DOCUMENT_OF_SEVERAL) {
        Some(Owner::Document)
    } else {
        None
    }
}

/// The words of a name in lower case: `attachedFiles`, `attached_files` and `ATTACHED-FILES` have
/// two.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let parts = !c.is_alphanumeric();
        if parts || (c.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = c.is_lowercase();
        if !parts && let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
