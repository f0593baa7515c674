//! What a body says of where it is to go, looked at while it comes.

use std::ops::Range;

use bytes::Bytes;

use super::form::Form;
use super::json::Object;
use super::pairs::Pairs;
use crate::error::ApiError;

/// What a body names as its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    Named(String),
    /// It is there and says nothing: `null`, or an empty text.
    Blank,
    /// No name. It is the upstream's to judge.
    Unfit,
}

/// A look at a body on its way.
#[derive(Debug, Default)]
pub enum Look {
    Json(Object),
    Form(Box<Form>),
    Pairs(Pairs),
    /// It says nothing that could be read.
    #[default]
    Nothing,
}

/// A change of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is taken out …
    pub at: Range<usize>,
    /// … and what is put in its place.
    pub text: Bytes,
}

impl Look {
    /// A look at a body of this `Content-Type`. JSON is known by its first byte, whatever it is
    /// said to be: many send it as something else.
    pub fn at(content_type: &str) -> Self {
        match Form::of(content_type) {
            Some(form) => Self::Form(Box::new(form)),
            None if Pairs::is(content_type) => Self::Pairs(Pairs::default()),
            None => Self::Json(Object::default()),
        }
    }

    /// Looks at what comes next.
    ///
    /// # Errors
    ///
    /// 400 where a model is named twice.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        // Some programs send JSON as such a form where nobody tells them to say otherwise.
        if let (Self::Pairs(pairs), Some(first)) = (&self, bytes.trim_ascii_start().first())
            && pairs.is_untouched()
            && b"{[".contains(first)
        {
            *self = Self::Json(Object::default());
        }
        match self {
            Self::Json(object) => object.feed(bytes),
            Self::Form(form) => form.feed(bytes),
            Self::Pairs(pairs) => pairs.feed(bytes),
            Self::Nothing => Ok(()),
        }
    }

    /// All of it has come.
    ///
    /// # Errors
    ///
    /// As [`Look::feed`].
    pub fn end(&mut self) -> Result<(), ApiError> {
        match self {
            Self::Pairs(pairs) => pairs.end(),
            _ => Ok(()),
        }
    }

    /// Whether nothing more will be found, or what is sought was.
    pub fn is_settled(&self) -> bool {
        let is_over = match self {
            Self::Json(object) => object.is_over(),
            Self::Form(form) => form.is_over(),
            Self::Pairs(_) => false,
            Self::Nothing => true,
        };
        is_over || self.named().is_some()
    }

    /// Whether it is a form, whose files may be of any size.
    pub fn is_form(&self) -> bool {
        matches!(self, Self::Form(_))
    }

    /// The name of the model.
    pub fn model(&self) -> Option<&str> {
        match self.named() {
            Some((Model::Named(name), _)) => Some(name),
            _ => None,
        }
    }

    /// Short texts that may be ids.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Json(object) => object.texts(),
            _ => &[],
        }
    }

    /// How `model` is put into a body that was seen whole and names none; `None` where it does,
    /// or where there is no place for it.
    pub fn put_in(&self, model: &str) -> Option<Edit> {
        let literal = || serde_json::to_vec(model).unwrap_or_default();
        let (at, text) = match (self, self.named()) {
            (Self::Json(_), Some((Model::Blank, at))) => (at.clone(), literal()),
            (Self::Form(_), Some((Model::Blank, at))) => (at.clone(), model.into()),
            (Self::Pairs(_), Some((Model::Blank, at))) => {
                (at.clone(), Pairs::written(model).into_bytes())
            }
            (Self::Pairs(pairs), None) => (0..0, pairs.field(model).into_bytes()),
            (Self::Json(object), None) => {
                let (at, has_members) = object.beginning()?;
                let comma: &[u8] = if has_members { b"," } else { b"" };
                (at..at, [b"\"model\":", &literal()[..], comma].concat())
            }
            (Self::Form(form), None) => {
                let at = form.beginning()?;
                (at..at, form.field(model))
            }
            _ => return None,
        };
        let text = text.into();
        Some(Edit { at, text })
    }

    /// How the model that is named is called by another name.
    pub fn rename(&self, model: &str) -> Option<Edit> {
        let (Model::Named(_), at) = self.named()? else {
            return None;
        };
        let (at, text) = (
            at.clone(),
            match self {
                Self::Json(_) => serde_json::to_vec(model).unwrap_or_default().into(),
                Self::Pairs(_) => Pairs::written(model).into(),
                Self::Form(_) | Self::Nothing => Bytes::copy_from_slice(model.as_bytes()),
            },
        );
        Some(Edit { at, text })
    }

    /// Whether a model is named, and by what is no name: in another letter case, say, which some
    /// upstreams read and others do not.
    pub fn is_unfit(&self) -> bool {
        matches!(self.named(), Some((Model::Unfit, _)))
    }

    fn named(&self) -> Option<&(Model, Range<usize>)> {
        match self {
            Self::Json(object) => object.model(),
            Self::Form(form) => form.model(),
            Self::Pairs(pairs) => pairs.model(),
            Self::Nothing => None,
        }
    }
}

impl Edit {
    /// Makes the change in a body that lies in pieces.
    pub fn make(&self, pieces: &[Bytes]) -> Vec<Bytes> {
        let mut made = Vec::with_capacity(pieces.len() + 2);
        let mut put_in = Some(&self.text);
        let mut offset = 0;
        for piece in pieces {
            let within = |at: usize| at.clamp(offset, offset + piece.len()) - offset;
            let (start, end) = (within(self.at.start), within(self.at.end));
            made.push(piece.slice(..start));
            if offset + start == self.at.start
                && let Some(text) = put_in.take()
            {
                made.push(text.clone());
            }
            made.push(piece.slice(end.max(start)..));
            offset += piece.len();
        }
        made.retain(|piece| !piece.is_empty());
        made
    }

    /// How many bytes the body is after it, of `length` before.
    pub fn length(&self, length: usize) -> usize {
        length - self.at.len() + self.text.len()
    }
}

/// The model stands at `offset` a second time.
pub(super) fn twice(offset: usize) -> ApiError {
    ApiError::bad_request(format!(
        "`model` stands in the body twice, the second time at byte {offset}: readers would not \
         agree on which is meant. Send it once."
    ))
    .param("model")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(content_type: &str, body: &str) -> Look {
        let mut look = Look::at(content_type);
        look.feed(body.as_bytes()).expect("one model at most");
        look
    }

    #[test]
    fn a_default_is_put_in_where_none_is_named() {
        for (body, made) in [
            ("{}", Some(r#"{"model":"a\"b"}"#)),
            (r#" {"x": 1}"#, Some(r#" {"model":"a\"b","x": 1}"#)),
            (
                r#"{"model": null,"x":1}"#,
                Some(r#"{"model": "a\"b","x":1}"#),
            ),
            (r#"{"x":1,"model":""}"#, Some(r#"{"x":1,"model":"a\"b"}"#)),
            (r#"{"model":"m"}"#, None),
            (r#"{"model":7}"#, None),
            ("[]", None),
            ("not JSON", None),
            ("", None),
        ] {
            let edit = look("application/json", body).put_in("a\"b");
            assert_eq!(edit.is_some(), made.is_some(), "{body}");
            let (Some(edit), Some(made)) = (edit, made) else {
                continue;
            };
            for size in 1..=body.len() {
                let pieces = body.as_bytes().chunks(size).map(Bytes::copy_from_slice);
                let pieces = edit.make(&pieces.collect::<Vec<_>>());
                assert_eq!(pieces.concat(), made.as_bytes(), "{body} by {size}");
            }
            assert_eq!(edit.length(body.len()), made.len());
        }
    }

    #[test]
    fn json_is_known_by_its_first_byte() {
        for content_type in [
            "application/json",
            "text/plain",
            "application/x-www-form-urlencoded",
            "",
        ] {
            assert_eq!(look(content_type, r#"{"model":"m"}"#).model(), Some("m"));
        }
        assert!(look("audio/mpeg", "\u{1}{").is_settled());
    }
}
