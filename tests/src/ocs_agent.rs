//! The Unix agent as Debian ships it, with a state of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use packcast_protocol::PackageId;
use packcast_rollout::pacing::PauseS;
use packcast_testing::skip::{Missing, skip};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::process::{PATIENCE, Process, eventually, text};
use crate::world::{World, clean};

pub mod times;

const PROGRAM: &str = "ocsinventory-agent";
/// The last line of the log before the agent forks the process that deploys.
const FORK: &str = "[download] Calling download_end_handler";
/// The last line of the process that deploys.
const END: &str = "[download] End of work";
/// The package history in the agent's state: packages that it does not deploy again.
const HISTORY: &str = "download/history";

/// An OCS agent that trusts one world.
#[derive(Debug)]
pub struct OcsAgent {
    id: String,
    program: PathBuf,
    server: String,
    ca_file: PathBuf,
    /// The folder with the agent's home and state.
    folder: PathBuf,
    /// The folder that the environment variables refer to, that of the world.
    environment: PathBuf,
}

/// The log of the agent during one check-in.
#[derive(Debug)]
pub struct OcsCheckIn {
    pub log: String,
    /// The duration of the check-in.
    pub took: Duration,
}

/// Returns the path of the agent, `None` if it is not installed; the story is then skipped.
///
/// # Panics
/// As [`skip`] does.
pub fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    let found = places.find(|place| place.is_file());
    if found.is_none() {
        skip(Missing::Provided(PROGRAM));
    }
    found
}

impl OcsAgent {
    /// Returns an agent after its first check-in.
    pub fn enrol(program: &Path, world: &World) -> (Self, OcsCheckIn) {
        let state = world.state();
        let token = state.ocs_path_token.reveal();
        let agent = Self {
            id: String::new(),
            program: program.to_owned(),
            server: format!("https://{}/ocsinventory/{token}", state.edge),
            ca_file: state.ca_file.clone(),
            folder: world.directory().join("ocs"),
            environment: world.directory().to_owned(),
        };
        fs::create_dir(&agent.folder).expect("a world has one OCS agent");
        agent.identified()
    }

    /// Returns an agent of another server, after its first check-in there. The folder is created.
    pub fn enrol_at(
        program: &Path,
        server: String,
        ca_file: PathBuf,
        folder: PathBuf,
        world: &World,
    ) -> (Self, OcsCheckIn) {
        fs::create_dir(&folder).expect("the folder is new");
        let agent = Self {
            id: String::new(),
            program: program.to_owned(),
            server,
            ca_file,
            folder,
            environment: world.directory().to_owned(),
        };
        agent.identified()
    }

    /// Configures the address of another server. The state is the one that belongs to the address.
    #[must_use]
    pub fn with_server(self, server: String, ca_file: PathBuf) -> Self {
        Self {
            server,
            ca_file,
            ..self
        }
    }

    /// Returns the configuration that the script of `packcast import ocs` changes. A test writes it.
    pub fn config(&self) -> PathBuf {
        self.folder.join("agent.cfg")
    }

    /// Lets a command find the configuration and the state of this agent: the script of `packcast
    /// import ocs` reads these variables.
    pub fn find_by<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("OCS_AGENT_CONFIG", self.config())
            .env("OCS_AGENT_STATE", &self.folder)
    }

    /// Returns the address of the server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Configures another address of the same server, which makes the agent another device.
    ///
    /// The package history is copied. Returns the agent after its first check-in at that address.
    pub fn move_to(self, host: &str) -> (Self, OcsCheckIn) {
        let history = self.state().join(HISTORY);
        let (_, rest) = self
            .server
            .rsplit_once(':')
            .expect("the address has a port");
        let moved = Self {
            server: format!("https://{host}:{rest}"),
            ..self
        };
        let place = moved.state().join(HISTORY);
        let folder = place.parent().expect("the history is in a folder");
        fs::create_dir_all(folder).expect("the agent's folder is writable");
        fs::copy(history, place).expect("an agent that has checked in has a history");
        moved.identified()
    }

    fn identified(mut self) -> (Self, OcsCheckIn) {
        let check_in = self.check_in();
        let id = between(&check_in.log, "<DEVICEID>", "</DEVICEID>");
        self.id = format!("ocs:{}", id.expect("the log contains the DEVICEID"));
        (self, check_in)
    }

    /// Returns the device id in the form that commands accept.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Checks in once, and returns when the agent has completed all announced tasks.
    ///
    /// The process that deploys would then pause until its period ends; it is killed instead.
    pub fn check_in(&self) -> OcsCheckIn {
        let check_in = self.begin();
        eventually("the agent ends its check-in", || {
            check_in.group.is_orphaned().then_some(())
        });
        // The last lines of the process may still be in the pipe.
        check_in.until(FORK);
        eventually("the agent completes its packages", || {
            self.is_done(&check_in.log.text()).then_some(())
        });
        check_in.kill()
    }

    /// Returns whether the agent has removed every announced package, its last step of each.
    fn is_done(&self, log: &str) -> bool {
        let announced = announced(log);
        let folder = self.state().join("download");
        let is_gone = |package: &PackageId| !folder.join(package.to_string()).exists();
        if announced.is_empty() {
            // A package that the agent drops is removed before the agent reports it.
            log.contains(END)
        } else {
            announced.keys().all(is_gone)
        }
    }

    /// Begins a check-in; its process that deploys may run for long.
    pub fn begin(&self) -> OngoingCheckIn {
        let (output, input) = std::io::pipe().expect("a pipe can be created");
        let errors = input.try_clone().expect("a pipe can be shared");
        // The command is dropped with this statement, so that only the agent keeps the pipe open.
        let group = ProcessGroup::start(self.command().stdout(input).stderr(errors));
        OngoingCheckIn {
            group,
            log: Log::of(output),
            since: Instant::now(),
        }
    }

    fn command(&self) -> Command {
        let mut command = clean(&self.program, &self.environment);
        self.find_by(&mut command)
            .env("HOME", &self.folder)
            .args(["--nolocal", "--debug", "--server", &self.server])
            .args(["--basevardir", text(&self.folder)])
            .args(["--ca", text(&self.ca_file)]);
        command
    }

    /// Returns the packages that the agent does not deploy again unless forced.
    pub fn history(&self) -> Vec<PackageId> {
        let history = fs::read_to_string(self.state().join(HISTORY));
        let history = history.expect("an agent that has checked in has a history");
        history
            .lines()
            .map(|id| id.parse().expect("the history contains package ids"))
            .collect()
    }

    /// Returns the folder of the agent's state, whose name follows from the server's address.
    fn state(&self) -> PathBuf {
        self.folder.join(self.server.replace('/', "_"))
    }
}

/// A check-in that has begun; its processes are killed when it is dropped.
#[derive(Debug)]
pub struct OngoingCheckIn {
    group: ProcessGroup,
    log: Log,
    since: Instant,
}

impl OngoingCheckIn {
    /// Waits until the processes have written these words.
    pub fn until(&self, words: &str) {
        eventually(words, || self.log.text().contains(words).then_some(()));
    }

    /// Waits until all processes have ended, and kills them if they take too long.
    pub fn end(self) -> OcsCheckIn {
        let is_whole = self.log.ended.recv_timeout(PATIENCE);
        let took = self.since.elapsed();
        drop(self.group);
        let is_whole = is_whole.or_else(|_| self.log.ended.recv());
        is_whole
            .expect("the log is read")
            .expect("a pipe can be read");
        let log = self.log.text();
        OcsCheckIn { log, took }
    }

    /// Kills all processes.
    pub fn kill(self) -> OcsCheckIn {
        let took = self.since.elapsed();
        drop(self.group);
        let is_whole = self.log.ended.recv();
        is_whole
            .expect("the log is read")
            .expect("a pipe can be read");
        let log = self.log.text();
        OcsCheckIn { log, took }
    }
}

impl OcsCheckIn {
    /// Returns the announced packages, each with whether the agent must deploy it although it is
    /// in the history.
    pub fn announced(&self) -> BTreeMap<PackageId, bool> {
        announced(&self.log)
    }

    /// Returns a pause of the announced configuration.
    pub fn announced_pause(&self, name: &str) -> PauseS {
        let mut lines = self.log.lines();
        let line = lines.find(|line| line.contains("TYPE=\"CONF\""));
        let line = line.expect("the reply has a configuration");
        let pause = between(line, &format!(" {name}=\""), "\"");
        let pause = pause.expect("the configuration has this pause");
        pause.parse().expect("the pause is a number")
    }

    /// Returns complaints about the deployment: errors of the agent and of its download module, and
    /// Perl warnings of the code that talks to the server and parses its XML.
    ///
    /// Complaints of other modules are left out, for example about a missing library for screens.
    pub fn complaints(&self) -> Vec<&str> {
        let is_error = |line: &str| {
            line.strip_prefix("[error] ")
                .is_some_and(|error| !error.starts_with('[') || error.starts_with("[download]"))
        };
        let modules = ["/Download.pm line ", "/Network.pm line ", "/XML/"];
        let is_warning = |line: &str| modules.iter().any(|place| line.contains(place));
        self.log
            .lines()
            .filter(|line| is_error(line) || is_warning(line))
            .collect()
    }
}

fn announced(log: &str) -> BTreeMap<PackageId, bool> {
    let packages = log.lines().filter(|l| l.contains("TYPE=\"PACK\""));
    packages
        .map(|line| {
            let value = |name| between(line, name, "\"").expect("a package has this attribute");
            let id = value(" ID=\"").parse().expect("a package id");
            (id, value(" FORCE=\"") == "1")
        })
        .collect()
}

/// The agent and the processes that it forks, which outlive it; all are killed on drop.
///
/// The first process is not reaped before that, so that its id still identifies the group.
#[derive(Debug)]
struct ProcessGroup {
    group: Pid,
    _first: Process,
}

impl ProcessGroup {
    fn start(command: &mut Command) -> Self {
        let mut first = Process::start(command.process_group(0));
        let group = Pid::from_child(first.child());
        Self {
            group,
            _first: first,
        }
    }

    /// Returns whether the first process has ended.
    fn is_orphaned(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = waitid(WaitId::Pid(self.group), look).expect("a child can be waited for");
        ended.is_some()
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // All processes may have ended already.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

/// The output of processes, as far as it has been read.
#[derive(Debug)]
struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    /// Receives the result of reading when the output ends.
    ended: mpsc::Receiver<io::Result<()>>,
}

impl Log {
    fn of(mut output: PipeReader) -> Self {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = mpsc::channel();
        let reader = Arc::clone(&written);
        thread::spawn(move || {
            let mut part = [0; 4096];
            let read = loop {
                match output.read(&mut part) {
                    Ok(0) => break Ok(()),
                    Ok(length) => lock(&reader).extend_from_slice(&part[..length]),
                    Err(error) => break Err(error),
                }
            };
            sender.send(read)
        });
        Self { written, ended }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.written)).into_owned()
    }
}

fn lock(written: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    written.lock().expect("the reader does not panic")
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forked_processes_end_with_the_first_one() {
        let (mut output, input) = std::io::pipe().unwrap();
        let forks = "tail -f /dev/null & echo";
        let group = ProcessGroup::start(Command::new("sh").args(["-c", forks]).stdout(input));
        output.read_exact(&mut [0]).unwrap();
        drop(group);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}
