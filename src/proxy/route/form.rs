//! The field `model` of a multipart form (RFC 7578), found while the form comes.

use std::ops::Range;

use memchr::memmem;

use super::body::{Model, twice};
use crate::error::ApiError;

/// Bytes of a part's header section that are looked at.
const HEADER: usize = 8 * 1024;
/// Bytes of the field that are kept. More is no model's name.
const KEPT: usize = 1024;

/// A reader of one form.
#[derive(Debug)]
pub struct Form {
    /// What ends a part: `\r\n--boundary`.
    delimiter: Vec<u8>,
    /// What came and may still belong to what is sought.
    held: Vec<u8>,
    /// Where `held` begins, counted from a line break that is thought before the body.
    offset: usize,
    state: State,
    /// Where the first part's delimiter line begins.
    first: Option<usize>,
    model: Option<(Model, Range<usize>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within what is not sought.
    Passing,
    /// Behind a delimiter.
    Delimited,
    Header,
    /// Within the field; whether it is too long for a name.
    Field {
        is_long: bool,
        begins: usize,
    },
    Over,
}

impl Form {
    /// A form of this `Content-Type`; `None` where that is none.
    pub fn of(content_type: &str) -> Option<Self> {
        let (essence, parameters) = content_type.split_once(';')?;
        if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let mut boundaries = self::parameters(parameters).filter(|(name, _)| name == "boundary");
        let (_, boundary) = boundaries.next()?;
        // Of two, some readers take the first and some the last: nothing is found between them.
        if boundary.is_empty() || boundaries.next().is_some() {
            return None;
        }
        Some(Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            held: b"\r\n".to_vec(),
            offset: 0,
            state: State::Passing,
            first: None,
            model: None,
        })
    }

    /// Looks at what comes next of the body.
    ///
    /// # Errors
    ///
    /// 400 where the field stands there twice.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        if self.state == State::Over {
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        while self.step()? {}
        Ok(())
    }

    /// Whether nothing more will be found.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The model, and where its value stands.
    pub fn model(&self) -> Option<&(Model, Range<usize>)> {
        self.model.as_ref()
    }

    /// Where a field may be put in, and the form of such a field.
    pub fn beginning(&self) -> Option<usize> {
        self.first
    }

    /// The field, as it is put in.
    pub fn field(&self, model: &str) -> Vec<u8> {
        let mut field = self.delimiter[2..].to_vec();
        field.extend_from_slice(b"\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n");
        field.extend_from_slice(model.as_bytes());
        field.extend_from_slice(b"\r\n");
        field
    }

    /// One step; whether there may be another one.
    fn step(&mut self) -> Result<bool, ApiError> {
        match self.state {
            State::Passing => {
                let Some(at) = memmem::find(&self.held, &self.delimiter) else {
                    let keep = (self.delimiter.len() - 1).min(self.held.len());
                    self.pass(self.held.len() - keep);
                    return Ok(false);
                };
                self.first.get_or_insert(self.offset + at);
                self.pass(at + self.delimiter.len());
                self.state = State::Delimited;
            }
            State::Delimited => match self.held.get(..2) {
                None => return Ok(false),
                Some(b"\r\n") => {
                    // It is kept: a part may have no header section but the empty line.
                    self.state = State::Header;
                }
                Some([b' ' | b'\t', _]) => self.pass(1),
                Some(b"--") => self.state = State::Over,
                // The boundary of another form, or longer.
                Some(_) => self.state = State::Passing,
            },
            State::Header => {
                let Some(end) = memmem::find(&self.held, b"\r\n\r\n") else {
                    if self.held.len() < HEADER {
                        return Ok(false);
                    }
                    self.state = State::Passing;
                    return Ok(true);
                };
                let named = named(&self.held[..end]);
                // A part without content ends at the same line break.
                self.pass(end + 2);
                self.state = match named {
                    Named::Model => State::Field {
                        is_long: false,
                        begins: self.offset,
                    },
                    // Some read it so: alone it is the upstream's to judge.
                    Named::Otherwise if self.model.is_none() => {
                        self.model = Some((Model::Unfit, self.offset..self.offset));
                        State::Passing
                    }
                    Named::Otherwise => return Err(twice(self.offset)),
                    Named::Another => State::Passing,
                };
            }
            State::Field { is_long, begins } => return self.field_step(is_long, begins),
            State::Over => return Ok(false),
        }
        Ok(true)
    }

    fn field_step(&mut self, is_long: bool, begins: usize) -> Result<bool, ApiError> {
        let Some(at) = memmem::find(&self.held, &self.delimiter) else {
            if self.held.len() > KEPT + self.delimiter.len() {
                self.pass(self.held.len() - self.delimiter.len());
                let is_long = true;
                self.state = State::Field { is_long, begins };
            }
            return Ok(false);
        };
        // Of the two line breaks that are before the value, one is thought and one its header's.
        let ends = (self.offset + at).saturating_sub(2);
        let value = self.held.get(2..at).unwrap_or_default().trim_ascii();
        let model = match std::str::from_utf8(value) {
            Ok("") => Model::Blank,
            Ok(text) if !is_long && text.len() <= KEPT => Model::Named(text.to_owned()),
            _ => Model::Unfit,
        };
        if self.model.is_some() {
            return Err(twice(begins));
        }
        self.model = Some((model, begins..ends.max(begins)));
        self.state = State::Passing;
        Ok(true)
    }

    fn pass(&mut self, bytes: usize) {
        self.held.drain(..bytes);
        self.offset += bytes;
    }
}

/// What a part's header section calls it.
enum Named {
    /// `model`, and nothing else.
    Model,
    /// What some readers take for `model`: in another letter case, `name*`, or one name of several.
    Otherwise,
    Another,
}

fn named(header: &[u8]) -> Named {
    let header = String::from_utf8_lossy(header);
    // A line that begins with white space goes on with the one before it.
    let header = header.replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut names = Vec::new();
    for line in header.split("\r\n") {
        let Some((field, value)) = line.split_once(':') else {
            continue;
        };
        if field.trim().eq_ignore_ascii_case("content-disposition") {
            let parameters = parameters(value.split_once(';').map_or("", |(_, rest)| rest));
            names.extend(parameters.filter_map(|(name, value)| match &*name {
                "name" => Some(value),
                // RFC 5987: a charset, a language and what they are of.
                "name*" => {
                    let value = value.rsplit('\'').next().unwrap_or_default().as_bytes();
                    let value = percent_encoding::percent_decode(value);
                    // So that it is not taken for the plain one.
                    Some(value.decode_utf8_lossy().to_uppercase())
                }
                _ => None,
            }));
        }
    }
    match &names[..] {
        [only] if only == "model" => Named::Model,
        names if names.iter().any(|name| name.eq_ignore_ascii_case("model")) => Named::Otherwise,
        _ => Named::Another,
    }
}

/// The parameters `name=value; name="value"`, names in lower case.
fn parameters(mut rest: &str) -> impl Iterator<Item = (String, String)> {
    std::iter::from_fn(move || {
        let (name, behind) = rest.split_once('=')?;
        let name = name.trim_start_matches([';', ' ', '\t']).trim_end();
        let name = name.to_ascii_lowercase();
        let behind = behind.trim_start();
        let (value, after) = match behind.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted)?,
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                (behind[..end].trim_end().to_owned(), &behind[end..])
            }
        };
        rest = after;
        Some((name, value))
    })
}

/// A quoted text, whose backslashes stand for what follows them, and what comes behind it.
fn quoted_text(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => text.push(chars.next()?.1),
            char => text.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"a b\"; charset=utf-8";

    fn part(header: &str, value: &str) -> String {
        format!("--a b\r\n{header}\r\n\r\n{value}\r\n")
    }

    fn field(name: &str, value: &str) -> String {
        part(
            &format!("Content-Disposition: form-data; name={name}"),
            value,
        )
    }

    /// Reads the form cut into pieces of each size.
    fn read(body: &str) -> Result<Form, ApiError> {
        let mut whole = Form::of(TYPE).expect("a form");
        let read = whole.feed(body.as_bytes());
        for size in [1, 2, 3, 5, 7, 64] {
            let mut cut = Form::of(TYPE).expect("a form");
            let pieces = body.as_bytes().chunks(size);
            let fed: Result<Vec<_>, _> = pieces.map(|piece| cut.feed(piece)).collect();
            assert_eq!(fed.map(drop), read, "{body}");
            assert_eq!(cut.model(), whole.model(), "{body} by {size}");
            assert_eq!(cut.is_over(), whole.is_over(), "{body} by {size}");
        }
        read.map(|()| whole)
    }

    #[test]
    fn the_field_is_found_before_and_behind_a_file() {
        let file = part(
            "Content-Disposition: form-data; filename=\"model\"; name=\"file\"\r\nContent-Type: audio/mpeg",
            "\r\n--a\r\n--a c\r\nname=\"model\"\r\n\r\nx",
        );
        let model = field("\"model\"", "whisper-1");
        for body in [
            format!("{model}{file}--a b--\r\n"),
            format!("{file}{model}--a b--"),
            format!("preamble\r\n{file}{}--a b--", field("model", "whisper-1")),
            format!(
                "{}{}--a b--",
                part("", "no header"),
                part(
                    "content-disposition:form-data;name=\"model\"\r\nX: y",
                    "whisper-1"
                )
            ),
        ] {
            let form = read(&body).expect("one model");
            let (found, range) = form.model().expect("a model");
            assert_eq!(found, &Model::Named("whisper-1".into()), "{body}");
            assert_eq!(&body[range.clone()], "whisper-1");
            assert!(form.is_over(), "{body}");
        }
    }

    #[test]
    fn a_form_without_it_takes_one_at_its_beginning() {
        let body = format!("{}--a b--\r\n", field("\"file\"", "x"));
        let form = read(&body).expect("no model");
        assert_eq!((form.model(), form.beginning()), (None, Some(0)));
        let put_in = [&form.field("m"), body.as_bytes()].concat();
        let form = read(std::str::from_utf8(&put_in).expect("text")).expect("one model");
        assert_eq!(form.model().expect("a model").0, Model::Named("m".into()));
    }

    #[test]
    fn an_empty_field_is_blank_and_two_are_refused() {
        let blank = format!("{}--a b--", field("\"model\"", ""));
        let form = read(&blank).expect("one model");
        let (model, range) = form.model().expect("a model");
        assert_eq!((model, &blank[range.clone()]), (&Model::Blank, ""));
        let two = format!(
            "{}{}--a b--",
            field("\"model\"", "a"),
            field("\"model\"", "b")
        );
        assert_eq!(read(&two).expect_err("two").status, 400);
        let long = format!("{}--a b--", field("\"model\"", &"x".repeat(5000)));
        assert_eq!(
            read(&long).expect("one").model().expect("one").0,
            Model::Unfit
        );
    }

    #[test]
    fn other_types_are_no_forms() {
        for content_type in [
            "application/json",
            "multipart/form-data",
            "multipart/mixed; boundary=x",
            "multipart/form-data; boundary=",
        ] {
            assert!(Form::of(content_type).is_none(), "{content_type}");
        }
        assert!(Form::of("Multipart/Form-Data;boundary=x").is_some());
    }
}
