//! Programs that another agent process has started.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use winsafe::co;

use super::boot_id;
use crate::platform::ProgramRecord;

/// The first pause between two looks at a process. Each pause is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl ProgramRecord {
    /// Describes a process. `None` if the process has ended, or if the system has no id for its
    /// present run, without which the process could not be told from a process of an earlier run.
    pub(super) fn of(process: u32) -> io::Result<Option<Self>> {
        let Some(boot) = boot_id() else {
            return Ok(None);
        };
        let Some(found) = LiveProcess::find(process)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            process: i32::try_from(process).map_err(io::Error::other)?,
            started: found.started,
            boot,
            cgroup: None,
        }))
    }

    /// Returns `true` if the process still runs. Programs that it has left in the background do not
    /// count, as they do not count for the agent that has started it.
    ///
    /// If the system returns an error, the process counts as running: a second copy must not start.
    pub(crate) fn is_running(&self) -> bool {
        if boot_id().is_some_and(|boot| boot != self.boot) {
            return false;
        }
        let Ok(process) = u32::try_from(self.process) else {
            return false;
        };
        match LiveProcess::find(process) {
            // Another process may have the id.
            Ok(found) => found.is_some_and(|found| found.started == self.started),
            Err(_) => true,
        }
    }

    /// Waits until the process has ended, or until the limit. Returns `true` if it has ended.
    pub(crate) async fn ends_within(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        while self.is_running() {
            if Instant::now() >= end {
                return false;
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        true
    }

    /// Ends the process, and the processes that it has started. Windows has no signal to end.
    ///
    /// Returns `false` if the process still runs after `grace`.
    pub(crate) async fn end(&self, grace: Duration) -> bool {
        if self.is_running() {
            let system = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
            // The full path, so that no other folder is searched for the program.
            let mut command = Command::new(PathBuf::from(system).join(r"System32\taskkill.exe"));
            command
                .args(["/F", "/T", "/PID", &self.process.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            if let Err(error) = tokio::process::Command::from(command).status().await {
                tracing::error!(%error, "cannot run taskkill");
            }
        }
        self.ends_within(grace).await
    }
}

/// A process that has not ended.
struct LiveProcess {
    /// Its start time in the unit of Windows, 100 nanoseconds since 1601.
    started: String,
}

impl LiveProcess {
    /// Finds a process. `None` if no process has the id, or if the process has ended.
    fn find(id: u32) -> io::Result<Option<Self>> {
        let rights = co::PROCESS::QUERY_LIMITED_INFORMATION | co::PROCESS::SYNCHRONIZE;
        let process = match winsafe::HPROCESS::OpenProcess(rights, false, id) {
            Ok(process) => process,
            Err(co::ERROR::INVALID_PARAMETER) => return Ok(None),
            Err(error) => return Err(system_error(error)),
        };
        let waited = process.WaitForSingleObject(Some(0)).map_err(system_error)?;
        if waited == co::WAIT::OBJECT_0 {
            return Ok(None);
        }
        let (created, ..) = process.GetProcessTimes().map_err(system_error)?;
        let started = u64::from(created).to_string();
        Ok(Some(Self { started }))
    }
}

fn system_error(error: co::ERROR) -> io::Error {
    io::Error::from_raw_os_error(error.raw().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_start_and_boot() {
        // Without rights to the registry there is no id of the boot.
        let Some(own) = ProgramRecord::of(std::process::id()).unwrap() else {
            return;
        };
        let other = |change: fn(&mut ProgramRecord)| {
            let mut record = own.clone();
            change(&mut record);
            record.is_running()
        };
        assert!(own.is_running());
        assert!(!other(|record| record.started.push('0')));
        assert!(!other(|record| record.boot.push('0')));
    }
}
