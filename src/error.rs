//! The two kinds of error that people see: [`ApiError`], an answer to a client in OpenAI's shape,
//! and [`Fault`], something wrong in a file that an operator wrote.
//!
//! Both say what was wrong, where, and how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

/// An error that the gateway itself answers with, in OpenAI's shape:
/// `{"error":{"message","type","param","code"}}`.
///
/// Shape: <https://platform.openai.com/docs/guides/error-codes>.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status of the answer.
    pub status: StatusCode,
    /// `error.type`, for example `invalid_request_error`.
    pub kind: &'static str,
    /// `error.code`, for example `personality_not_found`; null where there is none.
    pub code: Option<&'static str>,
    /// `error.param`: the field or header at fault, as a path such as `messages[3].role`.
    pub param: Option<String>,
    /// What was wrong, where, and how to mend it, in one or two sentences.
    pub message: String,
    /// Seconds for a `Retry-After` header.
    pub retry_after: Option<u64>,
    /// What an upstream called it, where it is the upstream's.
    pub said: Option<Box<Said>>,
}

/// What an upstream calls an error, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `error.type`.
    pub kind: Option<String>,
    /// `error.code`.
    pub code: Option<String>,
}

impl ApiError {
    /// An error of any status; `kind` follows from the status as OpenAI has it.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::FORBIDDEN => "permission_error",
            s if s.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        Self {
            status,
            kind,
            code: None,
            param: None,
            message: message.into(),
            retry_after: None,
            said: None,
        }
    }

    /// 400 `invalid_request_error`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 502.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, message)
    }

    /// Sets `error.param`.
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Sets `error.code`.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// `error.type` as an upstream gave it.
    pub fn said_kind(&self) -> Option<&str> {
        self.said.as_ref()?.kind.as_deref()
    }

    /// `error.code`, an upstream's before the gateway's.
    pub fn said_code(&self) -> Option<&str> {
        let said = self.said.as_ref().and_then(|said| said.code.as_deref());
        said.or(self.code)
    }

    /// The JSON body of the answer.
    pub fn body(&self) -> Bytes {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            message: &'a str,
            r#type: &'a str,
            param: Option<&'a str>,
            code: Option<&'a str>,
        }
        let body = Body {
            error: Inner {
                message: &self.message,
                r#type: self.said_kind().unwrap_or(self.kind),
                param: self.param.as_deref(),
                code: self.said_code(),
            },
        };
        // Strings and nulls alone: there is nothing in it that serde_json could refuse.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }
}

/// Something wrong in a file, an environment variable or a flag that an operator wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file as the operator named it, or `environment` / `command line`.
    pub origin: PathBuf,
    /// Line in the file, counted from 1, where one is known.
    pub line: Option<usize>,
    /// What was wrong, naming the key or value.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl Fault {
    /// A fault of a whole file; add a line with [`Fault::at_line`].
    pub fn new(origin: impl AsRef<Path>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            origin: origin.as_ref().to_path_buf(),
            line: None,
            what: what.into(),
            mend: mend.into(),
        }
    }

    /// Sets the line, counted from 1.
    pub fn at_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)?;
        if !self.mend.is_empty() {
            write!(f, " ({})", self.mend)?;
        }
        Ok(())
    }
}

/// Every fault found in one load, in the order in which the files were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// `Ok(value)` when nothing was wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// Adds a fault.
    pub fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Takes the faults of `result` and gives its value, if it has one.
    pub fn take<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        result
            .map_err(|mut faults| self.0.append(&mut faults.0))
            .ok()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
