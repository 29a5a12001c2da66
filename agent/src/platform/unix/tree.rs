//! Processes of a program: a process group.

use std::io;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

/// A program, and all processes that it starts and that stay in its process group.
///
/// A daemon that creates a session of its own (`setsid`) has left the group.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    program: Child,
    group: Option<Pid>,
}

impl ProcessTree {
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        command.process_group(0);
        let program = tokio::process::Command::from(command).spawn()?;
        let id = program.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            program,
            group: id.and_then(Pid::from_raw),
        })
    }

    /// Waits for the program, not for processes in the background.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.program.wait().await
    }

    /// Ends all processes of the group: with `SIGTERM`, and after `grace` with `SIGKILL`.
    pub(crate) async fn end(&mut self, grace: Duration) -> io::Result<()> {
        self.signal(Signal::TERM);
        if timeout(grace, self.gone()).await.is_err() {
            self.signal(Signal::KILL);
            self.program.kill().await?;
        }
        Ok(())
    }

    async fn gone(&mut self) {
        // Ignored: if the wait fails, the group is killed when the grace period ends.
        let _ = self.program.wait().await;
        while self
            .group
            .is_some_and(|group| test_kill_process_group(group).is_ok())
        {
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Ignored: the group may already be gone.
            let _ = kill_process_group(group, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Stdio;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn a_program_that_ignores_sigterm_is_killed() {
        let mut command = crate::platform::shell("trap '' TERM; echo; sleep 1000; sleep 1000");
        command.stdout(Stdio::piped());
        let mut tree = ProcessTree::start(command).unwrap();
        let mut output = tree.program.stdout.take().unwrap();
        output.read_u8().await.unwrap();
        tree.end(Duration::from_millis(10)).await.unwrap();
        assert_eq!(tree.wait().await.unwrap().signal(), Some(9));
    }
}
