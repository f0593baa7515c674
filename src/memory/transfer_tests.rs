//! Imports and exports: what is read, what is said of what is not, and how much is held at once.

use std::io::{BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::doubles::{Behind, Refuses};
use super::record::{MAX_TEXT_BYTES, Reason};
use super::store_tests::scope;
use super::tests::config;
use super::*;

const NOW: i64 = 1_700_000_000_000;

fn open() -> (Memory, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Memory::open(&config(folder.path()), None).unwrap(), folder)
}

async fn import(memory: &Memory, lines: &[u8], from_line: usize) -> Result<u64, ImportError> {
    let how = Import {
        tenant: "tenant",
        from_line,
        now: NOW,
        told: &mut |_| {},
    };
    let imported = memory.import(&mut Cursor::new(lines), how).await?;
    Ok(imported.records)
}

/// Every record, the oldest first, as text and time.
async fn all(memory: &Memory) -> Vec<(String, i64)> {
    let (mut records, next) = memory.store.scan(None, 100_000).await.unwrap();
    assert!(next.is_none());
    records.sort_by_key(|record| (record.created_at, record.id));
    let said = records.into_iter().map(|it| (it.text, it.created_at));
    said.collect()
}

#[tokio::test]
async fn lines_are_read_as_programs_write_them() {
    let (memory, _folder) = open();
    let lines = "\u{FEFF}{\"user_id\":\"ann\",\"text\":\"one\",\"created_at\":\"2026-05-05T07:00:00\"}\r\n\
        \r\n\
        \u{FEFF} {\"user_id\":\"ann\",\"text\":\"two\",\"created_at\":1777964401}\n\
        \t{\"user_id\":\"ann\",\"text\":\"three\",\"created_at\":1777964402000,\"updated_at\":null}\n\
        {\"user_id\":\"ann\",\"text\":\"four\",\"created_at\":\"2026-05-05 09:00:03+02:00\"}\n\
        \n  \n\
        {\"user_id\":\"ann\",\"text\":\"five\",\"id\":null,\"tenant\":null,\"conversation_id\":null,\
         \"role\":null,\"created_at\":null,\"source\":null,\"request_id\":null,\"generation\":null,\
         \"history\":null,\"derived_from\":null}";
    assert_eq!(import(&memory, lines.as_bytes(), 1).await.unwrap(), 5);
    let at = |second: i64| (1_777_964_400 + second) * 1000;
    let said = [
        ("five", NOW),
        ("one", at(0)),
        ("two", at(1)),
        ("three", at(2)),
        ("four", at(3)),
    ];
    let said = said.map(|(text, at)| (text.to_owned(), at));
    assert_eq!(all(&memory).await, said);
}

#[tokio::test]
async fn a_line_that_fails_is_named_and_all_before_it_is_stored_once() {
    let line = |n: usize| {
        let second = n / 3;
        format!("{{\"user_id\":\"ann\",\"text\":\"said {n}\",\"created_at\":{second}}}\n")
    };
    let good: String = (1..=2500).map(line).collect();
    for bad in [1, 2, 999, 1000, 1001, 2500] {
        let (memory, _folder) = open();
        let mut lines: Vec<String> = good.lines().map(|it| format!("{it}\n")).collect();
        lines[bad - 1] = "{\"text\":\"of nobody\"}\n".into();
        let error = import(&memory, lines.concat().as_bytes(), 1)
            .await
            .unwrap_err();
        let ImportError::Line { line, what, stored } = error else {
            panic!("{error}");
        };
        assert_eq!((line, stored), (bad, bad as u64 - 1));
        assert!(what.contains("user_id"), "{what}");
        assert_eq!(memory.count().await.unwrap(), stored);
        // It can be gone on with, or begun again.
        let rest = import(&memory, good.as_bytes(), line).await.unwrap();
        assert_eq!(rest + stored, 2500);
        assert_eq!(memory.count().await.unwrap(), 2500, "{bad}");
        assert_eq!(import(&memory, good.as_bytes(), 1).await.unwrap(), 2500);
        let found = all(&memory).await;
        assert_eq!(found.len(), 2500, "{bad}");
        let in_order = found
            .iter()
            .zip(1..)
            .all(|((text, _), n)| *text == format!("said {n}"));
        assert!(
            in_order || bad % 3 != 1,
            "what was said at one moment stays in its order"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_line_is_said_with_its_mend() {
    let (memory, _folder) = open();
    let long = format!(
        "{{\"user_id\":\"ann\",\"text\":\"{}\"}}",
        "x".repeat(9 << 20)
    );
    let large = format!(
        "{{\"user_id\":\"ann\",\"text\":\"{}\"}}",
        "x".repeat(70_000)
    );
    let wide: Vec<u8> = "\u{FEFF}{}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let cases: [(&[u8], &str); 11] = [
        (b"[{\"user_id\":\"ann\",\"text\":\"x\"}]", "jq -c '.[]'"),
        (b"{\n  \"user_id\": \"ann\"\n}", "one object a line"),
        (
            b"{\"user_id\":\"ann\",\"text\":\"x\"} trailing",
            "at column 30",
        ),
        (b"{\"user_id\":\"ann\",\"text\":\"\xFF\"}", "unicode"),
        (
            b"{\"user_id\":\"ann\",\"text\":\"x\",\"created_at\":\"soon\"}",
            "\"soon\" is no time",
        ),
        (b"{\"user_id\":\"ann\"}", "missing field `text`"),
        (b"{\"user_id\":\"ann\",\"text\":\" \"}", "text is empty"),
        (
            b"{\"user_id\":\"ann\",\"text\":\"x\",\"tenant\":\"\"}",
            "tenant is empty",
        ),
        (&wide, "iconv"),
        (long.as_bytes(), "no record has"),
        (large.as_bytes(), "at most 65536"),
    ];
    for (line, what) in cases {
        let lines = [b"\n", line].concat();
        let error = import(&memory, &lines, 1).await.unwrap_err().to_string();
        assert!(error.starts_with("line 2: "), "{error}");
        assert!(error.contains(what), "{error}");
    }
    let quoted = format!("\"{}\"", "x".repeat(1 << 20));
    let error = import(&memory, quoted.as_bytes(), 1).await.unwrap_err();
    assert!(
        error.to_string().len() < 400,
        "it says no more than it must"
    );
    assert_eq!(memory.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_line_that_is_skipped_counts_once_however_long_it_is() {
    let (memory, _folder) = open();
    let long = format!("{{\"text\":\"{}\"}}\n", "x".repeat(20 << 20));
    let good = "{\"user_id\":\"ann\",\"text\":\"kept\",\"created_at\":1}\n";
    let lines = format!("{long}not a line\n{good}oops");
    let error = import(&memory, lines.as_bytes(), 3).await.unwrap_err();
    let ImportError::Line { line, stored, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((line, stored), (4, 1));
}

#[tokio::test]
async fn lines_of_two_users_that_name_one_id_are_two_records_however_often_they_come() {
    let (memory, _folder) = open();
    let id = record::new_id(NOW);
    let line = |user: &str, tenant: &str| {
        format!(
            "{{\"id\":\"{id}\",\"tenant\":\"{tenant}\",\"user_id\":\"{user}\",\"text\":\"of {user}\",\
             \"created_at\":{NOW}}}\n"
        )
    };
    let lines = ["ann", "bob", "eve"].map(|user| line(user, "tenant"));
    let all_at_once = lines.concat() + &line("ann", "other");
    for lines in [&all_at_once, &lines[1], &lines[2], &all_at_once] {
        import(&memory, lines.as_bytes(), 1).await.unwrap();
        let audit = memory.audit().await.unwrap();
        assert_eq!((audit.records, audit.orphans), (4, 0));
    }
    let first = memory.get("tenant", None, &id.to_string()).await.unwrap();
    assert_eq!(first.text, "of ann");
    memory
        .erase("tenant", Selection::Scope(scope("ann")))
        .await
        .unwrap();
    for user in ["bob", "eve"] {
        let of = Selection::Scope(scope(user));
        let page = memory.list("tenant", &of, None, 10).await.unwrap();
        let [record] = &page.records[..] else {
            panic!("{page:?}");
        };
        assert_eq!(record.created_at, NOW);
        let id = record.id.to_string();
        let found = memory.get("tenant", Some(user), &id).await.unwrap();
        assert_eq!(found.text, format!("of {user}"));
    }
    // Of two of one user the later holds, as ever.
    let twice = line("dan", "tenant") + &line("dan", "tenant").replace("of dan", "later");
    import(&memory, twice.as_bytes(), 1).await.unwrap();
    let of = Selection::Scope(scope("dan"));
    let page = memory.list("tenant", &of, None, 10).await.unwrap();
    assert_eq!((page.total, &*page.records[0].text), (1, "later"));
}

#[tokio::test]
async fn a_store_that_refuses_a_part_leaves_those_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Behind {
        store: Embedded::open(folder.path()).unwrap(),
        gate: Refuses::from(false),
    });
    let memory = Memory::with_store(store.clone(), &config(folder.path()), None).unwrap();
    let line =
        |n: usize| format!("{{\"user_id\":\"ann\",\"text\":\"said {n}\",\"created_at\":{n}}}\n");
    let lines: String = (1..=2500).map(line).collect();
    let refuses = store.clone();
    let how = Import {
        tenant: "tenant",
        from_line: 1,
        now: NOW,
        told: &mut |_| refuses.gate.store(true, Ordering::SeqCst),
    };
    let error = memory.import(&mut lines.as_bytes(), how).await.unwrap_err();
    let ImportError::Store { line, stored, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((line, stored), (1001, 1000));
    store.gate.store(false, Ordering::SeqCst);
    assert_eq!(import(&memory, lines.as_bytes(), line).await.unwrap(), 1500);
    assert_eq!(memory.count().await.unwrap(), 2500);
}

/// Lines without end, made as they are read.
struct Endless {
    number: u64,
    rest: Cursor<Vec<u8>>,
}

impl Read for Endless {
    fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.position() == self.rest.get_ref().len() as u64 {
            self.number += 1;
            let (user, text) = (self.number % 7, "words ".repeat(100));
            let line = format!("{{\"user_id\":\"{user}\",\"text\":\"{text}\"}}\n");
            self.rest = Cursor::new(line.into_bytes());
        }
        self.rest.read(space)
    }
}

#[tokio::test]
async fn an_import_holds_a_part_at_a_time_however_much_there_is() {
    let (memory, _folder) = open();
    let endless = Endless {
        number: 0,
        rest: Cursor::default(),
    };
    let mut parts = Vec::new();
    let how = Import {
        tenant: "tenant",
        from_line: 1,
        now: NOW,
        told: &mut |done| parts.push(done),
    };
    let mut lines = BufReader::new(endless.take(10 << 20));
    // It ends within a line.
    let error = memory.import(&mut lines, how).await.unwrap_err();
    assert!(matches!(error, ImportError::Line { .. }), "{error}");
    let mut last = Imported::default();
    for part in &parts {
        assert!(part.records - last.records <= 1000);
        assert!(part.bytes - last.bytes <= 2 << 20, "{part:?} {last:?}");
        last = *part;
    }
    assert!(parts.len() > 8, "{}", parts.len());
    assert_eq!(memory.count().await.unwrap(), last.records);
}

#[tokio::test]
async fn an_export_holds_a_part_at_a_time_however_large_the_records_are() {
    let (memory, _folder) = open();
    let text = "x".repeat(MAX_TEXT_BYTES);
    let mut large = Record::new(&scope("ann"), "user", text.clone(), Source::Api, NOW);
    for _ in 0..8 {
        large.replace_text(text.clone(), Reason::Edited, NOW);
    }
    let records: Vec<Record> = (0..60)
        .map(|n| Record {
            id: record::new_id(NOW + n),
            ..large.clone()
        })
        .collect();
    let changes = records.iter().cloned().map(store::Change::Put);
    memory.store.apply(changes.collect()).await.unwrap();
    let of_ann = Selection::Scope(scope("ann"));
    for of in [
        None,
        Some(("tenant", &of_ann)),
        Some(("tenant", &Selection::All)),
    ] {
        let mut parts = memory.parts(of);
        let (mut count, mut first) = (0, true);
        while let Some(part) = memory.next_part(&mut parts).await.unwrap() {
            count += part.len();
            let bytes: usize = part.iter().map(Record::weight).sum();
            assert!(first || bytes <= 2 << 20, "{bytes}");
            first = false;
        }
        assert_eq!(count, 60);
    }
}
