//! The writer of a log, which makes each event harmless.

use std::io::{self, Write};

use packcast_protocol::terminal;

/// Writes the events of a log, one line each, without control characters of names and values.
///
/// The log writes each event at once.
#[derive(Debug)]
pub struct HarmlessLog<W>(pub W);

impl<W: Write> Write for HarmlessLog<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        self.0.write_all(terminal::log_event(&text).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn names_and_causes_cannot_control_the_terminal_or_forge_a_line() {
        let written = Written::default();
        let sink = written.clone();
        let log = tracing_subscriber::fmt()
            .without_time()
            .with_ansi(true)
            .with_writer(move || HarmlessLog(sink.clone()))
            .finish();
        let hostile = "x\u{1b}]0;owned\u{7}\n INFO forged\u{9b}2J\u{202e}";
        tracing::subscriber::with_default(log, || {
            let error = io::Error::other(hostile);
            tracing::warn!(name = hostile, %error, cause = ?error, "cannot unpack {hostile}");
        });
        let bytes = written.0.lock().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        let plain: String = text
            .split("\u{1b}[")
            .map(|part| match part.find('m') {
                Some(end) if part[..end].bytes().all(|b| b.is_ascii_digit() || b == b';') => {
                    &part[end + 1..]
                }
                _ => part,
            })
            .collect();
        assert!(
            !plain
                .trim_end()
                .chars()
                .any(|c| c.is_control() || c == '\u{202e}'),
            "{text:?}"
        );
        assert!(text.contains("owned"), "{text:?}");
    }
}
