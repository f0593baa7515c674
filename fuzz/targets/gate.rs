//! The gate of tool calls: it gives the same wherever the stream is cut, and where
//! nothing could be a call it gives what it was given, byte for byte.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use yychat_fuzz::dialect::{Gate, Owners, Whole};

fuzz_target!(|input: &[u8]| {
    let Some((&size, stream)) = input.split_first() else {
        return;
    };
    let size = usize::from(size).max(1);
    let ours = || Owners {
        gateway: vec!["calculator".to_owned()],
        client: vec!["look".to_owned()],
    };
    let (one, calls) = pass(ours(), stream, stream.len().max(1));
    let (many, cut_calls) = pass(ours(), stream, size);
    assert_eq!((&one, calls), (&many, cut_calls));
    if !stream.windows(5).any(|five| five == b"_call") {
        assert_eq!(many, stream);
    }
    let _ = Whole::read(stream, &ours());
});

fn pass(owners: Owners, stream: &[u8], size: usize) -> (Vec<u8>, String) {
    let mut gate = Gate::new(owners);
    let mut out = Vec::new();
    for piece in stream.chunks(size) {
        out.extend(gate.feed(&Bytes::copy_from_slice(piece)));
    }
    out.extend(gate.finish());
    (out.concat(), format!("{:?}", gate.round()))
}
