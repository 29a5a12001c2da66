//! Processes that another agent process has started.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::{Instant, sleep};

use super::cgroup::Cgroup;
use crate::platform::ProgramRecord;

/// The first pause between two looks at a process. Each pause is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause. Without a cgroup, a look reads all processes of the system.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl ProgramRecord {
    /// Describes a process that the agent has just started. The process leads its group.
    pub(super) fn of(process: Pid, cgroup: Option<&Cgroup>) -> io::Result<Self> {
        let process = process.as_raw_nonzero().get();
        Ok(Self {
            process,
            started: start_of(process)?.ok_or(io::ErrorKind::NotFound)?,
            boot: boot()?,
            cgroup: cgroup.map(|cgroup| cgroup.path().to_owned()),
        })
    }

    fn cgroup(&self) -> Option<Cgroup> {
        self.cgroup.clone().map(Cgroup::at)
    }

    /// Returns `true` if a process of the program still runs.
    ///
    /// If the system returns an error, the process counts as running: a second copy must not start.
    pub(crate) fn is_running(&self) -> bool {
        if boot().is_ok_and(|boot| boot != self.boot) {
            return false;
        }
        let populated = self.cgroup().and_then(|cgroup| cgroup.is_populated());
        populated.unwrap_or_else(|| self.has_group())
    }

    /// Returns `true` if the process group of the program has a process.
    fn has_group(&self) -> bool {
        match start_of(self.process) {
            // Another process has the id. The system reuses an id only after its group has ended.
            Ok(Some(started)) if started != self.started => false,
            Ok(_) => group_runs(self.process),
            Err(_) => true,
        }
    }

    /// Waits until no process of the program runs any more, or until the limit.
    ///
    /// Returns `true` if none runs.
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
        if let Some(cgroup) = self.cgroup() {
            cgroup.remove();
        }
        true
    }

    /// Ends all processes of the program: with `SIGTERM`, and after `grace` with `SIGKILL`.
    ///
    /// Returns `false` if one of them still runs after another `grace`.
    pub(crate) async fn end(&self, grace: Duration) -> bool {
        for signal in [Signal::TERM, Signal::KILL] {
            self.signal(signal);
            if self.ends_within(grace).await {
                return true;
            }
        }
        false
    }

    fn signal(&self, signal: Signal) {
        if !self.is_running() {
            return;
        }
        match (self.cgroup(), Pid::from_raw(self.process)) {
            (Some(cgroup), _) => cgroup.signal(signal),
            // Ignored: the group may already be gone.
            (None, Some(group)) => drop(kill_process_group(group, signal)),
            (None, None) => {}
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) fn boot() -> io::Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

#[cfg(target_os = "linux")]
fn start_of(process: i32) -> io::Result<Option<String>> {
    match std::fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => Ok(ProcessStat::parse(&stat).map(|stat| stat.start)),
        // The process may end while its file is read.
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn is_gone(error: &io::Error) -> bool {
    let gone = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(gone)
}

/// Returns `true` if a process of the group runs. A zombie counts as ended.
#[cfg(target_os = "linux")]
fn group_runs(group: i32) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return true;
    };
    let stats = processes.flatten().filter_map(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
        ProcessStat::parse(&stat)
    });
    let mut stats = stats.filter(|stat| stat.group == group);
    stats.any(|stat| !matches!(stat.state, 'Z' | 'X' | 'x'))
}

/// Fields of `/proc/<id>/stat`.
#[cfg(target_os = "linux")]
#[derive(Debug, PartialEq, Eq)]
struct ProcessStat {
    state: char,
    group: i32,
    /// The time from boot to start, in ticks of the clock.
    start: String,
}

#[cfg(target_os = "linux")]
impl ProcessStat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the name, in parentheses, which may contain blanks and parentheses.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            group: fields.get(2)?.parse().ok()?,
            start: (*fields.get(19)?).to_owned(),
        })
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn boot() -> io::Result<String> {
    said_by(std::process::Command::new("/usr/sbin/sysctl").args(["-n", "kern.bootsessionuuid"]))
}

#[cfg(not(target_os = "linux"))]
fn start_of(process: i32) -> io::Result<Option<String>> {
    let process = process.to_string();
    let started = std::process::Command::new("/bin/ps").args(["-o", "lstart=", "-p", &process]);
    Ok(Some(said_by(started)?).filter(|started| !started.is_empty()))
}

#[cfg(not(target_os = "linux"))]
fn said_by(command: &mut std::process::Command) -> io::Result<String> {
    let output = command.env("LC_ALL", "C").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(not(target_os = "linux"))]
fn group_runs(group: i32) -> bool {
    Pid::from_raw(group)
        .is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok())
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let rest = "S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0";
        for name in ["sh", "a b", ") R 9 9 ("] {
            let stat = ProcessStat::parse(&format!("77 ({name}) {rest}"));
            let expected = ProcessStat {
                state: 'S',
                group: 77,
                start: "123456".to_owned(),
            };
            assert_eq!(stat, Some(expected), "{name}");
        }
        assert_eq!(ProcessStat::parse("77 (sh) S 1"), None);
    }

    #[test]
    fn a_process_of_another_time_is_not_the_program() {
        let own = Pid::from_raw(std::process::id().cast_signed()).unwrap();
        let record = ProgramRecord::of(own, None).unwrap();
        let other = |change: fn(&mut ProgramRecord)| {
            let mut record = record.clone();
            change(&mut record);
            record.is_running()
        };
        assert!(!other(|record| record.started = "1".to_owned()));
        assert!(!other(|record| record.boot = "earlier".to_owned()));
        assert!(!other(|record| record.cgroup = Some("/missing".into())));
    }
}
