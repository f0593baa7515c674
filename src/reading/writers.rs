//! Who has a file open for writing.
//!
//! Two witnesses, since neither sees all: the watcher hears of writes and of what closes them,
//! whoever does both, but not of what began before it; `/proc` shows what is open now, but of
//! other users' processes only to root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// Links that are followed from one to the next at most.
const MOST_LINKS: usize = 16;

/// The files that were written to and not closed since, as the watcher hears of it.
#[derive(Debug, Clone, Default)]
pub struct Writers(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Writers {
    /// Something was written.
    pub fn began(&self, path: &Path) {
        self.0.lock().insert(path.to_owned());
    }

    /// A writer closed it, or the name stands for another file now.
    pub fn ended(&self, path: &Path) {
        self.0.lock().remove(path);
    }

    /// Not all was heard.
    pub fn forget(&self) {
        self.0.lock().clear();
    }

    /// Whether someone is known to have it open for writing.
    pub fn are_at(&self, path: &Path) -> bool {
        let heard = || {
            let writing = self.0.lock();
            !writing.is_empty() && names(path).iter().any(|name| writing.contains(name))
        };
        heard() || is_open_for_writing(path)
    }
}

/// A path's names: as it is given, each that its links lead to, and the one without links.
pub fn names(path: &Path) -> Vec<PathBuf> {
    let mut names = vec![std::path::absolute(path).unwrap_or_else(|_| path.to_owned())];
    for step in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&names[step]) else {
            break;
        };
        let folder = names[step].parent().unwrap_or(Path::new("/"));
        names.push(folder.join(target));
    }
    names.extend(names[0].canonicalize().ok());
    names.dedup();
    names
}

/// Whether `/proc` shows a process that does.
fn is_open_for_writing(path: &Path) -> bool {
    let Ok(file) = fs::metadata(path) else {
        return false;
    };
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let processes = entries(Path::new("/proc"))
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(is_number));
    processes.into_iter().any(|process| {
        entries(&process.join("fd")).any(|open| {
            fs::metadata(open.path())
                .is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()))
                && fs::read_to_string(process.join("fdinfo").join(open.file_name()))
                    .is_ok_and(|info| writes(&info))
        })
    })
}

fn is_number(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// Whether a descriptor of these flags can write: proc_pid_fdinfo(5) has them in octal, open(2)
/// the access mode in the lowest two bits.
fn writes(info: &str) -> bool {
    let mut lines = info.lines();
    let flags = lines.find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 0b11 != 0)
}
