//! The client's side: connections, header sections on their raw bytes, who may come in, and what
//! the gateway itself answers.

pub mod admit;
pub mod body;
pub mod budget;
pub mod cors;
pub mod framing;
pub mod gather;
pub mod guard;
pub mod listener;
pub mod local;
pub mod overload;
pub mod path;
pub mod respond;
pub mod strip;
pub mod tls;
