//! What texts may begin with, all looked for in one pass over a text's beginning.

use crate::wire::json::Literal;

/// Texts without white space in front, every other run of it being one blank.
#[derive(Debug, Clone)]
pub(super) struct Beginnings {
    /// Sorted, none twice: those that share a beginning stand together.
    texts: Vec<String>,
    /// Bytes of the longest.
    longest: usize,
}

impl Beginnings {
    pub(super) fn new(texts: impl Iterator<Item = String>) -> Self {
        let mut texts: Vec<String> = texts.collect();
        texts.sort_unstable();
        texts.dedup();
        Self {
            longest: texts.iter().map(String::len).max().unwrap_or_default(),
            texts,
        }
    }

    /// Those that one of these texts begins with, whatever their white space.
    pub(super) fn of<'a>(&self, texts: impl Iterator<Item = &'a Literal<'a>>) -> Vec<&str> {
        let mut found = Vec::new();
        for text in texts {
            self.find(&text.beginning(2 * self.longest), &mut found);
        }
        found
    }

    fn find<'a>(&'a self, text: &str, found: &mut Vec<&'a str>) {
        let words = text.split_whitespace().enumerate();
        let bytes = words.flat_map(|(at, word)| {
            let blank = (at > 0).then_some(b' ');
            blank.into_iter().chain(word.bytes())
        });
        // Those that begin as the text does so far.
        let mut alike = &self.texts[..];
        for (at, byte) in bytes.enumerate() {
            let next = |text: &String| text.as_bytes().get(at).copied();
            let from = alike.partition_point(|text| next(text) < Some(byte));
            let to = alike.partition_point(|text| next(text) <= Some(byte));
            alike = &alike[from..to];
            // Whatever ends here stands before those that go on.
            match alike.first() {
                None => return,
                Some(first) if first.len() == at + 1 => found.push(first),
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::Scanner;

    #[test]
    fn those_are_found_that_a_text_begins_with_whatever_its_white_space() {
        let texts = ["a", "a title", "a title:", "b", "a tit of", ""];
        let beginnings = Beginnings::new(texts.map(str::to_owned).into_iter());
        for (text, found) in [
            (r#""a title: of this""#, &["a", "a title", "a title:"][..]),
            (r#""\n a\t  title""#, &["a", "a title"][..]),
            (r#""a titl""#, &["a"][..]),
            (r#""  b""#, &["b"][..]),
            (r#""c a title""#, &[][..]),
            (r#""""#, &[][..]),
        ] {
            let mut scanner = Scanner::new(text.as_bytes(), 1).unwrap();
            let literal = Literal::new(text.as_bytes(), scanner.text().unwrap());
            assert_eq!(beginnings.of([literal].iter()), found, "{text}");
        }
    }
}
