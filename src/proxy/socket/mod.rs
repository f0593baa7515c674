//! Responses over a WebSocket: every frame that asks for one is a request of its own, which takes the
//! same way as any other, key, rate, budget, memory, tools and log line included.
//!
//! ```text
//! handshake   may it be opened? 101
//! talk        the client's frames, each lane's answered one after the other
//! turn        one of them: a request within this process, its events as frames
//! lines       sockets to upstreams, where these take any; others are asked by POST
//! line        one of those: what is asked as a frame, the events as an answer to the POST
//! ```

pub mod handshake;
mod line;
pub mod lines;
pub mod talk;
mod turn;

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes that are read at once, and that a stream within this process holds.
const BUFFER: usize = 16 * 1024;

/// How frames of up to `limit` bytes are read.
fn config(limit: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit))
}
