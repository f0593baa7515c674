//! What is looked for, and what a ranking for it is kept by.

use super::index::{Clock, Query};
use super::scope::Scope;

/// What a conversation is about, as it is looked for.
#[derive(Debug, Default, PartialEq)]
pub struct Question {
    text: String,
    context: Vec<String>,
    analysed: Query,
    /// Equal for questions that rank alike.
    print: u128,
}

impl Question {
    /// `text` is the last user turn, `context` the turns before it in the running conversation, the
    /// latest first; four are looked at.
    pub fn new(text: String, context: Vec<String>) -> Self {
        let analysed = Query::new(&text, &context);
        Self {
            print: analysed.fingerprint(),
            analysed,
            text,
            context,
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn context(&self) -> &[String] {
        &self.context
    }

    pub(super) fn print(&self) -> u128 {
        self.print
    }

    pub(super) fn analysed(&self) -> &Query {
        &self.analysed
    }

    /// Bytes that it takes, about.
    pub(super) fn weight(&self) -> usize {
        let texts: usize = self.context.iter().map(|text| text.len() + 24).sum();
        size_of::<Self>() + self.analysed.weight() + self.text.len() + texts
    }
}

impl From<&str> for Question {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned(), Vec::new())
    }
}

/// What a cached ranking is found by: the scope and everything of the query that ranking looks at,
/// after case, punctuation, order, stop words and endings are gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheKey {
    scope: Scope,
    query: u128,
    /// The day and the zone, of what names a time.
    day: Option<(i64, Box<str>)>,
}

impl CacheKey {
    pub fn new(scope: &Scope, question: &Question, clock: &Clock) -> Self {
        let day = || {
            let (day, zone) = clock.day();
            (day, zone.into())
        };
        Self {
            day: question.analysed.is_timed().then(day),
            scope: scope.clone(),
            query: question.print,
        }
    }
}
