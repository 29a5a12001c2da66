//! Processes of a program: a job object.

use std::io;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject};

/// A program, and all processes that it starts. The job holds them from their first instruction on.
///
/// Processes that a service starts on request, such as the task scheduler or Windows Installer,
/// belong to the service.
#[derive(Debug)]
pub(crate) struct ProcessTree(Box<dyn ChildWrapper>);

impl ProcessTree {
    pub(crate) fn start(command: Command) -> io::Result<Self> {
        let command = tokio::process::Command::from(command);
        CommandWrap::from(command).wrap(JobObject).spawn().map(Self)
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
