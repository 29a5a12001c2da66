//! The function's log, captured.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::subscriber::{DefaultGuard, set_default};

/// The lines that this thread logs as long as the value exists, in the form of the program.
pub(crate) struct CapturedLog {
    written: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl CapturedLog {
    pub(crate) fn start() -> Self {
        let written = Arc::default();
        let writer = Arc::clone(&written);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .with_writer(move || Writer(Arc::clone(&writer)))
            .finish();
        Self {
            written,
            _guard: set_default(subscriber),
        }
    }

    /// Returns the lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        let written = std::mem::take(&mut *self.written.lock().expect("no writer panics"));
        let text = String::from_utf8(written).expect("the log is UTF-8");
        text.lines().map(str::to_owned).collect()
    }
}
