//! `packcast console`: serves the administration console on this machine.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use packcast_console::{Clock, Console, ConsoleError, ConsoleOptions, Ended, HandoffError};
use packcast_publisher::{Failure, Warning};
use tokio::sync::oneshot;

use super::local::stop_signal;
use crate::Globals;
use crate::{output, places};

/// Show and change the target in a browser, until the session ends
///
/// Serves web pages on loopback, with your cloud credentials. Each page names the command that shows or
/// does the same. Before a change, its page shows the effect, and asks for the passphrase of the signing
/// key if the key is locked. The printed address opens one session in one browser. The command ends with
/// the session, and after 8 hours without use.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast console
  packcast console --open
  packcast console --read-only
  packcast console --port 8470 --target production")]
pub(crate) struct Args {
    /// Open the console in the browser of this machine
    #[arg(long)]
    open: bool,
    /// Serve no pages that change the target
    #[arg(long)]
    read_only: bool,
    /// Serve the pages on this port, from 1024 on; 0 chooses a free port
    #[arg(long, default_value_t = 0, value_parser = port)]
    port: u16,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        #[cfg(unix)]
        without_core_dumps();
        let mut target = globals.open().await?;
        // The pages ask for the passphrase, and not the terminal.
        let secrets = globals.secrets(&places::find()?)?;
        target.secrets = Arc::new(secrets.without_questions());
        let options = ConsoleOptions {
            port: self.port,
            target_options: globals.target_options(),
            uploads_dir: places::find()?.state.join("console"),
            is_read_only: self.read_only,
            clock: Clock::system(),
        };
        let console = Console::bind(target, options).await.map_err(refused)?;
        let handoff = if self.open {
            let folder = places::find()?.state.join("console");
            let handoff = console.handoff(&folder).map_err(unwritten)?;
            if let Err(error) = open(handoff.path()) {
                output::warn(&[no_browser(&error)]);
            }
            Some(handoff)
        } else {
            None
        };
        let link = console.sign_in_link();
        output::data(&output::fields([("console", link)]));
        output::note("the address works once, in one browser; stop with Ctrl-C");
        let (stopping, stopped) = oneshot::channel();
        let served = console.serve(async {
            stop().await;
            let _ = stopping.send(());
        });
        let again = async {
            // The sender is dropped if the session has ended by itself.
            if stopped.await.is_ok() {
                output::note(COMPLETING);
            }
            stop().await;
        };
        let ended = tokio::select! {
            ended = served => Some(ended),
            () = again => None,
        };
        drop(handoff);
        output::note(ended.map_or(LEFT, reason));
        Ok(())
    }
}

const COMPLETING: &str =
    "stopping after the changes under way; press Ctrl-C again to leave them incomplete";
const LEFT: &str = "stopped: changes under way may be incomplete; 'packcast log' shows the changes";

/// Keeps the unlocked key out of core dumps.
#[cfg(unix)]
fn without_core_dumps() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    // A lower limit is always permitted.
    let _ = setrlimit(Resource::Core, limit);
}

/// Waits for Ctrl-C. Without a signal handler, Ctrl-C ends the process at once.
async fn stop() {
    if stop_signal().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Reads a port. Browsers leave the port 80 out of addresses, and lower ports belong to the system.
fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ (0 | 1_024..)) => Ok(port),
        Ok(_) | Err(_) => Err("expected a port from 1024 to 65535, or 0 for a free one".to_owned()),
    }
}

/// Opens a file with the browser of this machine.
fn open(file: &Path) -> io::Result<()> {
    let (program, before): (&str, &[&str]) = if cfg!(windows) {
        ("rundll32.exe", &["url.dll,FileProtocolHandler"])
    } else if cfg!(target_os = "macos") {
        ("open", &[])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command.args(before).arg(file);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    // Ctrl-C ends the console, and not the browser that it has started.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map(drop)
}

fn no_browser(error: &io::Error) -> Warning {
    Warning::new(format!("cannot start a browser: {error}"))
        .hint("open the printed address in a browser")
}

fn refused(error: ConsoleError) -> Failure {
    let hint = match error {
        ConsoleError::Listen { .. } => "choose another port, or pass --port 0 to use a free one",
        ConsoleError::Random { .. } => return Failure::failed(error),
    };
    Failure::failed(error).hint(hint)
}

fn unwritten(error: HandoffError) -> Failure {
    Failure::failed(error).hint("run 'packcast console' without --open, and open its address")
}

const fn reason(ended: Ended) -> &'static str {
    match ended {
        Ended::SignedOut => "the session was ended",
        Ended::Idle => "stopped after 8 hours without use",
        Ended::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn errors_of_the_console_have_next_steps() {
        let taken = refused(ConsoleError::Listen {
            address: ([127, 0, 0, 1], 8470).into(),
            source: io::Error::other("address already in use"),
        });
        assert_snapshot!(taken, @r"
        cannot listen on 127.0.0.1:8470: address already in use
        hint: choose another port, or pass --port 0 to use a free one
        ");
        assert_eq!([port("0"), port("1024")], [Ok(0), Ok(1_024)]);
        assert!(
            ["80", "1023", "65536", "-1", "x"]
                .iter()
                .all(|it| port(it).is_err())
        );
        let missing = no_browser(&io::Error::other("not found"));
        assert_snapshot!(missing, @r"
        warning: cannot start a browser: not found
        hint: open the printed address in a browser
        ");
        let ends = [Ended::SignedOut, Ended::Idle, Ended::Stopped].map(reason);
        assert_snapshot!(ends.join("\n"), @r"
        the session was ended
        stopped after 8 hours without use
        stopped
        ");
    }
}
