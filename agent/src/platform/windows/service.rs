//! The local socket and the service manager of Windows: not built yet.
//!
//! The local socket will be a named pipe that only the system and administrators can open, and the
//! notifications will go to the service control manager. Until then, both are unsupported, and the
//! agent runs without them.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

/// A connection to a client.
pub(crate) type LocalStream = tokio::io::DuplexStream;

/// A connection to the service.
pub(crate) type LocalClient = File;

/// The pipe that clients connect to.
#[derive(Debug)]
pub(crate) struct LocalListener(Infallible);

impl LocalListener {
    pub(crate) fn bind(_path: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[expect(clippy::unused_async, reason = "other systems wait")]
    pub(crate) async fn accept(&self) -> io::Result<LocalStream> {
        match self.0 {}
    }
}

/// Returns an error: no service listens.
pub(crate) fn connect_local(_path: &Path, _silence: Duration) -> io::Result<LocalClient> {
    Err(io::ErrorKind::NotFound.into())
}

/// A socket for messages to the service manager.
#[derive(Debug)]
pub(crate) struct NotifySocket(Infallible);

impl NotifySocket {
    pub(crate) fn connect(_address: &OsStr) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn send(&self, _message: &[u8]) -> io::Result<()> {
        match self.0 {}
    }
}
