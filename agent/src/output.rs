//! The one place that writes to the standard output and error output.

use std::io::{self, IsTerminal as _, Write as _};

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

/// Colours are for terminals, where `NO_COLOR` is not set (<https://no-color.org>).
fn is_coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

/// Sends the log to the error output; `RUST_LOG` chooses how much.
pub(crate) fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A program that embeds the agent may have a log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_coloured())
        // Whoever read the log may be gone: that is no reason to end.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .try_init();
}
