//! The APIs of language models that clients speak, as pure values: bytes in, bytes out, no async and
//! no I/O.
//!
//! A body's journey:
//!
//! 1. [`Request::parse`] reads the client's bytes once. It validates all of them, since what was
//!    checked is what is sent, and keeps offsets ([`crate::wire::json`]) instead of values.
//! 2. The personality, memory and tools modules prepare what is to be added as an [`Injection`]:
//!    texts already [`Escaped`](crate::wire::Escaped), tool schemas already JSON.
//! 3. [`compose`] splices them between slices of the client's bytes. Key order, white space,
//!    number spelling and escapes of everything else stay as they were. [`Composed`] tells which
//!    ranges were inserted or cut and why, so a preview can explain it and a test can undo it.
//! 4. The answer goes to the client as the upstream sent it. [`Observer`] watches a copy of a
//!    stream, [`Answer::from_json`] a whole one, and both give the same [`Answer`]: what was said,
//!    how it ended, what it cost.
//! 5. Where the gateway offered tools, [`Gate`] or [`Whole`] keeps the model's calls of them back,
//!    and [`follow_up`] tells the model what came of them.

mod answer;
mod chat;
mod injection;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Usage};
pub use chat::place::compose;
pub use chat::read::Observer;
pub use chat::request::{Content, MemoryUse, Message, Request, Role};
pub use chat::tool_calls::{Call, Gate, Owners, Round, Whole, follow_up};
pub use injection::{
    Composed, Fragment, Injection, Insertion, MemoryText, Persona, PersonaMode, Placement, Source,
    ToolOffer,
};
