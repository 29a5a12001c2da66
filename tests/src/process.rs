//! Processes that end with the test, and what they left.

use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// After this long, what is waited for is not going to happen.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(2);

/// A running process, killed when it is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a command with no input and its output discarded or piped as the command says.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.expect("the program under test can be started"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns how it ended, `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }

    /// Ends it as a power cut would (SIGKILL). It must not have ended by itself before.
    pub fn kill(mut self) {
        self.0.kill().expect("a child can be killed");
        let status = self.0.wait().expect("a child can be waited for");
        assert_eq!(status.code(), None, "it ended by itself: {status}");
    }

    /// Ends it as a power cut would, whether or not it runs.
    pub(crate) fn end(&mut self) {
        // One that has ended by itself cannot be killed.
        let _ = self.0.kill();
        self.0.wait().expect("a child can be waited for");
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Returns what it writes, if the command piped that, to the first who asks.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a finished process left.
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

    /// Expects an exit code.
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

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(PAUSE);
    }
}

/// Returns a path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the test's paths are UTF-8")
}
