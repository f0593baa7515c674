//! An upstream's stream, cut anywhere: the observer says the same wherever it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yychat_fuzz::dialect::{Answer, Observer};

fuzz_target!(|input: &[u8]| {
    let Some((&size, stream)) = input.split_first() else {
        return;
    };
    let mut whole = Observer::new(1000);
    whole.feed(stream);
    let mut cut = Observer::new(1000);
    for piece in stream.chunks(usize::from(size).max(1)) {
        cut.feed(piece);
    }
    assert_eq!(whole.is_done(), cut.is_done());
    assert_eq!(whole.finish(), cut.finish());
    Answer::from_json(stream, 1000);
});
