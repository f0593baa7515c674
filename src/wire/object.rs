//! Objects and arrays taken apart one level deep, as places: what is changed is changed there, and
//! the rest stays as it was written.

use std::ops::Range;

use super::json::{Container, JsonError, Kind, Scanner, Span, Text};

type Result<T> = std::result::Result<T, JsonError>;

/// Nesting that is followed: what serde_json follows.
pub const MAX_DEPTH: usize = 128;

/// An object's members, in the order in which they were written.
#[derive(Debug, Clone, Default)]
pub struct Members {
    members: Vec<Member>,
    /// Where one more goes.
    pub tail: usize,
}

/// A member of an object.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    pub key: Text,
    pub value: Span,
    pub kind: Kind,
}

impl Member {
    /// From the key's opening quote to the end of the value.
    pub fn span(&self) -> Span {
        Span {
            start: self.key.span.start - 1,
            end: self.value.end,
        }
    }
}

impl Members {
    /// The members of the object that `json` is; `None` where it is none, or no JSON.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let mut scanner = Scanner::new(json, MAX_DEPTH).ok()?;
        let members = Self::read(json, &mut scanner, |scanner, _| scanner.skip().map(drop)).ok()?;
        scanner.finish().ok()?;
        Some(members)
    }

    /// Reads the object that comes next in `json`, each member's value by `value`, which is given
    /// the key. Anything but an object is one without members.
    pub fn read<'a>(
        json: &'a [u8],
        scanner: &mut Scanner<'a>,
        mut value: impl FnMut(&mut Scanner<'a>, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        let mut members = Vec::new();
        if scanner.peek()? != Kind::Object {
            scanner.skip()?;
            return Ok(Self::default());
        }
        let mut object: Container = scanner.open()?;
        while let Some(key) = scanner.next_key(&mut object)? {
            let kind = scanner.peek()?;
            let start = scanner.offset();
            value(scanner, &key.bytes(json))?;
            let end = scanner.offset();
            let value = Span { start, end };
            members.push(Member { key, value, kind });
        }
        Ok(Self {
            members,
            tail: object.tail,
        })
    }

    /// The member of that name; the last one where there are several, as most readers have it.
    pub fn get(&self, json: &[u8], name: &str) -> Option<&Member> {
        let mut members = self.members.iter().rev();
        members.find(|member| *member.key.bytes(json) == *name.as_bytes())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// What to cut so that these members are gone.
    pub fn cuts(&self, gone: impl Fn(&Member) -> bool) -> Vec<Range<usize>> {
        let spans = self.members.iter().map(Member::span);
        let spans: Vec<_> = spans.collect();
        cuts(&spans, |at| gone(&self.members[at]))
    }
}

/// The elements of the array that comes next, each read by `element`; anything else has none.
pub fn elements<'a, T>(
    scanner: &mut Scanner<'a>,
    mut element: impl FnMut(&mut Scanner<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut found = Vec::new();
    if scanner.peek()? != Kind::Array {
        scanner.skip()?;
        return Ok(found);
    }
    let mut array = scanner.open()?;
    while scanner.next_element(&mut array)? {
        found.push(element(scanner)?);
    }
    Ok(found)
}

/// What to cut of a list's `items` so that these are gone, each with one of the commas beside it.
pub fn cuts(items: &[Span], gone: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut leads = true;
    for (at, item) in items.iter().enumerate() {
        if !gone(at) {
            leads = false;
            continue;
        }
        let next = items.get(at + 1).map_or(item.end, |next| next.start);
        match leads {
            true => cuts.push(item.start..next),
            false => cuts.push(items[at - 1].end..item.end),
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::splice::Splice;

    #[test]
    fn members_are_taken_out_with_one_comma_each() {
        let json = Bytes::from_static(br#"{ "a" : 1 , "b":[2, 3] ,"c":{"a":4}, "d":"}" }"#);
        let members = Members::parse(&json).expect("an object");
        for (gone, wanted) in [
            ("", r#"{ "a" : 1 , "b":[2, 3] ,"c":{"a":4}, "d":"}" }"#),
            ("a", r#"{ "b":[2, 3] ,"c":{"a":4}, "d":"}" }"#),
            ("ab", r#"{ "c":{"a":4}, "d":"}" }"#),
            ("bd", r#"{ "a" : 1 ,"c":{"a":4} }"#),
            ("acd", r#"{ "b":[2, 3] }"#),
            ("abcd", r#"{  }"#),
        ] {
            let mut splice = Splice::<()>::new(&json);
            let is_gone = |member: &Member| gone.as_bytes().contains(&member.key.bytes(&json)[0]);
            for cut in members.cuts(is_gone) {
                splice.cut(cut);
            }
            assert_eq!(splice.finish().to_bytes(), wanted, "{gone}");
        }
    }
}
