//! Programs that run in bounded time and memory.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packcast_protocol::api::{BoundedText, TAIL_BYTES};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::platform::{self, Containment, ProcessTree, ProgramRecord};

/// The time that programs have to end after the request to end.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The time to wait for the end of the output after the program has ended.
///
/// After that, programs in the background are assumed to hold the output open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// The reason why a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitReason {
    Exited(i32),
    /// The program was killed by this signal.
    Signal(i32),
    /// The agent ended the program at its time limit.
    TimedOut,
}

/// The end of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessEnd {
    pub(crate) ending: ExitReason,
    /// The end of the standard output and standard error of the program.
    pub(crate) output: BoundedText<TAIL_BYTES>,
}

/// A program that was started, and waits for its release.
///
/// If the agent ends before the release, the program never runs.
#[derive(Debug)]
pub(crate) struct HeldProcess {
    tree: ProcessTree,
    output: ProgramOutput,
}

/// Starts a command in `folder` without input. The command waits for its release.
///
/// `name` distinguishes its processes from the processes of other programs.
pub(crate) fn hold(
    command: Command,
    folder: &Path,
    containment: &Containment,
    name: &str,
) -> io::Result<HeldProcess> {
    let (reader, writer) = io::pipe()?;
    let mut command = platform::held(command);
    command
        .current_dir(folder)
        .stdout(writer.try_clone()?)
        // One pipe for both, so that the report shows the lines in the order of writing.
        .stderr(writer);
    // ProgramOutput comes before the program: a program that cannot be followed must not start.
    let output = ProgramOutput::follow(reader)?;
    // The command holds the writing ends of the pipe. The output ends when all of them are closed.
    let tree = ProcessTree::hold(command, containment, name)?;
    Ok(HeldProcess { tree, output })
}

impl HeldProcess {
    /// Describes the program for another agent process; `None` if the system has no such means.
    pub(crate) fn record(&self) -> io::Result<Option<ProgramRecord>> {
        self.tree.record()
    }

    /// Lets the program run, for at most `limit`.
    ///
    /// Programs that the command left in the background keep running. At the time limit, the agent
    /// ends all of them.
    pub(crate) async fn run(mut self, limit: Duration) -> io::Result<ProcessEnd> {
        self.tree.release().await?;
        let ending = if let Ok(status) = timeout(limit, self.tree.wait()).await {
            ending(status?)
        } else {
            self.tree.end(GRACE).await?;
            ExitReason::TimedOut
        };
        Ok(ProcessEnd {
            ending,
            output: self.output.tail().await,
        })
    }
}

fn ending(status: ExitStatus) -> ExitReason {
    match (status.code(), platform::signal(status)) {
        (Some(code), _) => ExitReason::Exited(code),
        (None, signal) => ExitReason::Signal(signal.unwrap_or(0)),
    }
}

/// The output of a program. Only its end is kept.
#[derive(Debug)]
struct ProgramOutput {
    tail: Arc<Mutex<Tail>>,
    closed: oneshot::Receiver<()>,
}

impl ProgramOutput {
    /// Reads on a separate thread until the last writer is gone.
    ///
    /// So a full pipe never blocks a program that outlives the command.
    fn follow(mut reader: io::PipeReader) -> io::Result<Self> {
        let tail = Arc::new(Mutex::new(Tail::default()));
        let (close, closed) = oneshot::channel();
        let shared = Arc::clone(&tail);
        std::thread::Builder::new().spawn(move || {
            let mut buffer = [0; 8 << 10];
            loop {
                match reader.read(&mut buffer) {
                    Ok(read) if read > 0 => lock(&shared).push(&buffer[..read]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    _ => break,
                }
            }
            // The receiver may be gone after its timeout.
            let _ = close.send(());
        })?;
        Ok(Self { tail, closed })
    }

    async fn tail(self) -> BoundedText<TAIL_BYTES> {
        let _ = timeout(OUTPUT_GRACE, self.closed).await;
        lock(&self.tail).text()
    }
}

fn lock(tail: &Mutex<Tail>) -> std::sync::MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last bytes of a stream.
#[derive(Debug, Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.0.len() + kept.len()).saturating_sub(TAIL_BYTES);
        self.0.drain(..excess);
        self.0.extend(kept);
    }

    /// Returns the text from its first whole character on. Invalid bytes are replaced.
    fn text(&self) -> BoundedText<TAIL_BYTES> {
        let continues = |byte: &u8| byte & 0xC0 == 0x80;
        let cut = self.0.len() == TAIL_BYTES;
        let skipped = self
            .0
            .iter()
            .take(3)
            .take_while(|byte| cut && continues(byte))
            .count();
        let bytes: Vec<u8> = self.0.iter().skip(skipped).copied().collect();
        BoundedText::tail(&String::from_utf8_lossy(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_end_in_whole_characters() {
        let mut tail = Tail::default();
        for _ in 0..5000 {
            tail.push("é".as_bytes());
        }
        tail.push(b"x");
        let text = tail.text();
        assert_eq!(text.as_str(), format!("{}x", "é".repeat(2047)));
        tail.push(&[b'y'; 10_000]);
        assert_eq!(tail.text().as_str(), "y".repeat(4096));
    }

    #[cfg(unix)]
    mod unix {
        use super::*;

        async fn sh(line: &str, limit: Duration) -> ProcessEnd {
            let dir = tempfile::tempdir().unwrap();
            let none = Containment::ProcessGroup;
            let held = hold(platform::shell(line), dir.path(), &none, "1795000000");
            held.unwrap().run(limit).await.unwrap()
        }

        const MINUTE: Duration = Duration::from_mins(1);

        #[tokio::test]
        async fn exit_codes_and_signals_are_reported() {
            for code in [0, 7, 255] {
                let ended = sh(&format!("echo out; echo err >&2; exit {code}"), MINUTE).await;
                assert_eq!(ended.ending, ExitReason::Exited(code));
                assert_eq!(ended.output.as_str(), "out\nerr\n");
            }
            assert_eq!(sh("kill -9 $$", MINUTE).await.ending, ExitReason::Signal(9));
        }

        #[tokio::test]
        async fn much_output_does_not_block_a_program() {
            let ended = sh("yes 0123456789 | head -c 5000000; exit 3", MINUTE).await;
            assert_eq!(ended.ending, ExitReason::Exited(3));
            assert_eq!(ended.output.as_str().len(), TAIL_BYTES);
        }

        #[tokio::test]
        async fn a_background_program_does_not_delay_the_result() {
            let ended = sh("echo $$; sleep 1000 & exit 4", MINUTE).await;
            assert_eq!(ended.ending, ExitReason::Exited(4));
            let group = ended.output.as_str().trim().parse().unwrap();
            let group = rustix::process::Pid::from_raw(group).unwrap();
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        }

        #[tokio::test]
        async fn the_time_limit_ends_the_whole_group() {
            let ended = sh(
                "echo $$; sleep 1000 & sleep 1000",
                // Enough for the first line on a busy machine.
                Duration::from_secs(2),
            )
            .await;
            assert_eq!(ended.ending, ExitReason::TimedOut);
            let group = ended.output.as_str().trim().parse().unwrap();
            let group = rustix::process::Pid::from_raw(group).unwrap();
            let gone = async {
                while rustix::process::test_kill_process_group(group).is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(MINUTE, gone).await.unwrap();
        }
    }
}
