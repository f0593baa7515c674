//! A Redis of a test's own, on a socket in a folder of its own.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub struct Valkey(TempDir, Child);

impl Valkey {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further settings.
    pub fn with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let launched = ["redis-server", "valkey-server"]
            .into_iter()
            .find_map(|name| {
                Command::new(name)
                    .args(["--port", "0", "--save", "", "--unixsocket"])
                    .arg(folder.path().join("socket"))
                    .arg("--dir")
                    .arg(folder.path())
                    .args(settings)
                    .stdout(Stdio::null())
                    .spawn()
                    .ok()
            });
        let server = Self(
            folder,
            launched.expect("scripts/setup --tests installs redis-server"),
        );
        while UnixStream::connect(server.0.path().join("socket")).is_err() {
            std::thread::yield_now();
        }
        server
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.0.path().join("socket").display())
    }

    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.1.kill();
        let _ = self.1.wait();
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        self.kill();
    }
}
