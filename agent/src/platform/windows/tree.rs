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

/// A program, and all processes that it starts. The job holds them from their first instruction on.
///
/// Processes that a service starts on request, such as the task scheduler or Windows Installer,
/// belong to the service.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    child: Box<dyn ChildWrapper>,
    is_released: bool,
}

impl ProcessTree {
    /// Starts a command of [`held`] at once.
    pub(crate) fn hold(command: Command, _: &Containment, _name: &str) -> io::Result<Self> {
        let command = tokio::process::Command::from(command);
        let child = CommandWrap::from(command).wrap(JobObject).spawn()?;
        Ok(Self {
            child,
            is_released: false,
        })
    }

    /// Describes the program for another agent process, which cannot open the job object. `None` if
    /// the system has no id for its present run, or if the program has ended already.
    pub(crate) fn record(&self) -> io::Result<Option<ProgramRecord>> {
        match self.child.id() {
            Some(process) => ProgramRecord::of(process),
            None => Ok(None),
        }
    }

    /// Lets the program go on: it runs already, and now also outlives this value.
    #[expect(clippy::unused_async, reason = "other systems write to the program")]
    pub(crate) async fn release(&mut self) -> io::Result<()> {
        self.is_released = true;
        Ok(())
    }

    /// Waits for the program, not for processes in the background.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        // The job itself would wait for all processes.
        self.child.inner_mut().wait().await
    }

    /// Ends all processes at once. Windows has no signal to end, so `grace` is unused.
    pub(crate) async fn end(&mut self, _grace: Duration) -> io::Result<()> {
        self.child.start_kill()?;
        self.wait().await.map(drop)
    }
}

/// Ends a program that was not released: the agent could not record it.
impl Drop for ProcessTree {
    fn drop(&mut self) {
        if !self.is_released {
            // Fails if the program has ended.
            let _ = self.child.start_kill();
        }
    }
}
