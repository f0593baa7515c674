//! Bytes of the store, and lines of an import: what is read is written as it was, and one changed
//! bit of key or value is noticed.
#![no_main]
#![allow(dead_code, reason = "the target reads a part of the modules")]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use yychat_fuzz::error;

#[path = "../../src/memory/line.rs"]
mod line;
#[path = "../../src/memory/moment.rs"]
mod moment;
#[path = "../../src/memory/record.rs"]
mod record;
#[path = "../../src/memory/scope.rs"]
mod scope;

use line::Line;
use record::{Record, checksum};
use scope::{Holder, Scope};

static SCOPE: LazyLock<Scope> = LazyLock::new(|| Scope::of("t", Some("u"), None).expect("a user"));

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    match choice % 4 {
        0 | 1 => stored(choice, rest),
        2 => imported(rest),
        _ => holder(rest),
    }
});

/// Content under the checksum that it needs, so that what is behind the checksum is reached.
fn stored(choice: u8, content: &[u8]) {
    let mut key = SCOPE.key();
    key.extend([choice; 16]);
    let value = [&checksum(&key, content)[..], content].concat();
    let Some(read) = Record::decode(&SCOPE, &key, &value) else {
        return;
    };
    let written = read.encode(&key);
    assert_eq!(Record::decode(&SCOPE, &key, &written), Some(read));
    let mut damaged = written.clone();
    let at = usize::from(choice) % damaged.len();
    damaged[at] ^= 1 << (choice >> 5);
    assert_eq!(Record::decode(&SCOPE, &key, &damaged), None);
    let at = usize::from(choice) % key.len();
    key[at] ^= 1;
    assert_eq!(Record::decode(&SCOPE, &key, &written), None);
}

fn imported(text: &[u8]) {
    let Ok(line) = serde_json::from_slice::<Line>(text) else {
        return;
    };
    let Ok(record) = line.into_record("t", 0) else {
        return;
    };
    let key = record.key();
    assert_eq!(
        Record::decode(&record.scope, &key, &record.encode(&key)).as_ref(),
        Some(&record)
    );
    let written = serde_json::to_vec(&Line::from(&record)).expect("text keys");
    let again: Line = serde_json::from_slice(&written).expect("what was written is read");
    assert_eq!(again.into_record("other", 1).as_ref(), Ok(&record));
}

fn holder(bytes: &[u8]) {
    if let Some(holder) = Holder::parse(bytes) {
        let mut written = Vec::new();
        holder.append_to(&mut written);
        assert_eq!(written, bytes);
    }
}
