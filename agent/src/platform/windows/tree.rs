//! A program and all it starts: a job object.

use std::io;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject};

/// A started program and all it starts, which the job holds from their first instruction on.
///
/// What a service starts at its request, such as the scheduler or Windows Installer's, is the
/// service's.
#[derive(Debug)]
pub(crate) struct ProcessTree(Box<dyn ChildWrapper>);

impl ProcessTree {
    pub(crate) fn start(command: Command) -> io::Result<Self> {
        let command = tokio::process::Command::from(command);
        CommandWrap::from(command).wrap(JobObject).spawn().map(Self)
    }

    /// Waits for the program, not for what it left running.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        // The job itself would wait for all of it.
        self.0.inner_mut().wait().await
    }

    /// Ends all of it. There is no asking here, and so no `grace`.
    pub(crate) async fn end(&mut self, _grace: Duration) -> io::Result<()> {
        self.0.start_kill()?;
        self.wait().await.map(drop)
    }
}
