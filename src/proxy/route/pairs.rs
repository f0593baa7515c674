//! The field `model` of a form that is written as queries are (`application/x-www-form-urlencoded`),
//! found while it comes.

use std::ops::Range;

use super::body::{Model, twice};
use crate::error::ApiError;

/// Bytes of a field that are kept. More is no model's name.
const KEPT: usize = 4 * 1024;

/// A reader of one form.
#[derive(Debug, Default)]
pub struct Pairs {
    /// Bytes that came so far.
    read: usize,
    /// Where the field being read begins.
    begins: usize,
    /// What came of it, as far as it is kept.
    field: Vec<u8>,
    model: Option<(Model, Range<usize>)>,
}

impl Pairs {
    /// Whether a body of this `Content-Type` is such a form.
    pub fn is(content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    /// Looks at what comes next of the body.
    ///
    /// # Errors
    ///
    /// 400 where the field stands there twice.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'&', rest) {
            self.keep(&rest[..end]);
            self.read += end;
            self.end()?;
            self.read += 1;
            self.begins = self.read;
            rest = &rest[end + 1..];
        }
        self.keep(rest);
        self.read += rest.len();
        Ok(())
    }

    /// The field that is being read has come to its end.
    ///
    /// # Errors
    ///
    /// As [`Pairs::feed`].
    pub fn end(&mut self) -> Result<(), ApiError> {
        let field = std::mem::take(&mut self.field);
        let Some((name, value)) = url::form_urlencoded::parse(&field).next() else {
            return Ok(());
        };
        if !name.eq_ignore_ascii_case("model") {
            return Ok(());
        }
        if self.model.is_some() {
            return Err(twice(self.begins));
        }
        let model = match &*value {
            "" => Model::Blank,
            value if name == "model" && field.len() <= KEPT => Model::Named(value.to_owned()),
            _ => Model::Unfit,
        };
        let equals = memchr::memchr(b'=', &field).map_or(field.len(), |at| at + 1);
        self.model = Some((model, self.begins + equals..self.read));
        Ok(())
    }

    /// The model, and where its value stands.
    pub fn model(&self) -> Option<&(Model, Range<usize>)> {
        self.model.as_ref()
    }

    /// Whether nothing has come yet.
    pub fn is_untouched(&self) -> bool {
        self.read == 0
    }

    /// A field that is put before the others.
    pub fn field(&self, model: &str) -> String {
        let separator = if self.read > 0 { "&" } else { "" };
        ["model=", &Self::written(model), separator].concat()
    }

    /// A model's name as it is written here.
    pub fn written(model: &str) -> String {
        url::form_urlencoded::byte_serialize(model.as_bytes()).collect()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (KEPT + 1).saturating_sub(self.field.len());
        self.field
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_wherever_the_bytes_are_cut() {
        let form = b"prompt=a%26b&mod%65l=gpt%2F4+x&n=1";
        for cut in 0..form.len() {
            let mut pairs = Pairs::default();
            pairs.feed(&form[..cut]).unwrap();
            pairs.feed(&form[cut..]).unwrap();
            pairs.end().unwrap();
            let (model, at) = pairs.model().unwrap();
            assert_eq!(*model, Model::Named("gpt/4 x".into()));
            assert_eq!(&form[at.clone()], b"gpt%2F4+x");
        }
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused_or_unfit() {
        let read = |form: &str| {
            let mut pairs = Pairs::default();
            let read = pairs.feed(form.as_bytes()).and_then(|()| pairs.end());
            read.map(|()| pairs.model().map(|(model, _)| model.clone()))
                .map_err(|error| error.status.as_u16())
        };
        assert_eq!(read("model=a&model=b"), Err(400));
        assert_eq!(read("model=a&Model=b"), Err(400));
        assert_eq!(read("MODEL=a"), Ok(Some(Model::Unfit)));
        assert_eq!(read("model="), Ok(Some(Model::Blank)));
        assert_eq!(read("models=a&x"), Ok(None));
        assert_eq!(read(""), Ok(None));
    }
}
