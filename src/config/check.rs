//! The checks that many keys share. Each records a fault and gives a value that is good enough to
//! go on with, so that one load finds every fault.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::extract::{Places, example, nearest};
use super::raw::{Secret, Size};
use crate::error::{Fault, Faults};
use crate::reading::{Reading, Unread};

/// Bytes of a file of certificates at most: a system's whole bundle has a quarter of a million.
const MAX_PEM: usize = 16 << 20;

/// Collects what validation finds.
pub(super) struct Check<'a> {
    pub(super) places: &'a mut Places,
    /// Where `{ env = "NAME" }` looks.
    pub(super) environment: &'a BTreeMap<String, String>,
    /// What `{ file = "path" }` and the paths of PEM files are read through.
    pub(super) reading: &'a Reading,
    pub(super) faults: Faults,
    pub(super) warnings: Vec<Fault>,
    /// What was asked of which key, for the schema.
    pub(super) asked: Vec<(String, Asked)>,
}

/// What a value has to be.
pub(super) enum Asked {
    Choice(Vec<&'static str>),
    /// A whole number, or a size in bytes.
    Whole(RangeInclusive<u64>),
    /// Not empty.
    Needed,
}

impl Check<'_> {
    pub(super) fn fault(&mut self, key: &str, what: impl AsRef<str>, mend: impl AsRef<str>) {
        let fault = self.places.fault(key, what.as_ref(), mend.as_ref());
        self.faults.0.extend(fault);
    }

    pub(super) fn warn(&mut self, key: &str, what: &str, mend: &str) {
        self.warnings.push(self.places.remark(key, what, mend));
    }

    /// Refuses empty text. Faults that follow from it at the same key are kept out.
    pub(super) fn required(&mut self, key: &str, text: &str) {
        self.asked.push((key.to_owned(), Asked::Needed));
        if text.is_empty() {
            self.fault(key, "is missing or empty", example(key));
        }
    }

    /// A duration such as `"500ms"`, within bounds.
    pub(super) fn duration(
        &mut self,
        key: &str,
        text: &str,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let show = |duration: &Duration| humantime::format_duration(*duration).to_string();
        match humantime::parse_duration(text) {
            Ok(duration) if bounds.contains(&duration) => return duration,
            Ok(_) => self.fault(
                key,
                format!("is {text:?}, out of range"),
                format!("give {} to {}", show(bounds.start()), show(bounds.end())),
            ),
            Err(_) => self.fault(
                key,
                format!("is {text:?}, not a duration"),
                "write a number with its unit, such as \"500ms\", \"5m\" or \"1h30m\"",
            ),
        }
        *bounds.start()
    }

    /// A size such as `8192` or `"32MiB"`, in bytes, within bounds.
    pub(super) fn size(&mut self, key: &str, size: &Size, bounds: RangeInclusive<u64>) -> usize {
        let bytes = match size {
            Size::Bytes(bytes) => *bytes,
            Size::Text(text) => match text.parse::<bytesize::ByteSize>() {
                Ok(size) => size.as_u64(),
                Err(_) => {
                    self.fault(
                        key,
                        format!("is {text:?}, not a size"),
                        "write bytes, or a number with its unit, such as \"32MiB\"",
                    );
                    *bounds.start()
                }
            },
        };
        self.number(key, bytes, bounds)
    }

    /// A whole number within bounds.
    pub(super) fn number<T: TryFrom<u64> + Default>(
        &mut self,
        key: &str,
        number: u64,
        bounds: RangeInclusive<u64>,
    ) -> T {
        self.asked
            .push((key.to_owned(), Asked::Whole(bounds.clone())));
        if !bounds.contains(&number) {
            self.fault(
                key,
                format!("is {number}, out of range"),
                format!("give {} to {}", bounds.start(), bounds.end()),
            );
        }
        T::try_from(number).unwrap_or_default()
    }

    /// One of a closed set of names; the first stands in for a wrong one.
    pub(super) fn choice<T: Copy, const N: usize>(
        &mut self,
        key: &str,
        text: &str,
        choices: [(&'static str, T); N],
    ) -> T {
        let names = choices.map(|(name, _)| name);
        self.asked
            .push((key.to_owned(), Asked::Choice(names.to_vec())));
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return *choice;
        }
        let mend = match nearest(text, names.iter().copied()) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => format!("give one of \"{}\"", names.join("\", \"")),
        };
        self.fault(
            key,
            format!("is {text:?}, which is none of its choices"),
            mend,
        );
        choices[0].1
    }

    /// An address with its port; `localhost` is the IPv4 loopback.
    pub(super) fn address(&mut self, key: &str, text: &str) -> SocketAddr {
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        numeric.parse().unwrap_or_else(|_| {
            self.fault(
                key,
                format!("is {text:?}, not an address with a port"),
                "write it as in \"127.0.0.1:8000\" or \"[::1]:8000\"",
            );
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    /// A path that is not empty; whether it exists is for its reader to say.
    pub(super) fn path(&mut self, key: &str, text: &str) -> PathBuf {
        self.required(key, text);
        PathBuf::from(text)
    }

    /// A file that can be read.
    pub(super) fn file(&mut self, key: &str, text: &str) -> PathBuf {
        let path = self.path(key, text);
        match self.reading.read(&path, MAX_PEM) {
            Ok(_) => {}
            Err(Unread::Io(error)) if error.kind() == ErrorKind::IsADirectory => {
                self.fault(key, format!("names the directory {text:?}"), "name a file");
            }
            Err(unread) => self.fault(
                key,
                format!("names {text:?}, which {unread}"),
                "check the path and its rights; a relative one starts at the working directory",
            ),
        }
        path
    }

    /// Reads a secret, without its trailing line break. An absent, empty or unreadable one is a
    /// fault, and so is one that could not stand in an HTTP header.
    pub(super) fn secret(&mut self, key: &str, secret: &Secret) -> SecretString {
        let Some(text) = self.secret_text(key, secret) else {
            return SecretString::default();
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            self.fault(key, "is empty", "put the secret where the key says");
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.fault(
                key,
                "holds white space or characters outside of ASCII",
                "check the secret for stray characters, such as quotes and line breaks",
            );
        }
        SecretString::from(text)
    }

    fn secret_text(&mut self, key: &str, secret: &Secret) -> Option<String> {
        match (&secret.env, &secret.file) {
            (Some(name), None) => {
                let text = self.environment.get(name).cloned();
                if text.is_none() {
                    self.fault(
                        key,
                        format!("names the environment variable {name:?}, which is not set"),
                        "set the variable, or take the key out",
                    );
                }
                text
            }
            (None, Some(path)) => match self.reading.text(Path::new(path)) {
                Ok(text) => Some(text),
                Err(unread) => {
                    let fault = unread.fault(Path::new(path));
                    self.fault(key, format!("names {path:?}: {}", fault.what), fault.mend);
                    None
                }
            },
            _ => {
                if !self.places.has_fault_in(key) {
                    self.fault(
                        key,
                        "does not name one source",
                        "write `{ env = \"NAME\" }` or `{ file = \"path\" }`",
                    );
                }
                None
            }
        }
    }
}
