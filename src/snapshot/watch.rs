//! Watching the files: an edit takes effect without a restart.
//!
//! Editors write in place or rename over, Kubernetes swaps a symlink beside the files, people
//! remove a folder and put another in its place. What all have in common is that something
//! happens in the file's folder or in that folder's parent, so those are watched, and after
//! anything at all the files are read again, unless it was a write into a file that is not one of
//! them: [`Store::reload`] knows whether they differ.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;

use super::{Outcome, Store};

/// An edit is read when its folder has been quiet for this long …
const QUIET: Duration = Duration::from_millis(100);
/// … or, where it never is, after this long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Reloads the store whenever its files change, until dropped.
pub struct Watcher {
    stop: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Changed,
    Stop,
}

impl Watcher {
    /// Starts watching. `applied` is told the outcome of each reload that was not `Unchanged`.
    ///
    /// Fails when the system gives no file watches.
    pub fn start(
        store: Arc<Store>,
        applied: impl Fn(Outcome) + Send + 'static,
    ) -> notify::Result<Self> {
        let (sender, events) = mpsc::channel();
        let stop = sender.clone();
        let mut watches = Watches::new(sender)?;
        let thread = thread::Builder::new()
            .name("config-watch".into())
            .spawn(move || {
                // Whether the files are read again without having been heard of.
                let mut again = true;
                while (again || wait_for_edit(&events)) && wait_for_quiet(&events) {
                    // Folders may have been replaced, and watches follow the names, not the
                    // inodes. An edit that falls between the watches is read, now or once more.
                    watches.renew(&store.watched());
                    let outcome = store.reload();
                    again = outcome != Outcome::Unchanged;
                    if again {
                        applied(outcome);
                    }
                }
            })
            .map_err(notify::Error::io)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread may have ended already; either way it is gone after this.
        let _ = self.stop.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for a change; `false` when it is time to stop.
fn wait_for_edit(events: &Receiver<Message>) -> bool {
    matches!(events.recv(), Ok(Message::Changed))
}

/// Waits until no more changes come, so that no half-written file is read; `false` when it is time
/// to stop.
fn wait_for_quiet(events: &Receiver<Message>) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match events.recv_timeout(QUIET) {
            Ok(Message::Changed) => {}
            Err(RecvTimeoutError::Timeout) => break,
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}

struct Watches {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    /// The files and folders that matter, by each of their names.
    wanted: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Watches {
    fn new(sender: Sender<Message>) -> notify::Result<Self> {
        let wanted = Arc::<Mutex<BTreeSet<PathBuf>>>::default();
        let known = wanted.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| is_of_no_concern(&event, &known.lock())) {
                let _ = sender.send(Message::Changed);
            }
        })?;
        Ok(Self {
            watcher,
            watched: BTreeSet::new(),
            wanted,
        })
    }

    /// Watches the folders that `paths` live in, those that they are, and those that they link to.
    fn renew(&mut self, paths: &[PathBuf]) {
        for folder in std::mem::take(&mut self.watched) {
            // A folder that is gone has no watch to remove.
            let _ = self.watcher.unwatch(&folder);
        }
        *self.wanted.lock() = paths.iter().flat_map(|path| names(path)).collect();
        for folder in paths.iter().flat_map(|path| folders(path)) {
            if self.watched.contains(&folder) {
                continue;
            }
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder);
                }
                Err(error) if folder.exists() => {
                    tracing::warn!(folder = %folder.display(), %error, "cannot be watched; edits there need SIGHUP");
                }
                Err(_) => {}
            }
        }
    }
}

/// Our own reading of the files is no change of theirs, and neither is what somebody writes into a
/// file beside them, a log say. Names that come and go always concern us: they may be links.
fn is_of_no_concern(event: &notify::Event, wanted: &BTreeSet<PathBuf>) -> bool {
    match event.kind {
        EventKind::Access(_) => true,
        EventKind::Modify(ModifyKind::Data(_)) => event
            .paths
            .iter()
            .all(|path| !path.ancestors().any(|path| wanted.contains(path))),
        _ => false,
    }
}

/// `path` as named, and where its links lead.
fn names(path: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let resolved = absolute.canonicalize().ok();
    [Some(absolute), resolved].into_iter().flatten().collect()
}

/// The folders in which a change of `path` shows: its parent and grandparent as named, the
/// folder itself with those inside it, and the same for where links lead.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for start in names(path) {
        found.extend(start.ancestors().skip(1).take(2).map(Path::to_owned));
        if start.is_dir() {
            let inside = std::fs::read_dir(&start).into_iter().flatten().flatten();
            found.extend(
                inside
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
            found.insert(start);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, RemoveKind};

    use super::*;

    #[test]
    fn a_log_that_grows_beside_the_files_is_no_edit() {
        let wanted = ["/conf/yychat.toml", "/conf/personalities"];
        let wanted = wanted.into_iter().map(PathBuf::from).collect();
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let ignored = |kind, path: &str| {
            let event = notify::Event::new(kind).add_path(path.into());
            is_of_no_concern(&event, &wanted)
        };
        assert!(ignored(data, "/conf/yychat.log"));
        assert!(ignored(data, "/conf/personalities.log"));
        assert!(!ignored(data, "/conf/yychat.toml"));
        assert!(!ignored(data, "/conf/personalities/cat.json"));
        assert!(!ignored(EventKind::Create(CreateKind::Any), "/conf/..data"));
        assert!(!ignored(EventKind::Remove(RemoveKind::Any), "/conf"));
    }
}
