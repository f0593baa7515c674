//! Tests of the whole module, over shared generators.

mod answer;
mod compose;
mod generate;
mod golden;
mod json;
mod request;
mod sse;
mod tool_calls;
