//! Tests of the whole module, over shared generators.

mod answer;
mod compose;
mod golden;
mod request;
mod sse;
mod tool_calls;
