//! Text that is ready to stand inside a JSON string literal.

use bytes::Bytes;

/// Text with JSON's escapes already written and without the quotes around it, so that it is
/// escaped once and spliced into any number of bodies. Cloning shares the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Escaped(Bytes);

impl Escaped {
    /// Escapes `text`.
    pub fn new(text: &str) -> Self {
        let mut quoted = Vec::with_capacity(text.len() + text.len() / 16 + 2);
        serde_json::to_writer(&mut quoted, text).expect("a string in memory always serializes");
        let inner = 1..quoted.len() - 1;
        Self(Bytes::from(quoted).slice(inner))
    }

    /// The escaped bytes, shared.
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// Length in bytes, escapes included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Escaped {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}
