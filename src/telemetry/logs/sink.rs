//! Lines on their way to standard error.
//!
//! A write for each line, or a wake-up of a thread that writes it, costs more than all else that a
//! line does. So lines gather for a moment, and one thread writes what has gathered. A log that is
//! slow to take them holds up no request; where it stalls, lines are dropped and counted.

use std::io::Write;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// How long lines gather.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes that may wait to be written.
const MOST: usize = 8 << 20;
/// How long the end of the program waits for a log that does not take its lines.
const LAST: Duration = Duration::from_secs(1);

/// Where lines are put.
#[derive(Debug, Default)]
pub struct Sink {
    state: Mutex<State>,
    /// The first line has come, or the last.
    changed: Condvar,
    /// All is written.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    dropped: u64,
    ends: bool,
    is_done: bool,
}

/// Ends the log when dropped, once what has gathered is written.
#[derive(Debug)]
pub struct Guard(Arc<Sink>);

impl Sink {
    /// Starts the thread that writes to `out`.
    pub fn start(out: impl Write + Send + 'static) -> std::io::Result<(Arc<Self>, Guard)> {
        let sink = Arc::new(Self::default());
        let writing = sink.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writing.write(out))?;
        Ok((sink.clone(), Guard(sink)))
    }

    /// Adds a line, its end included; never waits for the log.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.lines.len() + line.len() > MOST {
            state.dropped += 1;
            return;
        }
        let first = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        drop(state);
        if first {
            self.changed.notify_one();
        }
    }

    /// Lines that were dropped.
    pub fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    fn write(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        let mut state = self.state.lock();
        loop {
            while state.lines.is_empty() && !state.ends {
                self.changed.wait(&mut state);
            }
            if state.lines.is_empty() {
                state.is_done = true;
                self.done.notify_all();
                return;
            }
            if !state.ends {
                self.changed.wait_for(&mut state, GATHER);
            }
            mem::swap(&mut lines, &mut state.lines);
            // A log that cannot be written has nowhere to say so.
            let _ = MutexGuard::unlocked(&mut state, || out.write_all(&lines));
            lines.clear();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.ends = true;
        self.0.changed.notify_one();
        let waits = |state: &mut State| !state.is_done;
        self.0.done.wait_while_for(&mut state, waits, LAST);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::*;

    /// Hands on each write, and then waits for leave to take the next.
    struct Slow(mpsc::Sender<Vec<u8>>, mpsc::Receiver<()>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_whole_and_in_order_and_the_last_ones_before_the_end() {
        let (written, read) = mpsc::channel();
        let (leave, granted) = mpsc::channel();
        drop(leave);
        let (sink, guard) = Sink::start(Slow(written, granted)).unwrap();
        let lines: Vec<_> = (0..1000).map(|n| format!("line {n}\n")).collect();
        for line in &lines {
            sink.push(line.as_bytes());
        }
        drop(guard);
        let all: Vec<u8> = read.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(all).unwrap(), lines.concat());
        assert_eq!(sink.dropped(), 0);
    }

    #[test]
    fn a_log_that_stalls_costs_lines_and_holds_up_nobody() {
        let (written, read) = mpsc::channel();
        let (leave, granted) = mpsc::channel();
        let (sink, guard) = Sink::start(Slow(written, granted)).unwrap();
        sink.push(b"first\n");
        assert_eq!(read.recv().unwrap(), b"first\n");
        let line = vec![b'x'; 1 << 20];
        for _ in 0..10 {
            sink.push(&line);
        }
        assert_eq!(sink.dropped(), 2);
        drop(leave);
        drop(guard);
        assert_eq!(
            read.try_iter().map(|bytes| bytes.len()).sum::<usize>(),
            8 << 20
        );
    }
}
