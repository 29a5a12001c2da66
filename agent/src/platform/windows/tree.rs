//! Processes of a program: a job object.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject};

use crate::platform::ProgramRecord;

/// The mechanism that groups all processes of a program: always a job object.
#[derive(Debug)]
pub(crate) struct Containment;

impl Containment {
    pub(crate) const fn find(_state: &Path) -> Self {
        Self
    }

    /// Does nothing: the system removes a job object with its last handle.
    #[expect(clippy::unused_self, reason = "other systems have a list of cgroups")]
    pub(crate) const fn remove_empty(&self) {}
}

/// Returns the command without input. On Windows, it does not wait for its release.
pub(crate) fn held(mut command: Command) -> Command {
    command.stdin(Stdio::null());
    command
}

impl ProgramRecord {
    /// Returns `false`: on Windows, the agent records no programs.
    #[expect(clippy::unused_self, reason = "other systems look for the process")]
    pub(crate) const fn is_running(&self) -> bool {
        false
    }

    #[expect(clippy::unused_async, reason = "other systems wait")]
    pub(crate) async fn ends_within(&self, _limit: Duration) -> bool {
        true
    }

    #[expect(clippy::unused_async, reason = "other systems wait")]
    pub(crate) async fn end(&self, _grace: Duration) -> bool {
        true
    }
}

/// A program, and all processes that it starts. The job holds them from their first instruction on.
///
/// Processes that a service starts on request, such as the task scheduler or Windows Installer,
/// belong to the service.
#[derive(Debug)]
pub(crate) struct ProcessTree(Box<dyn ChildWrapper>);

impl ProcessTree {
    /// Starts a command of [`held`] at once.
    pub(crate) fn hold(command: Command, _: &Containment, _name: &str) -> io::Result<Self> {
        let command = tokio::process::Command::from(command);
        CommandWrap::from(command).wrap(JobObject).spawn().map(Self)
    }

    /// Returns `None`: another agent process cannot open the job object.
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "other systems ask for the start of the process"
    )]
    pub(crate) const fn record(&self) -> io::Result<Option<ProgramRecord>> {
        Ok(None)
    }

    /// Does nothing: the program runs already.
    #[expect(clippy::unused_async, reason = "other systems write to the program")]
    pub(crate) async fn release(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Waits for the program, not for processes in the background.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        // The job itself would wait for all processes.
        self.0.inner_mut().wait().await
    }

    /// Ends all processes at once. Windows has no signal to end, so `grace` is unused.
    pub(crate) async fn end(&mut self, _grace: Duration) -> io::Result<()> {
        self.0.start_kill()?;
        self.wait().await.map(drop)
    }
}
