//! The one place that writes to the standard output and error output.

use std::io::{self, Write as _};

use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// Writes a value as one line of JSON. A reader that has gone away misses it.
pub(crate) fn json(value: &impl Serialize) {
    if let Ok(mut line) = serde_json::to_vec(value) {
        line.push(b'\n');
        let _ = io::stdout().lock().write_all(&line);
    }
}

pub(crate) fn text(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Tells why the program failed.
pub(crate) fn problem(text: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {text}");
}

/// Sends the log to the error output; `RUST_LOG` chooses how much.
pub(crate) fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A program that embeds the agent may have a log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Whoever read the log may be gone: that is no reason to end.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .try_init();
}
