//! What a client sees of an answer: the same wherever the stream is cut, and what was given, byte for
//! byte, where nothing could be a call.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use yychat_fuzz::dialect::{Dialect, Editor, Leg, Owners, SseEditor, Wanted};

fuzz_target!(|input: &[u8]| {
    let Some((&size, stream)) = input.split_first() else {
        return;
    };
    for dialect in Dialect::ALL {
        let whole = pass(dialect, stream, stream.len().max(1));
        let cut = pass(dialect, stream, usize::from(size).max(1));
        assert_eq!(whole, cut);
        if dialect == Dialect::Chat && !stream.windows(5).any(|five| five == b"_call") {
            assert_eq!(whole.0, stream);
        }
        let mut editor = editor(dialect);
        let _ = editor.whole(&Bytes::copy_from_slice(stream));
        let _ = editor.end_leg();
    }
});

fn editor(dialect: Dialect) -> Editor {
    let owners = Owners {
        gateway: vec!["calculator".to_owned()],
        client: vec!["look".to_owned()],
    };
    Editor::new(dialect, owners, Wanted::Text(1000), "x".to_owned())
}

/// Two legs of the same bytes: what the client saw, and how the second goes on.
fn pass(dialect: Dialect, stream: &[u8], size: usize) -> (Vec<u8>, Leg) {
    let mut editor = SseEditor::new(editor(dialect));
    let mut out = Vec::new();
    loop {
        for piece in stream.chunks(size) {
            out.extend(editor.feed(&Bytes::copy_from_slice(piece)));
        }
        let (rest, leg) = editor.end_leg();
        out.extend(rest);
        let goes_on = matches!(&leg, Leg::Calls(round) if round.client_calls.is_empty());
        if !goes_on || out.len() > 1 << 16 || out.is_empty() {
            out.extend(editor.finish());
            return (out.concat(), leg);
        }
        out.push(Bytes::new());
        if out.iter().filter(|piece| piece.is_empty()).count() > 1 {
            return (out.concat(), leg);
        }
    }
}
