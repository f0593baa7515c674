//! An upstream's stream, cut anywhere: a reader says the same wherever it is cut.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use yychat_fuzz::dialect::{Answer, Dialect, Reader, SseReader, Wanted};

fuzz_target!(|input: &[u8]| {
    let Some((&size, stream)) = input.split_first() else {
        return;
    };
    for dialect in Dialect::ALL {
        let size = usize::from(size).max(1);
        assert_eq!(
            read(dialect, stream, stream.len().max(1)),
            read(dialect, stream, size)
        );
        Reader::new(dialect, Wanted::ALL).whole(stream);
    }
});

fn read(dialect: Dialect, stream: &[u8], size: usize) -> Answer {
    let mut reader = SseReader::new(Reader::new(dialect, Wanted::Text(1000)));
    for piece in stream.chunks(size) {
        reader.feed(&Bytes::copy_from_slice(piece));
    }
    reader.finish()
}
