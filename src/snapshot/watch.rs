//! Watching the files: an edit takes effect without a restart.
//!
//! Editors write in place or rename over, Kubernetes swaps a symlink beside the files, people
//! remove a folder and put another in its place. What all have in common is that something
//! happens in the file's folder or in that folder's parent, so those are watched, and after
//! anything there that may concern the files they are read again: [`Store::reload`] knows whether
//! they differ. Nothing is watched but what was read: what else lies in a folder, and be it ten
//! thousand files, costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;

use super::{Outcome, Store};
use crate::reading::{Record, Writers, names};

/// An edit is read when its folder has been quiet for this long …
const QUIET: Duration = Duration::from_millis(100);
/// … or, where it never is, after this long.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the files are looked at where some folders cannot be watched.
const LOOK: Duration = Duration::from_secs(5);

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
    /// Where the system gives no watches, the files are looked at every few seconds.
    ///
    /// # Errors
    ///
    /// No thread can be made.
    pub fn start(
        store: Arc<Store>,
        applied: impl Fn(Outcome) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, events) = mpsc::channel();
        let stop = sender.clone();
        let mut watches = Watches::new(sender, store.writers().clone());
        let watch = move || {
            // Whether the files are read again without having been heard of.
            let mut again = true;
            let mut sees_all = true;
            while (again || wait_for_edit(&events, sees_all)) && wait_for_quiet(&events) {
                // Folders may have been replaced, and watches follow the names, not the inodes. An
                // edit that falls between the watches is read, now or once more.
                let unwatched = watches.renew(&store.last_read());
                sees_all = unwatched.is_empty();
                store.cannot_watch(unwatched);
                let outcome = store.reload();
                again = outcome != Outcome::Unchanged;
                if again {
                    applied(outcome);
                }
            }
        };
        let thread = thread::Builder::new().name("config-watch".into());
        Ok(Self {
            stop,
            thread: Some(thread.spawn(watch)?),
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

/// Waits for a change, or for the time to look; `false` when it is time to stop.
fn wait_for_edit(events: &Receiver<Message>, sees_all: bool) -> bool {
    let message = match sees_all {
        true => events.recv().ok(),
        false => match events.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => return true,
            message => message.ok(),
        },
    };
    matches!(message, Some(Message::Changed))
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
    /// Or why there is none.
    watcher: notify::Result<RecommendedWatcher>,
    /// By device and inode, since links give one folder many names.
    watched: BTreeMap<(u64, u64), PathBuf>,
    wanted: Arc<Mutex<Wanted>>,
}

impl Watches {
    fn new(sender: Sender<Message>, writers: Writers) -> Self {
        let wanted = Arc::<Mutex<Wanted>>::default();
        let known = wanted.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if heard(event, &known.lock(), &writers) {
                let _ = sender.send(Message::Changed);
            }
        });
        Self {
            watcher,
            watched: BTreeMap::new(),
            wanted,
        }
    }

    /// Watches the folders in which a change of what was read shows. Gives those that cannot be.
    fn renew(&mut self, read: &Record) -> Vec<String> {
        let wanted = Wanted::by(read);
        let folders = by_inode(wanted.direct.iter().chain(&wanted.above));
        *self.wanted.lock() = wanted;
        let watcher = match &mut self.watcher {
            Ok(watcher) => watcher,
            Err(error) => return vec![format!("all: {error}")],
        };
        self.watched.retain(|inode, folder| {
            let stays = folders.contains_key(inode);
            if !stays {
                // A folder that is gone has no watch to remove.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        let mut unwatched = Vec::new();
        for (inode, folder) in folders {
            // Again, too: one of the same inode may be another folder than it was, and watching
            // twice is watching once.
            let folder = self.watched.entry(inode).or_insert(folder);
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive)
                && folder.exists()
            {
                unwatched.push(format!("{}: {error}", folder.display()));
            }
        }
        unwatched
    }
}

fn by_inode<'a>(folders: impl Iterator<Item = &'a PathBuf>) -> BTreeMap<(u64, u64), PathBuf> {
    let found = folders.filter_map(|folder| {
        let found = std::fs::metadata(folder).ok().filter(|it| it.is_dir())?;
        Some(((found.dev(), found.ino()), folder.clone()))
    });
    found.collect()
}

/// What events may be about, by each of its names.
#[derive(Default)]
struct Wanted {
    files: BTreeSet<PathBuf>,
    /// Folders in which names that come and go may be files, or links that lead to them.
    direct: BTreeSet<PathBuf>,
    /// Folders above those.
    above: BTreeSet<PathBuf>,
}

impl Wanted {
    fn by(read: &Record) -> Self {
        let mut wanted = Self::default();
        for name in read.files().flat_map(names) {
            wanted.direct.extend(name.parent().map(Path::to_owned));
            wanted.files.insert(name);
        }
        wanted.direct.extend(read.folders().flat_map(names));
        let above = wanted.direct.iter().filter_map(|folder| folder.parent());
        wanted.above = above.map(Path::to_owned).collect();
        wanted
    }

    /// Whether what is wanted is reached through this name.
    fn leads_through(&self, path: &Path) -> bool {
        let next = |names: &BTreeSet<PathBuf>| {
            let mut from_here = names.range(path.to_owned()..);
            from_here.next().is_some_and(|name| name.starts_with(path))
        };
        next(&self.files) || next(&self.direct)
    }

    fn is_beside(&self, path: &Path) -> bool {
        path.parent()
            .is_some_and(|parent| self.direct.contains(parent))
    }
}

/// Notes who writes, and tells whether the files are to be read again. Our own reading is no change
/// of theirs, and neither is what somebody writes into a file beside them, a log say.
fn heard(event: notify::Result<notify::Event>, wanted: &Wanted, writers: &Writers) -> bool {
    let Ok(event) = event else { return true };
    if event.need_rescan() {
        writers.forget();
        return true;
    }
    let mut concerns = false;
    for path in &event.paths {
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => {
                if wanted.is_beside(path) {
                    writers.began(path);
                }
                concerns |= wanted.files.contains(path);
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                writers.ended(path);
                concerns |= wanted.files.contains(path);
            }
            EventKind::Access(_) => {}
            _ => {
                if !matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_))) {
                    writers.ended(path);
                }
                concerns |= wanted.is_beside(path) || wanted.leads_through(path);
            }
        }
    }
    concerns
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, RemoveKind};

    use super::*;
    use crate::snapshot::Status;

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const CREATED: EventKind = EventKind::Create(CreateKind::Any);
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::Any);

    fn set(paths: &[&str]) -> BTreeSet<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    fn event(kind: EventKind, path: &str) -> notify::Result<notify::Event> {
        Ok(notify::Event::new(kind).add_path(path.into()))
    }

    #[test]
    fn only_what_may_concern_the_files_is_an_edit() {
        let wanted = Wanted {
            files: set(&["/etc/conf/yychat.toml", "/etc/conf/personalities/cat.json"]),
            direct: set(&["/etc/conf", "/etc/conf/personalities"]),
            above: set(&["/etc", "/etc/conf"]),
        };
        let concerns = |kind, path: &str| heard(event(kind, path), &wanted, &Writers::default());
        for (kind, path) in [
            (WRITTEN, "/etc/conf/yychat.log"),
            (WRITTEN, "/etc/conf/personalities.log"),
            (CLOSED, "/etc/conf/yychat.log"),
            (CREATED, "/etc/hosts"),
            (REMOVED, "/etc/con"),
            (
                EventKind::Access(AccessKind::Open(AccessMode::Any)),
                "/etc/conf/yychat.toml",
            ),
        ] {
            assert!(!concerns(kind, path), "{kind:?} {path}");
        }
        for (kind, path) in [
            (WRITTEN, "/etc/conf/yychat.toml"),
            (WRITTEN, "/etc/conf/personalities/cat.json"),
            (CLOSED, "/etc/conf/yychat.toml"),
            (CREATED, "/etc/conf/..data"),
            (CREATED, "/etc/conf/personalities/dog.json"),
            (REMOVED, "/etc/conf"),
        ] {
            assert!(concerns(kind, path), "{kind:?} {path}");
        }
        assert!(heard(
            Err(notify::Error::generic("lost")),
            &wanted,
            &Writers::default()
        ));
    }

    #[test]
    fn a_file_is_being_written_until_its_writer_closes_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let file = folder.join("yychat.toml");
        let path = file.to_str().unwrap();
        let wanted = Wanted {
            direct: BTreeSet::from([folder]),
            ..Wanted::default()
        };
        let writers = Writers::default();
        let rescan = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        for end in [event(CLOSED, path), event(REMOVED, path), Ok(rescan)] {
            assert!(!writers.are_at(&file));
            heard(event(WRITTEN, path), &wanted, &writers);
            assert!(writers.are_at(&file));
            heard(end, &wanted, &writers);
        }
        assert!(!writers.are_at(&file));
    }

    #[test]
    fn a_folder_that_cannot_be_watched_is_told_of() {
        let (sender, _events) = mpsc::channel();
        let mut watches = Watches::new(sender, Writers::default());
        assert_eq!(watches.renew(&Record::default()), Vec::<String>::new());
        watches.watcher = Err(notify::Error::generic("too many open files"));
        let unwatched = watches.renew(&Record::default());
        assert_eq!(unwatched, ["all: too many open files"]);
        let status = Status {
            unwatched,
            ..Status::first()
        };
        let said = status.describe();
        assert!(
            said.contains("not watched") && said.contains("too many open files"),
            "{said}"
        );
    }
}
