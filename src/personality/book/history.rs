//! The conversation as a book sees it.

use std::borrow::Cow;

use crate::dialect::{Message, Request, Role};

/// What a book reads of a conversation: what the user and the assistant said.
/// Instructions and tool results are no part of it.
pub trait History {
    /// The texts of the newest `count` messages at most, the newest first.
    fn recent(&self, count: usize) -> Vec<Cow<'_, str>>;
    /// How many messages there are in all.
    fn messages(&self) -> usize;
    /// How many of them are the assistant's.
    fn assistant_messages(&self) -> usize;
}

impl History for Request {
    fn recent(&self, count: usize) -> Vec<Cow<'_, str>> {
        let newest_first = said(self).rev().take(count);
        newest_first.map(|message| self.text(message)).collect()
    }

    fn messages(&self) -> usize {
        said(self).count()
    }

    fn assistant_messages(&self) -> usize {
        said(self)
            .filter(|message| message.role == Role::Assistant)
            .count()
    }
}

fn said(request: &Request) -> impl DoubleEndedIterator<Item = &Message> {
    let messages = Request::messages(request).iter();
    messages.filter(|message| matches!(message.role, Role::User | Role::Assistant))
}
