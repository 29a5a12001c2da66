//! The access log: one JSON line for each request.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;

use crate::private;

/// Size above which a log becomes `edge.log.1` when the edge starts.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;
/// Number of characters of a path or a user agent that are logged.
const SHOWN_CHARACTERS: usize = 256;

/// A log file; each line is added with a single write.
#[derive(Debug)]
pub(super) struct AccessLog(Mutex<File>);

#[derive(Debug, Serialize)]
pub(super) struct LogLine {
    at_ms: u64,
    method: String,
    path: String,
    status: u16,
    /// The length of the answer's body; a client that disconnects may have received less.
    bytes: u64,
    user_agent: Option<String>,
}

impl LogLine {
    pub(super) fn new(
        at_ms: u64,
        method: &Method,
        path: &str,
        status: StatusCode,
        bytes: u64,
        user_agent: Option<&HeaderValue>,
    ) -> Self {
        Self {
            at_ms,
            method: shortened(method.as_str()),
            path: shortened(path),
            status: status.as_u16(),
            bytes,
            user_agent: user_agent
                .map(|agent| shortened(&String::from_utf8_lossy(agent.as_bytes()))),
        }
    }
}

impl AccessLog {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|log| log.len() > KEPT_BYTES) {
            fs::rename(path, path.with_extension("log.1"))?;
        }
        Ok(Self(Mutex::new(private::open_append(path)?)))
    }

    /// Adds a line. A log that cannot be written does not stop the answer.
    pub(super) fn write(&self, line: &LogLine) {
        let mut text = serde_json::to_vec(line).expect("the fields are text and numbers");
        text.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&text) {
            tracing::warn!("cannot write the access log: {error}");
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).collect()
}
