//! A PostgreSQL server of a test's own: its folder is temporary, and it listens on a socket in
//! there alone. The tests of the store in `src` use it too.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// PostgreSQL refuses to run as root: then it runs as nobody.
const NOBODY: u32 = 65534;

pub struct Server {
    programs: PathBuf,
    folder: TempDir,
}

impl Server {
    pub fn start() -> Self {
        let server = Self::bare();
        let options = "--no-sync --auth=trust --username=yychat --encoding=UTF8 --locale=C";
        let initdb = server.run("initdb", |command| {
            command.arg("-D").arg(server.data());
            command.args(options.split(' '));
        });
        assert!(initdb, "initdb failed");
        server.start_again();
        server
    }

    /// One that has no files yet, and does not run.
    pub fn bare() -> Self {
        let server = Self {
            programs: programs(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        if is_root() {
            chown(server.folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        server
    }

    /// Starts it where it was stopped, and waits until it answers.
    pub fn start_again(&self) {
        // Nothing of a test need outlive a power cut.
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off \
             -c shared_buffers=16MB",
            self.folder.path().display()
        );
        let log = self.folder.path().join("log");
        let started = self.pg_ctl(&["start", "-l", &log.to_string_lossy(), "-o", &options]);
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(started, "PostgreSQL does not start: {}", log());
    }

    /// Stops it, cutting whoever is connected.
    pub fn stop(&self) {
        assert!(self.pg_ctl(&["stop", "-m", "fast"]), "it runs");
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// The URL of one of its databases; `postgres` is there from the start.
    pub fn url(&self, database: &str) -> String {
        let socket = self.socket();
        let folder = socket.parent().unwrap_or(&socket).to_string_lossy();
        let folder = folder.replace('/', "%2F");
        format!("postgres://yychat@{folder}/{database}")
    }

    /// The folder of its files.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Tells the server something; whether it came to be.
    pub fn pg_ctl(&self, arguments: &[&str]) -> bool {
        self.run("pg_ctl", |command| {
            command.arg("-D").arg(self.data());
            command.args(["-s", "-w"]).args(arguments);
        })
    }

    /// Runs one of PostgreSQL's programs; whether it succeeded.
    pub fn run(&self, program: &str, arguments: impl FnOnce(&mut Command)) -> bool {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path());
        // What it prints would go on being written by the server.
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null());
        arguments(&mut command);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.status().expect("PostgreSQL's programs").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been stopped.
        self.pg_ctl(&["stop", "-m", "immediate"]);
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The folder of the newest PostgreSQL that is installed.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| version(path))
        .expect("PostgreSQL under /usr/lib/postgresql: run scripts/setup --tests")
        .join("bin")
}
