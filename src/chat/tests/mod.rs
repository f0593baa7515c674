//! Tests of the whole module, over shared generators.

mod compose;
mod generate;
mod golden;
mod json;
mod request;
