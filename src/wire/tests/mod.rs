pub mod generate;
mod json;
mod sse;
