//! Byte streams as events.

pub mod form;
pub mod sse;

use bytes::Bytes;

/// An event to be sent, in whatever frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its kind, where frames have a line for that.
    pub name: Option<String>,
    pub data: Bytes,
}

impl Event {
    /// One without a name.
    pub fn of(data: impl Into<Bytes>) -> Self {
        Self {
            name: None,
            data: data.into(),
        }
    }

    /// One with a name.
    pub fn named(name: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self {
            name: Some(name.into()),
            data: data.into(),
        }
    }
}
