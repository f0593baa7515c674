//! The proxy as its users meet it: a real server, real sockets, one test for each behaviour.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end in a panic"
)]

mod support;

mod admin_key;
mod auth;
mod budgets;
mod bytes_back;
mod bytes_in;
mod chains;
mod choice;
mod commands;
mod cors;
mod demo;
mod dialects;
mod dialling;
mod drain;
mod editing;
mod embedding;
mod erasure;
mod extraction;
mod failures;
mod faults;
mod fleet;
mod forms;
mod framing;
mod handshakes;
mod health;
mod hygiene;
mod identity;
mod init;
mod isolation;
mod models;
mod observe;
mod openapi;
mod options;
mod overload;
mod pages;
mod pairs;
mod paths;
mod personalities;
mod purpose;
mod recall_cache;
mod reload;
mod remember;
mod routing;
mod shared_memory;
mod socket;
mod standing;
mod switching;
mod thinking;
mod tools;
mod traces;
mod transfer;
mod upgrade;
mod uploads;
mod withheld;
