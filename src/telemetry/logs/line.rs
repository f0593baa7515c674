//! An event as a line: text for people or one JSON object, whatever its values hold.
//!
//! tracing-subscriber's own formats take as long for a request's line as a small request takes in
//! all; these write straight into one buffer for each thread.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::sink::Sink;
use crate::telemetry::phases::push_thousandths;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `TIME LEVEL target: message name=value …`; texts are quoted.
    Text,
    /// `{"timestamp":…,"level":…,"message":…,name:value…,"target":…}`
    Json,
}

/// Writes each event as one line.
pub struct Lines {
    style: Style,
    sink: Arc<Sink>,
}

impl Lines {
    /// Lines in `style` for `sink`.
    pub fn new(style: Style, sink: Arc<Sink>) -> Self {
        Self { style, sink }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        thread_local! {
            static LINE: RefCell<String> = const { RefCell::new(String::new()) };
        }
        LINE.with(|line| {
            // A value that logs while it is being written finds the buffer taken.
            let mut own = String::new();
            let mut shared = line.try_borrow_mut();
            let line = shared.as_deref_mut().unwrap_or(&mut own);
            line.clear();
            self.style.write(line, event);
            self.sink.push(line.as_bytes());
        });
    }
}

impl Style {
    fn write(self, line: &mut String, event: &Event<'_>) {
        // What comes through the `log` crate tells where from in fields of its own.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let level = *metadata.level();
        match self {
            Self::Text => {
                push_time(line);
                line.push_str(if is_short(level) { "  " } else { " " });
                line.push_str(level.as_str());
                line.push(' ');
                line.push_str(metadata.target());
                line.push(':');
                event.record(&mut Text(line));
            }
            Self::Json => {
                line.push_str(r#"{"timestamp":""#);
                push_time(line);
                line.push_str(r#"","level":""#);
                line.push_str(level.as_str());
                line.push('"');
                event.record(&mut Json(line));
                line.push_str(r#","target":"#);
                push_json(line, metadata.target());
                line.push('}');
            }
        }
        line.push('\n');
    }
}

fn is_short(level: Level) -> bool {
    level == Level::INFO || level == Level::WARN
}

/// Writes the time in UTC to the microsecond.
fn push_time(line: &mut String) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    SECOND.with_borrow_mut(|(second, written)| {
        if *second != since.as_secs() || written.is_empty() {
            *second = since.as_secs();
            let time = i64::try_from(*second).ok().map(Timestamp::from_second);
            let time = time.and_then(Result::ok).unwrap_or_default();
            *written = time.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        line.push_str(written);
    });
    let mut digits = itoa::Buffer::new();
    // A million more, so that leading zeros are digits.
    line.push_str(&digits.format(1_000_000 + since.subsec_micros())[1..]);
    line.push('Z');
}

/// Fields that only say where an event of the `log` crate comes from.
fn is_origin(field: &Field) -> bool {
    field.name().starts_with("log.")
}

const MESSAGE: &str = "message";

struct Text<'a>(&'a mut String);

impl Text<'_> {
    /// The place of a field's value; the message has no name.
    fn begin(&mut self, field: &Field) -> Option<&mut String> {
        if is_origin(field) {
            return None;
        }
        self.0.push(' ');
        if field.name() != MESSAGE {
            self.0.push_str(field.name());
            self.0.push('=');
        }
        Some(self.0)
    }
}

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let Some(line) = self.begin(field) else {
            return;
        };
        let from = line.len();
        // Writing to a String does not fail; a value that fails to print is cut short.
        let _ = write!(line, "{value:?}");
        if line[from..].contains(char::is_control) {
            let written = line.split_off(from);
            line.extend(written.chars().flat_map(|c| {
                let plain = (!c.is_control()).then_some(c);
                plain
                    .into_iter()
                    .chain(c.escape_default().filter(move |_| plain.is_none()))
            }));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let is_message = field.name() == MESSAGE;
        if !all(value, |byte| (b' '..0x7f).contains(&byte) & is_plain(byte)) {
            return match is_message {
                true => self.record_debug(field, &format_args!("{value}")),
                false => self.record_debug(field, &value),
            };
        }
        if let Some(line) = self.begin(field) {
            let quote = if is_message { "" } else { "\"" };
            line.push_str(quote);
            line.push_str(value);
            line.push_str(quote);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if let Some(line) = self.begin(field) {
            line.push_str(if value { "true" } else { "false" });
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if let Some(line) = self.begin(field) {
            line.push_str(itoa::Buffer::new().format(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if let Some(line) = self.begin(field) {
            line.push_str(itoa::Buffer::new().format(value));
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if let Some(line) = self.begin(field) {
            push_number(line, value);
        }
    }
}

struct Json<'a>(&'a mut String);

impl Json<'_> {
    fn begin(&mut self, field: &Field) -> Option<&mut String> {
        if is_origin(field) {
            return None;
        }
        self.0.push(',');
        push_json(self.0, field.name());
        self.0.push(':');
        Some(self.0)
    }
}

impl Visit for Json<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(line) = self.begin(field) {
            push_json(line, value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if let Some(line) = self.begin(field) {
            line.push_str(itoa::Buffer::new().format(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if let Some(line) = self.begin(field) {
            line.push_str(itoa::Buffer::new().format(value));
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if let Some(line) = self.begin(field) {
            line.push_str(if value { "true" } else { "false" });
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if let Some(line) = self.begin(field) {
            if value.is_finite() {
                push_number(line, value);
            } else {
                line.push_str("null");
            }
        }
    }
}

/// Whether `test` is true of every byte. Without a branch for each, in `test` neither, and in pieces of
/// known length, so that many are looked at together.
fn all(text: &str, test: impl Fn(u8) -> bool) -> bool {
    let every = |bytes: &[u8]| bytes.iter().fold(true, |all, &byte| all & test(byte));
    let (pieces, rest) = text.as_bytes().as_chunks::<16>();
    pieces.iter().all(|piece| every(piece)) && every(rest)
}

fn is_plain(byte: u8) -> bool {
    (byte != b'"') & (byte != b'\\')
}

/// Writes a JSON string.
fn push_json(line: &mut String, text: &str) {
    if all(text, |byte| (byte >= b' ') & is_plain(byte)) {
        line.push('"');
        line.push_str(text);
        line.push('"');
    } else {
        // A string always has a form in JSON.
        line.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// Writes a number, one that has three decimals at most at a fraction of the usual cost.
fn push_number(line: &mut String, value: f64) {
    let thousandths = (value * 1000.0).round();
    if (0.0..1e12).contains(&thousandths) && (value * 1000.0 - thousandths).abs() < 1e-6 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and within 0 to 10^12"
        )]
        push_thousandths(line, thousandths as u64);
    } else {
        let _ = write!(line, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(style: Style, log: impl FnOnce()) -> Vec<String> {
        let kept = Kept::default();
        let (sink, guard) = Sink::start(kept.clone()).unwrap();
        let lines = Lines::new(style, sink);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
        drop(guard);
        let written = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        written.lines().map(str::to_owned).collect()
    }

    fn hostile() {
        let text = "a\nb\r\n{\"level\":\"ERROR\"}\u{1b}[31m\u{2028}\"\\";
        tracing::warn!(
            text,
            shown = %text,
            debugged = ?text,
            number = -3,
            large = u64::MAX,
            time = 12.034,
            tiny = 1e-9,
            odd = f64::NAN,
            yes = true,
            none = None::<u64>,
            "said {text}"
        );
    }

    #[test]
    fn an_event_is_one_json_line_whatever_its_values_hold() {
        let lines = lines(Style::Json, hostile);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let text = "a\nb\r\n{\"level\":\"ERROR\"}\u{1b}[31m\u{2028}\"\\";
        assert_eq!(event["level"], "WARN");
        assert_eq!(event["message"], format!("said {text}"));
        assert_eq!(event["text"], text);
        assert_eq!(event["shown"], text);
        assert_eq!(event["number"], -3);
        assert_eq!(event["large"], u64::MAX);
        assert_eq!(event["time"], 12.034);
        assert_eq!(event["tiny"], 1e-9);
        assert_eq!(event["odd"], serde_json::Value::Null);
        assert_eq!(event["yes"], true);
        assert!(event.get("none").is_none());
        assert!(event["target"].as_str().unwrap().ends_with("line::tests"));
        let time: Timestamp = event["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(time <= Timestamp::now());
    }

    #[test]
    fn an_event_is_one_text_line_without_control_characters() {
        let lines = lines(Style::Text, hostile);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert!(!line.contains(char::is_control), "{line:?}");
        for part in [
            "  WARN ",
            r"tests: said a\nb",
            " number=-3 ",
            " time=12.034 ",
            " yes=true",
            r#" text="a\nb"#,
            r" shown=a\nb\r\n",
        ] {
            assert!(line.contains(part), "{part:?} in {line:?}");
        }
    }

    #[test]
    fn numbers_keep_their_value() {
        for value in [0.0, 0.001, 1.5, 999.999, 1234.567, 0.000_4, -2.25, 1e300] {
            let mut line = String::new();
            push_number(&mut line, value);
            assert_eq!(line.parse::<f64>().unwrap(), value, "{line}");
        }
    }
}
