//! `packcast-agent logs`: shows the log of the service.

use std::io;
#[cfg(unix)]
use std::process::{Command, ExitCode};

use crate::output;
#[cfg(unix)]
use crate::platform;

/// Show the log of the service
///
/// Runs journalctl for the unit packcast-agent. Without systemd, the command says where the log is. On
/// Windows, it reads the file agent.log beside the configuration.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(after_help = "\
Examples:
  packcast-agent logs
  packcast-agent logs --lines 500
  packcast-agent logs --follow")]
pub struct Args {
    /// Show this many of the newest lines
    #[arg(long, short = 'n', default_value_t = 100, value_name = "COUNT")]
    lines: u32,
    /// Wait for further lines, until Ctrl-C
    #[arg(long, short = 'f')]
    follow: bool,
}

/// The pause between two looks at the log file.
#[cfg(windows)]
const FOLLOW_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

#[cfg(unix)]
const WITHOUT_SYSTEMD: &str = "\
This system has no systemd. The agent writes its log to standard error, so the log is where the
program that starts `packcast-agent run` sends it.
";

#[cfg(windows)]
impl Args {
    /// Prints the log file beside a configuration.
    pub(super) fn run(self, config: &std::path::Path) -> io::Result<()> {
        use crate::log_file::{self, LogReader};

        let lines = usize::try_from(self.lines).unwrap_or(usize::MAX);
        let (text, mut log) = LogReader::newest(log_file::path(config), lines)?;
        output::text(&text);
        while self.follow {
            std::thread::sleep(FOLLOW_PAUSE);
            output::text(&String::from_utf8_lossy(&log.further()?));
        }
        Ok(())
    }
}

#[cfg(unix)]
impl Args {
    /// Runs journalctl, and returns its exit code.
    pub(super) fn run(self) -> io::Result<ExitCode> {
        if !platform::has_systemd() {
            output::text(WITHOUT_SYSTEMD);
            return Ok(ExitCode::SUCCESS);
        }
        let status = self.command().status()?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(code.unwrap_or(1)))
    }

    fn command(self) -> Command {
        let mut command = Command::new("journalctl");
        // In a pager, the command of a script would wait for a person.
        command.args(["--no-pager", "--unit", platform::UNIT, "--lines"]);
        command.arg(self.lines.to_string());
        if self.follow {
            command.arg("--follow");
        }
        command
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journalctl_shows_the_newest_lines_of_the_unit() {
        let arguments = |lines, follow| {
            let command = Args { lines, follow }.command();
            let words = command.get_args().map(|word| word.to_string_lossy());
            words.collect::<Vec<_>>().join(" ")
        };
        let unit = "--no-pager --unit packcast-agent --lines";
        assert_eq!(arguments(100, false), format!("{unit} 100"));
        assert_eq!(arguments(7, true), format!("{unit} 7 --follow"));
    }
}
