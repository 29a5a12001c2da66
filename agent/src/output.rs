//! Standard output and standard error. Only this module writes to them.

use std::io::{self, IsTerminal as _, Write as _};

use packcast_protocol::terminal;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::log_writer::HarmlessLog;

/// Writes a value as one line of JSON.
///
/// Write errors are ignored: the reader may have closed the pipe.
pub(crate) fn json(value: &impl Serialize) {
    if let Ok(document) = serde_json::to_string(value) {
        let line = terminal::json(&document) + "\n";
        let _ = io::stdout().lock().write_all(line.as_bytes());
    }
}

/// Writes lines of text.
pub(crate) fn text(text: &str) {
    let text = terminal::lines(text);
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Writes an error of the program to standard error.
pub(crate) fn problem(text: &str) {
    let text = terminal::lines(text);
    let _ = writeln!(io::stderr().lock(), "error: {text}");
}

/// Writes a warning for a person to standard error.
pub(crate) fn warning(text: &str) {
    let text = terminal::lines(text);
    let _ = writeln!(io::stderr().lock(), "warning: {text}");
}

/// Returns `true` if the log may have colours: on a terminal, unless `NO_COLOR` is set
/// (<https://no-color.org>).
fn is_coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

/// Returns the level of the log, which the variable `RUST_LOG` sets.
fn level() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Starts the log of a service without a log of the system: in a file, and errors also in the event
/// log.
#[cfg(windows)]
pub(crate) fn start_service_log(file: std::path::PathBuf) -> io::Result<()> {
    use std::sync::Mutex;

    use tracing::Level;
    use tracing_subscriber::fmt::writer::MakeWriterExt as _;

    use crate::log_file::LogFile;
    use crate::platform::ErrorEvents;

    let errors = || HarmlessLog(ErrorEvents);
    let writer = errors.with_max_level(Level::ERROR);
    let log = tracing_subscriber::fmt()
        .with_env_filter(level())
        .with_ansi(false)
        .log_internal_errors(false);
    match LogFile::open(file) {
        Ok(file) => {
            let writer = writer.and(Mutex::new(HarmlessLog(file)));
            let _ = log.with_writer(writer).try_init();
            Ok(())
        }
        Err(error) => {
            let _ = log.with_writer(writer).try_init();
            Err(error)
        }
    }
}

/// Starts the log on standard error.
pub(crate) fn start_log() {
    // A program that embeds the agent may have started a log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(level())
        .with_ansi(is_coloured())
        // The reader of the log may have closed the pipe. The agent continues without it.
        .log_internal_errors(false)
        .with_writer(|| HarmlessLog(io::stderr()))
        .try_init();
}
