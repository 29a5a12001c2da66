//! The local socket of the service, which only root and the agent's user can open.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::is_trusted;

/// A connection to a client.
pub(crate) type LocalStream = tokio::net::UnixStream;

/// A connection to the service.
pub(crate) type LocalClient = std::os::unix::net::UnixStream;

/// The socket that clients connect to.
#[derive(Debug)]
pub(crate) struct LocalListener(tokio::net::UnixListener);

impl LocalListener {
    /// Creates the socket in a private folder, in the place of an earlier one.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = tokio::net::UnixListener::bind(path)?;
        // Until here, the folder keeps other users out.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self(listener))
    }

    /// Waits for a client.
    ///
    /// # Errors
    /// The process of the client belongs to another user.
    pub(crate) async fn accept(&self) -> io::Result<LocalStream> {
        let (stream, _) = self.0.accept().await?;
        let user = stream.peer_cred()?.uid();
        if is_trusted(user) {
            return Ok(stream);
        }
        let reason = format!("the client belongs to user {user}");
        Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
    }
}

/// Connects to the service. `silence` is the longest wait for data.
pub(crate) fn connect_local(path: &Path, silence: Duration) -> io::Result<LocalClient> {
    let stream = LocalClient::connect(path)?;
    stream.set_read_timeout(Some(silence))?;
    stream.set_write_timeout(Some(silence))?;
    Ok(stream)
}
