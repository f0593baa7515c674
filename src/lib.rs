//! yychat: a reverse proxy that gives any app which talks to an OpenAI-compatible API long-term
//! memory, a personality and tools, by changing nothing but its `base_url`.
//!
//! A request's life, and the room that each step of it has:
//!
//! 1. A connection is accepted, counted, and its header section judged on the raw bytes before
//!    anything parses it ([`proxy`]: `edge`).
//! 2. The request takes the generation in force, the immutable whole of configuration and
//!    personalities ([`snapshot`]), and keeps it. Its key is proven and its route found
//!    ([`proxy`]: `edge::admit`).
//! 3. `POST /v1/chat/completions` is read whole, and what will be put into it is decided
//!    ([`turn`]): who the assistant is ([`personality`]), what is remembered ([`memory`]), which tools
//!    are offered ([`tools`]).
//! 4. The body is spliced, the client's own bytes staying as they were ([`dialect`], over [`wire`]), and sent to
//!    the first upstream that serves its model; the answer comes back byte for byte while an
//!    observer reads a copy ([`proxy`]: `exchange`), or while the gateway's own tools are run
//!    in the middle of it (`exchange::tool_loop`).
//! 5. The gateway's own endpoints are plain HTTP services ([`api`]). Everything else under `/v1/` takes the
//!    same way to an upstream ([`proxy`]: `route`, `exchange::plain`), its body streaming.
//! 6. Metrics, one log line and a trace are made of the phase ledger ([`telemetry`]).
//!
//! [`config`] is what operators write, read with all other files of a generation through
//! [`reading`], [`server`] what wires it all together and passes it on to
//! the next process, [`error`] what people are told when something is wrong, [`outbound`] the
//! client of what the gateway asks for itself, [`shared`] what the gateways of a fleet tell each other
//! ([`quota`] counts there), [`shipped`] the files that are in the program, [`by_bytes`] caches of what was worked out
//! of texts, [`demo`] all of it at work without a model.
//!
//! Modules use downward only: `demo → server → {proxy, admin} → api → turn → quota → snapshot →
//! {personality, purpose, tools, memory} → shared → dialect → {wire, config} → reading →
//! {telemetry, error, outbound, shipped, by_bytes}`;
//! `tests/tidy.rs` holds them to it.

#![forbid(unsafe_code)]

pub mod cli;
pub mod demo;

pub mod server;

pub mod admin;
pub mod proxy;

pub mod api;

pub mod turn;

pub mod quota;

pub mod snapshot;

pub mod memory;
pub mod personality;
pub mod purpose;
pub mod tools;

pub mod shared;

pub mod dialect;

pub mod config;
pub mod wire;

pub mod reading;

pub mod by_bytes;
pub mod error;
pub mod outbound;
pub mod shipped;
pub mod telemetry;
