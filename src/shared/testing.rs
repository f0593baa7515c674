//! A real server for tests, of this crate and those that stand before the program.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A Redis of the test's own, on a socket in a folder of its own.
pub struct Server {
    folder: TempDir,
    process: Child,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further settings.
    pub fn with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = ["redis-server", "valkey-server"]
            .into_iter()
            .find_map(|name| launch(name, &folder, settings).ok());
        let process = server.expect("redis-server is installed; scripts/setup --tests does that");
        let server = Self { folder, process };
        while std::os::unix::net::UnixStream::connect(server.socket()).is_err() {
            std::thread::yield_now();
        }
        server
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(name: &str, folder: &TempDir, settings: &[&str]) -> std::io::Result<Child> {
    Command::new(name)
        .args(["--port", "0", "--save", "", "--appendonly", "no"])
        .arg("--unixsocket")
        .arg(folder.path().join("socket"))
        .arg("--dir")
        .arg(folder.path())
        .args(settings)
        .stdout(Stdio::null())
        .spawn()
}
