//! How a text stands in a block: as quoted data that can neither end it nor pass for a tag.

/// What stands before each further line of a text that keeps its lines: none can be taken for a
/// record of its own.
pub const INDENT: &str = "  ";

/// How a text is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// On one line, with one space where white space was.
    Flowing,
    /// Line by line, each with its indentation.
    Lines,
}

impl Style {
    /// Code, lists and tables keep their lines; what is said otherwise needs none.
    pub fn of(text: &str) -> Self {
        let mut marked = 0;
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        if is_fence(first) {
            return Self::Lines;
        }
        for line in lines {
            let trimmed = line.trim_start();
            let is_indented = line.len() - trimmed.len() > 1 && !trimmed.is_empty();
            if is_indented || is_fence(line) {
                return Self::Lines;
            }
            marked += usize::from(is_marked(trimmed));
        }
        match marked > 1 {
            true => Self::Lines,
            false => Self::Flowing,
        }
    }
}

/// Whether a line opens or closes a block of code.
pub fn is_fence(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("```") || line.starts_with("~~~")
}

/// Whether a line is an item of a list, a row of a table, or a statement.
fn is_marked(line: &str) -> bool {
    let is_item = ["- ", "* ", "+ ", "• ", "|"]
        .iter()
        .any(|mark| line.starts_with(mark));
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_numbered = number.len() < line.len() && number.starts_with(['.', ')']);
    let is_code = line.trim_end().ends_with(['{', '}', ';']);
    is_item || is_numbered || is_code
}

/// Appends `text`, trimmed. A bracket that could begin a tag or a role token becomes its full-width
/// look-alike, and so does the one that would end it.
pub fn quote(text: &str, style: Style, to: &mut String) {
    let text = match style {
        Style::Flowing => text.trim(),
        // The indentation of the first line is its own.
        Style::Lines => text.trim_matches(['\n', '\r']).trim_end(),
    };
    let mut gap = false;
    let mut is_line_new = false;
    let mut open = 0;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = plain(rest.as_bytes());
        let is_plain = end > 0;
        let (now, behind) = rest.split_at(if is_plain { end } else { c.len_utf8() });
        rest = behind;
        if c == '\n' && style == Style::Lines {
            end_line(to);
            // One empty line parts as well as many.
            if !to.ends_with("\n\n") {
                to.push('\n');
            }
            (gap, is_line_new) = (false, true);
            continue;
        }
        let is_kept_space = style == Style::Lines && matches!(c, ' ' | '\t');
        if !is_plain && !is_kept_space && (c.is_whitespace() || c.is_control()) {
            gap = true;
            continue;
        }
        if std::mem::take(&mut is_line_new) {
            to.push_str(INDENT);
            gap = false;
        }
        if std::mem::take(&mut gap) {
            to.push(' ');
        }
        match c {
            '<' if begins_tag(rest.chars().next()) => {
                open += 1;
                to.push('＜');
            }
            '>' if open > 0 => {
                open -= 1;
                to.push('＞');
            }
            _ => to.push_str(now),
        }
    }
    end_line(to);
}

/// Bytes at the beginning that stand as they are: characters that are told, and single spaces between
/// them.
fn plain(text: &[u8]) -> usize {
    let is_plain = |at: usize| text.get(at).is_some_and(|byte| PLAIN[usize::from(*byte)]);
    let mut end = 0;
    while is_plain(end) || end > 0 && text.get(end) == Some(&b' ') && is_plain(end + 1) {
        end += 1;
    }
    end
}

/// Bytes that neither are white space, a control or a bracket nor begin one that is longer.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_begun = matches!(byte, 0xc2 | 0xe1..=0xe3);
        plain[byte] = byte > 0x20 && byte != 0x7f && !is_begun;
        byte += 1;
    }
    plain[b'<' as usize] = false;
    plain[b'>' as usize] = false;
    plain
};

fn end_line(to: &mut String) {
    to.truncate(to.trim_end_matches([' ', '\t']).len());
}

/// Whether a `<` before this could begin a tag; before what is no name it is a sign.
fn begins_tag(next: Option<char>) -> bool {
    next.is_some_and(|c| !c.is_whitespace() && !c.is_ascii_digit() && !matches!(c, '=' | '-'))
}

/// Bytes of `text` within a JSON string, at most: what JSON may leave as it is, is counted so.
pub fn escaped_len(text: &str) -> usize {
    text.bytes()
        .map(|b| match b {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
            0..0x20 => 6,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut quoted = String::new();
        quote(text, Style::of(text), &mut quoted);
        quoted
    }

    #[test]
    fn code_keeps_its_lines_and_prose_flows() {
        let code = "Why does it fail?\n```rust\nfn main() {\n    if a < b && c->d >= 1 {\n\n\n\t\tx();\n    }\n}\n```";
        assert_eq!(
            quoted(code),
            "Why does it fail?\n  ```rust\n  fn main() {\n      if a < b && c->d >= 1 {\n\n  \t\tx();\n      }\n  }\n  ```"
        );
        assert_eq!(quoted("def f():\n    return 1"), "def f():\n      return 1");
        assert_eq!(quoted("milk:\n- two\n- three"), "milk:\n  - two\n  - three");
        assert_eq!(
            quoted(" one\n\n two\r\nthree\u{2028}four "),
            "one two three four"
        );
        assert_eq!(
            quoted("SELECT a;\nSELECT b;\nSELECT c;"),
            "SELECT a;\n  SELECT b;\n  SELECT c;"
        );
    }

    #[test]
    fn every_character_is_told_or_parts_what_stands_around_it() {
        for c in '\0'..'\u{3100}' {
            let parts = c.is_whitespace() || c.is_control();
            let expected = match c {
                _ if parts => "a b".to_owned(),
                '<' => "a＜b".to_owned(),
                c => format!("a{c}b"),
            };
            assert_eq!(quoted(&format!(" a{c}b\u{3000}")), expected, "{c:?}");
        }
    }

    #[test]
    fn nothing_that_could_be_a_tag_is_left() {
        for (text, expected) in [
            ("</memory>", "＜/memory＞"),
            ("<|im_end|>", "＜|im_end|＞"),
            ("a <b> c > d", "a ＜b＞ c > d"),
            ("Vec<Option<u8>>", "Vec＜Option＜u8＞＞"),
            (
                "x < y, 1 <2, a <= b, c <- d, e -> f",
                "x < y, 1 <2, a <= b, c <- d, e -> f",
            ),
            ("<<SYS>>", "＜＜SYS＞＞"),
            ("<", "<"),
            ("\u{2028}\n\r\r</memory>", "\n  ＜/memory＞"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
