//! Processes that end with the test, and their output.

use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Time limit of all waiting in tests.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(2);

/// A running process, killed when it is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a command without input; its output goes where the command says.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.expect("the program under test can be started"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns the exit status, `None` while the process runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }

    /// Kills the process with SIGKILL, like a power cut. It must not have ended before.
    pub fn kill(mut self) {
        self.0.kill().expect("a child can be killed");
        let status = self.0.wait().expect("a child can be waited for");
        assert_eq!(
            status.code(),
            None,
            "the process has ended before: {status}"
        );
    }

    /// Kills the process like a power cut, whether it runs or has ended.
    pub(crate) fn end(&mut self) {
        // Killing fails if the process has ended by itself.
        let _ = self.0.kill();
        self.0.wait().expect("a child can be waited for");
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Returns the piped output; later calls return `None`.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        // Reaped, so that no zombie stays until the test process ends.
        let _ = self.0.wait();
    }
}

/// The exit code and output of a finished process.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output();
        output
            .expect("the program under test can be started")
            .into()
    }

    /// Expects this exit code.
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// Sends SIGINT to a child that has not been waited for, as Ctrl-C does on its terminal.
pub fn interrupt(child: &Child) {
    let id = i32::try_from(child.id()).expect("ids of processes are small");
    kill(Pid::from_raw(id), Signal::SIGINT).expect("a child can get a signal");
}

/// Retries until there is an answer.
pub fn eventually<T>(event: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{event}: not within {PATIENCE:?}"
        );
        std::thread::sleep(PAUSE);
    }
}

/// Returns a path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the test's paths are UTF-8")
}
