//! The socket of the service manager.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Returns the address of the service manager, if it waits for messages.
pub(crate) fn notify_address() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())
}

/// A socket for messages to the service manager.
#[derive(Debug)]
pub(crate) struct NotifySocket(UnixDatagram);

impl NotifySocket {
    /// Connects to an address of `NOTIFY_SOCKET`: a path, or `@` and a name in the abstract
    /// namespace of Linux.
    pub(crate) fn connect(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes().strip_prefix(b"@") {
            Some(name) => abstract_address(name)?,
            None => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // The task that runs the rounds also sends, and must not wait for the service manager.
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `WouldBlock` if the service manager has not read earlier messages yet.
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        self.0.send(message).map(drop)
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;

    use super::*;

    fn received(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    #[test]
    fn a_service_manager_that_reads_nothing_blocks_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let socket = NotifySocket::connect(path.as_os_str()).unwrap();
        let mut sent = (0..1_000_000).map(|_| socket.send(b"WATCHDOG=1"));
        let error = sent.find_map(Result::err).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        received(&manager);
        socket.send(b"WATCHDOG=1").unwrap();
    }

    #[test]
    fn both_kinds_of_addresses_receive_messages() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let named = UnixDatagram::bind(&path).unwrap();
        let socket = NotifySocket::connect(path.as_os_str()).unwrap();
        socket.send(b"READY=1").unwrap();
        assert_eq!(received(&named), b"READY=1");
        let name = format!("packcast-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let hidden = UnixDatagram::bind_addr(&address).unwrap();
        let socket = NotifySocket::connect(OsStr::new(&format!("@{name}"))).unwrap();
        socket.send(b"STOPPING=1").unwrap();
        assert_eq!(received(&hidden), b"STOPPING=1");
    }
}
