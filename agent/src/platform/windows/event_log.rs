//! The event log of Windows. Windows Installer registers the service as a source of messages.

use std::io::{self, Write};

use winsafe::guard::DeregisterEventSourceGuard;
use winsafe::{HEVENTLOG, co};

use super::UNIT;

/// The size limit of a message, in characters. Windows refuses messages of more than 31,839.
const MAX_CHARACTERS: usize = 8000;

/// A message of the service for the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Started,
    Stopped,
    Error,
}

impl EventKind {
    /// Returns the event id, which administrators can filter by.
    const fn id(self) -> u32 {
        match self {
            Self::Started => 1,
            Self::Stopped => 2,
            Self::Error => 3,
        }
    }

    const fn level(self) -> co::EVENTLOG {
        match self {
            Self::Started | Self::Stopped => co::EVENTLOG::INFORMATION_TYPE,
            Self::Error => co::EVENTLOG::ERROR_TYPE,
        }
    }
}

/// Writes into the event log. Errors are ignored: the log file has the same messages.
pub(crate) fn write_event(kind: EventKind, message: &str) {
    if let Ok(source) = open() {
        let message: String = message.trim_end().chars().take(MAX_CHARACTERS).collect();
        let _ = source.ReportEvent(kind.level(), 0, kind.id(), None, &[message], &[]);
    }
}

fn open() -> Result<DeregisterEventSourceGuard, co::ERROR> {
    HEVENTLOG::RegisterEventSource(None, UNIT)
}

/// A writer that makes each written text an error in the event log.
#[derive(Debug)]
pub(crate) struct ErrorEvents;

impl Write for ErrorEvents {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        write_event(EventKind::Error, &String::from_utf8_lossy(text));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
