//! The process of another version.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use packcast_protocol::agent_build::{AGENT_PACKAGE, AgentVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use super::Invocation;
use super::parent::RELOAD;
use crate::command::version_role::VersionRole;
use crate::fault;

/// The number of attempts to start a program while another process has its file open for writing.
const BUSY_TRIES: u32 = 20;

/// The pause between two attempts.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// The time in which a program states its version.
const STATED_PATIENCE: Duration = Duration::from_secs(10);

/// The longest text with a version, in bytes.
const MAX_STATED_BYTES: u64 = 256;

/// A running version, killed when it is dropped.
#[derive(Debug)]
pub(super) struct VersionProcess {
    child: Child,
    /// Its end asks the version to stop.
    input: Option<ChildStdin>,
}

impl VersionProcess {
    pub(super) async fn start(
        program: &Path,
        invocation: &Invocation,
        role: VersionRole,
    ) -> io::Result<Self> {
        fault::point();
        let mut child = spawn(&mut command(program, invocation, role)).await?;
        fault::point();
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        // `Child::wait` closes the standard input of the child, which would stop the version. The
        // input was taken out of the child before.
        self.child.wait().await
    }

    /// Asks the version to stop after the package under way.
    pub(super) fn ask_to_stop(&mut self) {
        self.input = None;
    }

    /// Asks the version to read its configuration again.
    pub(super) async fn ask_to_reload(&mut self) {
        if let Some(input) = &mut self.input {
            // An error means that the version has ended.
            let _ = input.write_all(&[RELOAD]).await;
        }
    }

    /// Ends the version: asks it to stop, and kills it after `grace`.
    pub(super) async fn end(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.ask_to_stop();
        if let Ok(status) = timeout(grace, self.child.wait()).await {
            return status;
        }
        self.child.kill().await?;
        self.child.wait().await
    }
}

/// Returns the version that a program states; `None` if it states none in time.
pub(super) async fn stated_version(program: &Path) -> Option<AgentVersion> {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let stated = async {
        let mut child = spawn(&mut command).await.ok()?;
        let mut text = String::new();
        let mut output = child.stdout.take()?.take(MAX_STATED_BYTES);
        output.read_to_string(&mut text).await.ok()?;
        text.trim().strip_prefix(AGENT_PACKAGE)?.trim().parse().ok()
    };
    timeout(STATED_PATIENCE, stated).await.ok().flatten()
}

/// Starts a command.
async fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut tries = 0;
    loop {
        match command.spawn() {
            // A program of a package that began meanwhile has inherited the open file until it runs.
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES =>
            {
                tries += 1;
                sleep(BUSY_PAUSE).await;
            }
            started => return started,
        }
    }
}

/// Returns the command of a version. Its arguments are the interface between versions.
fn command(program: &Path, invocation: &Invocation, role: VersionRole) -> Command {
    let format = if invocation.is_json { "json" } else { "text" };
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(&invocation.config_file)
        .args(["--format", format, "run", "--as", role.argument()])
        .args(["--starter", &std::process::id().to_string()])
        // The version notifies the service manager itself, which limits the starter otherwise.
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    if invocation.once {
        command.arg("--once");
    }
    command
}
