//! A client of the service on this machine.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::activity::Activity;
use super::message::{MAX_REPLY_BYTES, Reply, Request, SIGN_OF_LIFE_S};
use crate::{platform, state};

/// The longest silence of a service that works.
const PATIENCE: Duration = Duration::from_secs(3 * SIGN_OF_LIFE_S);

/// Errors from asking the service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error(
        "no agent service runs with state folder {}: start it with `{}`, or run one round with `packcast-agent run --once`",
        state_dir.display(),
        platform::START_SERVICE
    )]
    NotRunning { state_dir: PathBuf },
    #[error("cannot connect to the agent service at {}{}", path.display(), remedy(source))]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the agent service does not answer: look into its log with `packcast-agent logs`")]
    Silent(#[source] io::Error),
    #[error(
        "the agent service has ended the connection: it has stopped, or too many commands wait for it"
    )]
    Ended,
    #[error(
        "the agent service sends an answer that this command does not know: restart the service, so that it has the version of the command"
    )]
    Unknown(#[source] serde_json::Error),
}

/// Returns the next step after a failed connection, after a colon. The cause of other failures follows
/// the message.
fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        ": run the command as root"
    } else {
        ""
    }
}

/// Errors from a round of the service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoundError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("cannot complete the check-in: {detail}")]
    Failed { detail: String, exit_code: u8 },
}

impl RoundError {
    /// Returns the exit code of a command that ends with this error.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Service(_) => 1,
            Self::Failed { exit_code, .. } => *exit_code,
        }
    }
}

/// An exchange with the service.
#[derive(Debug)]
struct ServiceClient(BufReader<platform::LocalClient>);

impl ServiceClient {
    /// Sends a request to the service with this state folder.
    fn ask(state_dir: &Path, request: Request) -> Result<Self, ServiceError> {
        let path = state::socket(state_dir);
        let mut stream =
            platform::connect_local(&path, PATIENCE).map_err(|source| match source.kind() {
                // The socket of an agent that was killed stays.
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ServiceError::NotRunning {
                        state_dir: state_dir.to_owned(),
                    }
                }
                _ => ServiceError::Connect { path, source },
            })?;
        let mut line = serde_json::to_vec(&request).map_err(ServiceError::Unknown)?;
        line.push(b'\n');
        stream.write_all(&line).map_err(ServiceError::Silent)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Waits for the next reply.
    fn reply(&mut self) -> Result<Reply, ServiceError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(MAX_REPLY_BYTES);
        match limited.read_until(b'\n', &mut line) {
            Ok(0) => Err(ServiceError::Ended),
            Ok(_) => serde_json::from_slice(&line).map_err(ServiceError::Unknown),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(ServiceError::Ended)
            }
            Err(error) => Err(ServiceError::Silent(error)),
        }
    }
}

/// Returns the activity of the service; `None` if no service runs.
pub(crate) fn activity(state_dir: &Path) -> Result<Option<Activity>, ServiceError> {
    let mut client = match ServiceClient::ask(state_dir, Request::Status) {
        Err(ServiceError::NotRunning { .. }) => return Ok(None),
        client => client?,
    };
    match client.reply()? {
        Reply::Activity { activity } => Ok(Some(activity)),
        _ => Err(ServiceError::Ended),
    }
}

/// Lets the service check in, and waits for the end of its round. Calls `progress` for each reply
/// before the last.
pub(crate) fn check_in(state_dir: &Path, progress: impl FnMut(&Reply)) -> Result<(), RoundError> {
    carry_out(state_dir, Request::CheckIn, progress)
}

/// Lets the service read its configuration again.
pub(crate) fn reload(state_dir: &Path) -> Result<(), RoundError> {
    carry_out(state_dir, Request::Reload, |_| {})
}

fn carry_out(
    state_dir: &Path,
    request: Request,
    mut progress: impl FnMut(&Reply),
) -> Result<(), RoundError> {
    let mut client = ServiceClient::ask(state_dir, request)?;
    loop {
        match client.reply()? {
            Reply::Done => return Ok(()),
            Reply::Failed { detail, exit_code } => {
                return Err(RoundError::Failed { detail, exit_code });
            }
            reply => progress(&reply),
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use packcast_protocol::with_causes;

    use super::*;

    #[test]
    fn messages_name_the_remedy() {
        let path = || PathBuf::from("/var/lib/packcast-agent/socket");
        let error = || io::Error::from(io::ErrorKind::PermissionDenied);
        let errors = [
            ServiceError::NotRunning {
                state_dir: "/var/lib/packcast-agent".into(),
            },
            ServiceError::Connect {
                path: path(),
                source: error(),
            },
            ServiceError::Connect {
                path: path(),
                source: io::ErrorKind::TimedOut.into(),
            },
            ServiceError::Silent(error()),
            ServiceError::Ended,
            ServiceError::Unknown(serde_json::from_str::<Reply>("{}").unwrap_err()),
        ];
        let text = errors.map(|error| with_causes(&error)).join("\n");
        insta::assert_snapshot!(text, @"
        no agent service runs with state folder /var/lib/packcast-agent: start it with `systemctl start packcast-agent`, or run one round with `packcast-agent run --once`
        cannot connect to the agent service at /var/lib/packcast-agent/socket: run the command as root: permission denied
        cannot connect to the agent service at /var/lib/packcast-agent/socket: timed out
        the agent service does not answer: look into its log with `packcast-agent logs`: permission denied
        the agent service has ended the connection: it has stopped, or too many commands wait for it
        the agent service sends an answer that this command does not know: restart the service, so that it has the version of the command: missing field `reply` at line 1 column 2
        ");
    }
}
