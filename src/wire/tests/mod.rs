pub mod generate;
mod json;
