//! The local socket of the service: a named pipe that only the system and administrators can open.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use interprocess::os::windows::named_pipe::tokio::{DuplexPipeStream, PipeListener};
use interprocess::os::windows::named_pipe::{PipeListenerOptions, pipe_mode};
use interprocess::os::windows::security_descriptor::SecurityDescriptor;
use packcast_protocol::Sha256Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use widestring::U16CString;

use super::access;
use crate::platform::sddl;

/// The error of Windows if all instances of a pipe are in use (`ERROR_PIPE_BUSY`).
const PIPE_BUSY: i32 = 231;

/// The pause before another attempt to open a busy pipe.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// The number of attempts to open a busy pipe.
const BUSY_ATTEMPTS: u32 = 100;

/// The size of the buffers of the pipe, in bytes: most replies fit.
const BUFFER_BYTES: u32 = 4096;

/// A connection to a client.
pub(crate) type LocalStream = DuplexPipeStream<pipe_mode::Bytes>;

/// The pipe that clients connect to.
#[derive(Debug)]
pub(crate) struct LocalListener(PipeListener<pipe_mode::Bytes, pipe_mode::Bytes>);

impl LocalListener {
    /// Creates the pipe of the service with this socket path.
    ///
    /// # Errors
    /// Another process has created a pipe of this name.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        // Windows may name another owner, such as a group of the user.
        let access = format!("O:{}{}", access::user()?, sddl::PIPE);
        let access = U16CString::from_str_truncate(access);
        let options = PipeListenerOptions::new()
            .path(name(path))
            .security_descriptor(Some(SecurityDescriptor::deserialize(&access)?))
            .accept_remote(false)
            .input_buffer_size_hint(BUFFER_BYTES)
            .output_buffer_size_hint(BUFFER_BYTES);
        options.create_tokio_duplex().map(Self)
    }

    /// Waits for a client. Windows refuses clients without access.
    pub(crate) async fn accept(&self) -> io::Result<LocalStream> {
        self.0.accept().await
    }
}

/// A connection to the service.
#[derive(Debug)]
pub(crate) struct LocalClient {
    runtime: Runtime,
    pipe: NamedPipeClient,
    /// The longest wait for data.
    silence: Duration,
}

/// Connects to the service. `silence` is the longest wait for data.
///
/// # Errors
/// The pipe belongs to a user whom the agent does not trust: this user could imitate the service.
pub(crate) fn connect_local(path: &Path, silence: Duration) -> io::Result<LocalClient> {
    // Without the runtime, a read of a pipe could not be limited in time.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let pipe = runtime.block_on(open(&name(path)))?;
    access::expect_trusted_owner(&pipe)?;
    Ok(LocalClient {
        runtime,
        pipe,
        silence,
    })
}

async fn open(name: &str) -> io::Result<NamedPipeClient> {
    for _ in 1..BUSY_ATTEMPTS {
        // The options forbid the service to act as the user of this command.
        match ClientOptions::new().open(name) {
            Err(error) if error.raw_os_error() == Some(PIPE_BUSY) => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            opened => return opened,
        }
    }
    ClientOptions::new().open(name)
}

impl Read for LocalClient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // In a block, because a time limit needs the runtime from its creation on.
        let read = async { timeout(self.silence, self.pipe.read(buffer)).await };
        match self.runtime.block_on(read)? {
            // The service has closed the pipe.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            read => read,
        }
    }
}

impl Write for LocalClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = async { timeout(self.silence, self.pipe.write(bytes)).await };
        self.runtime.block_on(written)?
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the name of the pipe of a service. Services with other state folders have other pipes.
fn name(path: &Path) -> String {
    // Windows ignores the case of paths.
    let path = path.to_string_lossy().to_lowercase();
    let digest = Sha256Digest::of(path.as_bytes()).to_string();
    format!(r"\\.\pipe\packcast-agent-{}", &digest[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_folder_has_a_pipe_of_its_own() {
        let one = name(Path::new(r"C:\ProgramData\Packcast\state\socket"));
        assert_eq!(one.len(), r"\\.\pipe\packcast-agent-".len() + 32);
        assert_eq!(
            one,
            name(Path::new(r"c:\programdata\PACKCAST\state\socket"))
        );
        assert_ne!(one, name(Path::new(r"C:\other\socket")));
    }
}
