//! Processes of a program: a process group, in a cgroup of its own where the system has cgroups.

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};
use tokio::time::{sleep, timeout};

use super::cgroup::{Cgroup, Containment};
use crate::platform::ProgramRecord;

/// Script of a shell that becomes the program in its arguments when a line arrives.
///
/// If the agent ends first, the shell ends, too, and the program never runs.
const GATE: &str = r#"read -r go && exec "$@" </dev/null"#;

/// A program, and all processes that it starts.
///
/// Without a cgroup, a daemon that creates a session of its own (`setsid`) has left the tree.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    program: Child,
    group: Option<Pid>,
    cgroup: Option<Cgroup>,
    /// The input of the shell that waits. `None` once the program was released.
    gate: Option<ChildStdin>,
}

/// Returns a command that waits for [`ProcessTree::release`] before it runs `command`.
///
/// Only the arguments and the environment of `command` count, without inherited variables.
#[expect(
    clippy::needless_pass_by_value,
    reason = "other systems return the command"
)]
pub(crate) fn held(command: Command) -> Command {
    let mut held = Command::new("/bin/sh");
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    held.args(["-c", GATE, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(set)
        .stdin(Stdio::piped());
    held
}

impl ProcessTree {
    /// Starts a command of [`held`], which waits for its release. `name` is the name of the cgroup.
    pub(crate) fn hold(
        mut command: Command,
        containment: &Containment,
        name: &str,
    ) -> io::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        command.process_group(0);
        let mut program = tokio::process::Command::from(command).spawn()?;
        let gate = program.stdin.take();
        let id = program.id().and_then(|id| i32::try_from(id).ok());
        let group = id.and_then(Pid::from_raw);
        let mut tree = Self {
            program,
            group,
            cgroup: None,
            gate,
        };
        if let Some((group, cgroup)) = group.zip(containment.create(name)) {
            match cgroup.add(group) {
                Ok(()) => tree.cgroup = Some(cgroup),
                Err(error) => {
                    tracing::debug!(%error, "cannot use a cgroup: using a process group");
                    cgroup.remove();
                }
            }
        }
        Ok(tree)
    }

    /// Describes the program for another agent process.
    pub(crate) fn record(&self) -> io::Result<Option<ProgramRecord>> {
        let group = self.group.ok_or(io::ErrorKind::NotFound)?;
        ProgramRecord::of(group, self.cgroup.as_ref()).map(Some)
    }

    /// Lets the program run.
    pub(crate) async fn release(&mut self) -> io::Result<()> {
        match self.gate.take() {
            Some(mut gate) => gate.write_all(b"go\n").await,
            None => Ok(()),
        }
    }

    /// Waits for the program, not for processes in the background.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.program.wait().await?;
        self.remove_cgroup();
        Ok(status)
    }

    /// Ends all processes: with `SIGTERM`, and after `grace` with `SIGKILL`.
    pub(crate) async fn end(&mut self, grace: Duration) -> io::Result<()> {
        self.signal(Signal::TERM);
        if timeout(grace, self.gone()).await.is_err() {
            self.signal(Signal::KILL);
            self.program.kill().await?;
        }
        if let Some(cgroup) = &self.cgroup {
            // Reaches the processes that have left the group, too.
            cgroup.signal(Signal::KILL);
        }
        self.remove_cgroup();
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

    fn remove_cgroup(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;
    use std::process::Stdio;

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::platform;
    #[cfg(target_os = "linux")]
    use crate::skip::{Missing, skip};

    const MINUTE: Duration = Duration::from_mins(1);

    fn hold(line: &str, containment: &Containment) -> ProcessTree {
        let mut command = held(platform::shell(line));
        command.stdout(Stdio::piped());
        ProcessTree::hold(command, containment, "1795000000").unwrap()
    }

    /// Returns both mechanisms. If the agent may use no cgroup, both are process groups.
    fn containments(state: &Path) -> [Containment; 2] {
        [Containment::ProcessGroup, Containment::find(state)]
    }

    async fn first_byte(tree: &mut ProcessTree) {
        let mut output = tree.program.stdout.take().unwrap();
        output.read_u8().await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_ignores_sigterm_is_killed() {
        let mut tree = hold(
            "trap '' TERM; echo; sleep 1000; sleep 1000",
            &Containment::ProcessGroup,
        );
        tree.release().await.unwrap();
        first_byte(&mut tree).await;
        tree.end(Duration::from_millis(10)).await.unwrap();
        assert_eq!(tree.wait().await.unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn a_program_runs_only_after_its_release() {
        let dir = tempfile::tempdir().unwrap();
        let ran = dir.path().join("ran");
        let line = format!("touch '{}'", ran.display());
        for containment in containments(dir.path()) {
            let mut tree = hold(&line, &containment);
            // As if the agent ended.
            drop(tree.gate.take());
            assert!(!tree.wait().await.unwrap().success());
            assert!(!ran.exists(), "{containment:?}");
            let mut tree = hold(&line, &containment);
            tree.release().await.unwrap();
            assert!(tree.wait().await.unwrap().success());
            assert!(ran.exists(), "{containment:?}");
            std::fs::remove_file(&ran).unwrap();
        }
    }

    #[tokio::test]
    async fn another_agent_finds_and_ends_a_program() {
        let dir = tempfile::tempdir().unwrap();
        for containment in containments(dir.path()) {
            let mut tree = hold("trap '' TERM; echo; sleep 1000 & sleep 1000", &containment);
            let record = tree.record().unwrap().unwrap();
            tree.release().await.unwrap();
            first_byte(&mut tree).await;
            assert!(record.is_running(), "{record:?}");
            assert!(!record.ends_within(Duration::ZERO).await);
            // Reaps the program, which the system does for an agent that has ended.
            let reaped = tokio::spawn(async move { tree.wait().await.unwrap() });
            // A busy machine needs some time for the end of killed processes.
            assert!(record.end(Duration::from_secs(1)).await, "{record:?}");
            assert!(!record.is_running());
            assert_eq!(reaped.await.unwrap().signal(), Some(9));
        }
    }

    #[tokio::test]
    async fn a_program_that_ends_is_not_found_any_more() {
        let dir = tempfile::tempdir().unwrap();
        for containment in containments(dir.path()) {
            let mut tree = hold("exit 3", &containment);
            let record = tree.record().unwrap().unwrap();
            assert!(record.is_running());
            tree.release().await.unwrap();
            assert!(record.ends_within(MINUTE).await);
            assert_eq!(tree.wait().await.unwrap().code(), Some(3));
            assert!(record.cgroup.is_none_or(|cgroup| !cgroup.exists()));
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_cgroup_holds_processes_that_leave_the_group() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = hold("setsid sleep 1000 & echo", &Containment::find(dir.path()));
        let record = tree.record().unwrap().unwrap();
        tree.release().await.unwrap();
        assert!(tree.wait().await.unwrap().success());
        if record.cgroup.is_none() {
            skip(Missing::Optional("a writable cgroup of version 2"));
            return;
        }
        assert!(record.is_running());
        assert!(record.end(MINUTE).await);
    }
}
