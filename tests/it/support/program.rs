//! The program itself, as a process of its own that signals reach.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};

use serde_json::Value;

use super::client::{Client, Response, get};
use super::{STUCK, Setup};

/// A running program and those that take its place.
pub struct Program {
    pub api: SocketAddr,
    pub admin: SocketAddr,
    /// The process that serves, as far as the log was read.
    pub pid: u32,
    first: Child,
    log: Receiver<Value>,
    pub setup: Setup,
}

impl Program {
    /// Starts it by a link in the setup's folder; it can be connected to when this returns.
    pub fn start(setup: Setup) -> Self {
        let link = setup.path("yychat");
        symlink(env!("CARGO_BIN_EXE_yychat"), &link).expect("a folder that can be written");
        let mut command = Command::new(link);
        command.args(setup.arguments());
        Self::started(command, setup)
    }

    /// Starts a command that comes to be the program.
    pub fn started(mut command: Command, setup: Setup) -> Self {
        fs::write(setup.path("conf/yychat.toml"), setup.text()).expect("a folder");
        let mut first = command
            .current_dir(setup.path(""))
            .env("YYCHAT__LOG__FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program that was just built");
        let lines = BufReader::new(first.stderr.take().expect("a pipe")).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // What is said before there is a log is text.
                let said = serde_json::from_str(&line).unwrap_or(Value::String(line));
                // A test that has ended reads no more.
                let _ = sender.send(said);
            }
        });
        let unknown = SocketAddr::from(([0; 4], 0));
        let mut program = Self {
            api: unknown,
            admin: unknown,
            pid: first.id(),
            first,
            log,
            setup,
        };
        let listening = program.says("listening");
        let address = |key: &str| listening[key].as_str().and_then(|text| text.parse().ok());
        program.api = address("api").expect("an address");
        program.admin = address("admin").expect("an address");
        program
    }

    /// Waits until the log says so; gives the whole line.
    pub fn says(&self, text: &str) -> Value {
        let mut before = String::new();
        loop {
            let Ok(said) = self.log.recv_timeout(STUCK) else {
                panic!("the log never said {text:?}, but:\n{before}");
            };
            if said["message"]
                .as_str()
                .is_some_and(|message| message.contains(text))
            {
                return said;
            }
            before.push_str(&format!("{said}\n"));
        }
    }

    /// Sends a signal, such as `QUIT`, to the process that serves.
    pub fn signal(&self, name: &str) {
        signal(name, self.pid);
    }

    /// Hands over to a new process and waits until that one serves.
    pub fn upgrade(&mut self) {
        self.signal("QUIT");
        let serves = self.says("the new process serves");
        self.pid = serves["pid"]
            .as_u64()
            .and_then(|pid| pid.try_into().ok())
            .expect("a pid");
        self.says("draining");
    }

    /// Puts a script in the place of the program; its `$PROGRAM` is the program.
    pub fn replace(&self, script: &str) {
        let new = self.setup.path("new");
        let text = format!(
            "#!/bin/bash\nPROGRAM={}\n{script}\n",
            env!("CARGO_BIN_EXE_yychat")
        );
        fs::write(&new, text).expect("a folder that can be written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("a file of ours");
        fs::rename(new, self.setup.path("yychat")).expect("a folder that can be written");
    }

    /// Waits for the end of the process that was started first.
    pub fn first_ends(&mut self) {
        let status = self.first.wait().expect("a child");
        assert!(status.success(), "it ended with {status}");
    }

    /// Waits until no process has the log open any more.
    pub fn all_end(&self) {
        loop {
            match self.log.recv_timeout(STUCK) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.api)
    }

    /// One request on a connection of its own.
    pub fn exchange(&self, request: impl AsRef<[u8]>) -> Response {
        self.client().exchange(request)
    }

    /// What a user's memory holds, as the process says that has the store; `None` from another.
    pub fn memories(&self, user: &str) -> Option<String> {
        let path = format!("/v1/memories?user_id={user}");
        let answer = self.exchange(get(&path, &["Connection: close"]));
        (answer.status() == 200).then(|| answer.text())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // They may have ended; a test that failed leaves both.
        let _ = self.first.kill();
        let _ = self.first.wait();
        if self.pid != self.first.id() {
            signal("KILL", self.pid);
        }
    }
}

fn signal(name: &str, pid: u32) {
    let kill = format!("kill -s {name} {pid} 2>/dev/null");
    // A process that has ended hears nothing.
    let _ = Command::new("sh").args(["-c", &kill]).status();
}

impl Setup {
    /// The arguments that start the program as this setup has it.
    pub fn arguments(&self) -> Vec<String> {
        let file: PathBuf = self.path("conf/yychat.toml");
        let mut arguments = vec!["--config".to_owned(), file.to_string_lossy().into_owned()];
        for (key, value) in self.settings() {
            arguments.push("--set".into());
            arguments.push(format!("{key}={value}"));
        }
        arguments
    }
}

/// `yychat memory …` on what the setup configures.
pub fn command(setup: &Setup, arguments: &[&str]) -> Command {
    drop(setup.open().unwrap_or_else(|faults| panic!("{faults}")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_yychat"));
    command.arg("--config").arg(setup.path("conf/yychat.toml"));
    for (key, value) in setup.settings() {
        command.arg(format!("--set={key}={value}"));
    }
    command.arg("memory").args(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end with that on its standard input.
pub fn ran(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().expect("the program that was just built");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may stop at a line that it cannot read.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("it ends")
}
