//! WebSockets, on both sides of the gateway.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Error, Message, WebSocket};

use super::client::{Client, get};
use super::upstream::Visit;
use super::wire::Head;

/// A client's key, and what it is to be answered with.
pub const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request for a socket.
pub fn upgrade(path: &str, more: &[&str]) -> Vec<u8> {
    let fields = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        KEY,
    ];
    get(path, &[&fields[..], more].concat())
}

/// A client's socket.
pub struct Socket(pub WebSocket<TcpStream>);

impl Socket {
    /// Opens one.
    pub fn open(mut client: Client, more: &[&str]) -> Self {
        client.send(upgrade("/v1/responses", more));
        let head = client.head();
        assert_eq!(head.status(), 101, "{head:?}");
        assert_eq!(head.get("sec-websocket-accept"), Some(ACCEPT));
        Self::over(client)
    }

    /// What the connection is after it was opened.
    pub fn over(client: Client) -> Self {
        Self(WebSocket::from_raw_socket(
            client.into_stream(),
            Role::Client,
            None,
        ))
    }

    pub fn say(&mut self, event: impl ToString) {
        let text = Message::text(event.to_string());
        self.0.send(text).expect("the gateway reads");
    }

    /// The next event.
    pub fn hear(&mut self) -> Value {
        loop {
            match self.0.read().expect("an event") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// All events up to the one that ends a response.
    pub fn hear_all(&mut self) -> Vec<Value> {
        const ENDS: [&str; 4] = [
            "response.completed",
            "response.incomplete",
            "response.failed",
            "error",
        ];
        let mut heard = Vec::new();
        loop {
            let event = self.hear();
            let ends = event["type"]
                .as_str()
                .is_some_and(|kind| ENDS.contains(&kind));
            heard.push(event);
            if ends {
                return heard;
            }
        }
    }

    /// Asks, and hears all of the answer.
    pub fn ask(&mut self, event: impl ToString) -> Vec<Value> {
        self.say(event);
        self.hear_all()
    }

    /// How the gateway ends it.
    pub fn end(&mut self) -> Option<CloseFrame> {
        loop {
            match self.0.read() {
                Ok(Message::Close(frame)) => return frame,
                Ok(Message::Text(text)) => panic!("{text}"),
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// An upstream's side of one.
pub struct Line<S>(WebSocket<S>);

impl<'a> Line<&'a mut (dyn ReadWrite + 'a)> {
    /// Agrees to open it.
    pub fn accept(visit: &'a mut Visit, head: &Head) -> Self {
        let key = head.get("sec-websocket-key").expect("a key");
        visit.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        ));
        Self(WebSocket::from_raw_socket(
            visit.stream(),
            Role::Server,
            None,
        ))
    }

    /// The next frame; `None` where the gateway has closed.
    pub fn hear(&mut self) -> Option<Value> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub fn say(&mut self, event: &Value) {
        let text = Message::text(event.to_string());
        // The gateway may have left.
        let _ = self.0.send(text);
    }

    pub fn say_all(&mut self, events: &[Value]) {
        events.iter().for_each(|event| self.say(event));
    }
}

pub trait ReadWrite: Read + Write {}
impl<S: Read + Write> ReadWrite for S {}
