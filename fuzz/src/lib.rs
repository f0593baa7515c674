//! The modules that read what strangers write, taken from the program's own source: the rest of
//! it, pingora above all, would make a build take minutes and the coverage mean less.
//!
//! What only its parent module may name is taken by its target instead, whose root is the parent
//! then.

#![allow(dead_code, reason = "each target reads a part of them")]

#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/dialect/mod.rs"]
pub mod dialect;
#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/proxy/edge/framing.rs"]
pub mod framing;
#[path = "../../src/personality/mod.rs"]
pub mod personality;
#[path = "../../src/reading/mod.rs"]
pub mod reading;
#[path = "../../src/shipped.rs"]
pub mod shipped;
#[path = "../../src/wire/mod.rs"]
pub mod wire;
