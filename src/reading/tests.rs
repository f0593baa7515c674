use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::*;

const MOST: usize = 1 << 10;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// What is read of a file that held `before` and holds `now`.
fn edited(name: &str, before: &str, now: &str) -> Result<Bytes, String> {
    let folder = folder();
    let file = folder.path().join(name);
    fs::write(&file, before).unwrap();
    let first = Reading::default();
    first.read(&file, MOST).unwrap();
    let record = Arc::new(first.finish());
    fs::write(&file, now).unwrap();
    let again = Reading::again(record, Writers::default());
    again.read(&file, MOST).map_err(|unread| unread.to_string())
}

#[test]
fn what_may_be_half_an_edit_is_none() {
    let good = "# keys\n[[auth.keys]]\nname = 'a'\n";
    for (now, why) in [
        ("", "is empty, and was not"),
        (" \n\n", "is empty, and was not"),
        (
            "# what it was\n\n  # and more\n",
            "holds comments alone, and held more",
        ),
        ("\u{feff}#\r\n", "holds comments alone, and held more"),
        (
            "# keys\n[[auth.keys]]\n",
            "is what is in force, cut off after 21 bytes",
        ),
        ("# key", "holds comments alone, and held more"),
        (
            &good[..good.len() - 2],
            "is what is in force, cut off after 30 bytes",
        ),
        (
            "\u{feff}# keys\r\n[[auth.keys]]\r\n\r\n",
            "is what is in force, cut off after 28 bytes",
        ),
        (
            "# keys\n[[auth.keys]] \n\t\n",
            "is what is in force, cut off after 24 bytes",
        ),
    ] {
        let read = edited("yychat.toml", good, now);
        assert_eq!(read, Err(why.to_owned()), "{now:?}");
    }
    for now in [
        good,
        good.trim_end(),
        "# other\n[[auth.keys]]\n",
        "[server]",
        "# keys\n[[auth.keys]]\nname = '\n",
        &good.replace('\n', "\r\n"),
        &format!("{good}more = 1"),
    ] {
        assert_eq!(edited("yychat.toml", good, now), Ok(now.to_owned().into()));
    }
}

#[test]
fn only_toml_has_comments() {
    let read = edited("key.txt", "a-key-of-16-bytes", "#a-key-of-16-byte");
    assert!(read.is_ok(), "{read:?}");
    let cut = edited("key.txt", "a-key-of-16-bytes", "a-key-of-16");
    assert!(cut.is_err_and(|why| why.contains("cut off")));
    // What said nothing before may say nothing now.
    assert!(edited("yychat.toml", "# a\n", "# b\n").is_ok());
    assert!(edited("yychat.toml", "", "").is_ok());
}

#[test]
fn what_is_torn_is_still_compared_with_what_is_in_force() {
    let folder = folder();
    let file = folder.path().join("yychat.toml");
    let write = |text: &str| fs::write(&file, text).unwrap();
    let mut record = Arc::new(Record::default());
    let mut read = |text: &str| {
        write(text);
        let reading = Reading::again(record.clone(), Writers::default());
        let read = reading.text(&file);
        record = Arc::new(reading.finish());
        read.map_err(|unread| unread.to_string())
    };
    assert!(read("a = 1\nb = 2\n").is_ok());
    assert!(read("").is_err());
    assert!(read("a = 1\n").is_err(), "empty is not in force");
    assert!(read("b = 2\n").is_ok());
    assert!(read("a = 1\n").is_ok());
}

#[test]
fn a_file_that_was_there_is_gone_and_one_that_was_not_is_absent() {
    let folder = folder();
    let (file, other) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
    fs::write(&file, "a = 1").unwrap();
    let first = Reading::default();
    assert_eq!(first.optional(&file).unwrap().as_deref(), Some("a = 1"));
    assert_eq!(first.optional(&other).unwrap(), None);
    let record = Arc::new(first.finish());
    fs::remove_file(&file).unwrap();
    let again = Reading::again(record, Writers::default());
    let gone = again.optional(&file).unwrap_err().fault(&file).to_string();
    assert!(gone.contains("was there, and is gone"), "{gone}");
    assert_eq!(again.optional(&other).unwrap(), None);
}

#[test]
fn a_file_that_someone_has_open_for_writing_is_not_read() {
    let folder = folder();
    let file = folder.path().join("a.toml");
    let begun = |writer: &mut File| writer.write_all(b"a = 1\n").unwrap();
    let read = || {
        let reading = Reading::again(Arc::default(), Writers::default());
        let read = reading.text(&file).map_err(|unread| unread.to_string());
        (read, reading.finish())
    };
    let mut writer = File::create(&file).unwrap();
    begun(&mut writer);
    let (text, record) = read();
    assert_eq!(text, Err("is still being written".to_owned()));
    assert!(record.is_current(&Writers::default()));
    // Whoever only reads does not matter, nor does what nobody has changed.
    let _reader = File::open(&file).unwrap();
    drop(writer);
    assert!(!record.is_current(&Writers::default()), "it is closed now");
    let (text, record) = read();
    assert_eq!(text, Ok("a = 1\n".to_owned()));
    let _idle = OpenOptions::new().append(true).open(&file).unwrap();
    let again = Reading::again(Arc::new(record), Writers::default());
    assert!(again.text(&file).is_ok());
}

#[test]
fn nothing_but_plain_files_is_opened() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let made = Command::new("mkfifo").arg(at("pipe")).status().unwrap();
    assert!(made.success());
    let _socket = UnixListener::bind(at("socket")).unwrap();
    symlink("/dev/zero", at("device")).unwrap();
    symlink("pipe", at("link")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    let reading = Reading::default();
    for (name, why) in [
        ("pipe", "is a pipe, not a plain file"),
        ("link", "is a pipe, not a plain file"),
        ("socket", "is a socket, not a plain file"),
        ("device", "is a device, not a plain file"),
        ("folder", "cannot be read: Is a directory (os error 21)"),
        (
            "dangling",
            "cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        let unread = reading.read(&at(name), MOST).unwrap_err();
        assert_eq!(unread.to_string(), why, "{name}");
    }
    assert!(reading.finish().is_current(&Writers::default()));
}

#[test]
fn a_file_that_became_something_else_is_not_gone_from_its_folder() {
    let folder = folder();
    let file = folder.path().join("a.json");
    fs::write(&file, "{}").unwrap();
    fs::write(folder.path().join(".hidden.json"), "{}").unwrap();
    let counts: Counts = |path| path.extension().is_some_and(|it| it == "json") && path.is_file();
    let first = Reading::default();
    assert_eq!(first.list(folder.path(), counts).unwrap(), [file.as_path()]);
    let record = Arc::new(first.finish());
    fs::remove_file(&file).unwrap();
    let again = || Reading::again(record.clone(), Writers::default());
    let empty = again().list(folder.path(), counts).unwrap_err();
    assert_eq!(empty.to_string(), "is empty, and was not");
    fs::create_dir(&file).unwrap();
    assert_eq!(
        again().list(folder.path(), counts).unwrap(),
        [file.as_path()]
    );
    let again = again();
    again.list(folder.path(), counts).unwrap();
    assert!(again.read(&file, MOST).is_err());
}

#[test]
fn a_record_is_current_until_something_that_it_has_changes() {
    let folder = folder();
    let file = folder.path().join("a");
    let large = vec![b'a'; MAX_TEXT + 1];
    fs::write(&file, &large).unwrap();
    let reading = Reading::default();
    assert_eq!(
        reading.read(&file, 2 * MAX_TEXT).unwrap().len(),
        large.len()
    );
    let _ = reading.list(folder.path(), Path::is_dir);
    let record = reading.finish();
    fs::write(folder.path().join("b"), "").unwrap();
    assert!(
        record.is_current(&Writers::default()),
        "nobody asked for it"
    );
    fs::write(&file, &large[1..]).unwrap();
    assert!(!record.is_current(&Writers::default()));
}

#[test]
fn a_path_has_the_names_of_its_links() {
    let folder = folder();
    let root = folder.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("store/v1")).unwrap();
    fs::write(root.join("store/v1/a.toml"), "").unwrap();
    symlink("store/v1", root.join("static")).unwrap();
    symlink("static/a.toml", root.join("a.toml")).unwrap();
    let names = names(&root.join("a.toml"));
    for name in ["a.toml", "static/a.toml", "store/v1/a.toml"] {
        assert!(names.contains(&root.join(name)), "{name} in {names:?}");
    }
    symlink("ring", root.join("ring")).unwrap();
    assert!(super::names(&root.join("ring")).len() <= 20);
}

#[test]
fn what_was_read_is_never_printed() {
    let folder = folder();
    let file = folder.path().join("secret");
    fs::write(&file, "canary-0123456789").unwrap();
    let reading = Reading::default();
    reading.read(&file, MOST).unwrap();
    let mut shown = format!("{reading:?}");
    shown.push_str(&format!("{:?}", reading.finish()));
    assert!(
        shown.contains("secret") && !shown.contains("canary"),
        "{shown}"
    );
}
