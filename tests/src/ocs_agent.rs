//! The stock OCS agent as Debian has it, with a state of its own.

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
use packcast_rollout::pace::PauseS;
use packcast_testing::skip::{Missing, skip};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::process::{PATIENCE, Process, eventually, text};
use crate::world::{World, clean};

pub mod times;

const PROGRAM: &str = "ocsinventory-agent";
/// What the agent writes before it forks the process that deploys.
const FORK: &str = "[download] Calling download_end_handler";
/// The last words of the process that deploys.
const END: &str = "[download] End of work";
/// The list of the packages that it will not deploy again, in its state.
const HISTORY: &str = "download/history";

/// A stock agent that trusts one world.
#[derive(Debug)]
pub struct OcsAgent {
    id: String,
    program: PathBuf,
    server: String,
    ca_file: PathBuf,
    /// Its home and its state.
    folder: PathBuf,
    /// Its environment is the world's.
    environment: PathBuf,
}

/// What the agent wrote during one contact.
#[derive(Debug)]
pub struct Contact {
    pub log: String,
    /// How long it took.
    pub took: Duration,
}

/// Returns where the agent is. `None` if it is not installed; the story is then skipped.
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
    /// Returns an agent after its first contact, and what it wrote.
    pub fn enrol(program: &Path, world: &World) -> (Self, Contact) {
        let state = world.state();
        let token = state.ocs_path_token.reveal();
        let agent = Self {
            id: String::new(),
            program: program.to_owned(),
            server: format!("https://{}/ocsinventory/{token}", state.edge),
            ca_file: state.ca_file.clone(),
            folder: world.place().join("stock"),
            environment: world.place().to_owned(),
        };
        fs::create_dir(&agent.folder).expect("a world has one stock agent");
        agent.introduced()
    }

    /// Gives the agent another address of the same server, which makes it another device, and
    /// takes over what its history has. Returns it after its first contact, and what it wrote.
    pub fn move_to(self, host: &str) -> (Self, Contact) {
        let history = self.state().join(HISTORY);
        let (_, rest) = self.server.rsplit_once(':').expect("it has a port");
        let moved = Self {
            server: format!("https://{host}:{rest}"),
            ..self
        };
        let place = moved.state().join(HISTORY);
        let folder = place.parent().expect("it is in a folder");
        fs::create_dir_all(folder).expect("the agent's folder is writable");
        fs::copy(history, place).expect("an agent that had a contact has a history");
        moved.introduced()
    }

    fn introduced(mut self) -> (Self, Contact) {
        let contact = self.contact();
        let id = between(&contact.log, "<DEVICEID>", "</DEVICEID>");
        self.id = format!("ocs:{}", id.expect("it tells who it is"));
        (self, contact)
    }

    /// Returns the device's id as commands take it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Contacts the server once, and returns when it is through with all that it was told.
    ///
    /// The process that deploys then only pauses until its period ends, and is killed.
    pub fn contact(&self) -> Contact {
        let contact = self.begin();
        eventually("the agent ends its contact", || {
            contact.family.is_orphaned().then_some(())
        });
        let log = contact.log.text();
        assert!(log.contains(FORK), "the agent deploys nothing: {log}");
        eventually("the agent is through with its packages", || {
            self.is_through(&contact.log.text()).then_some(())
        });
        contact.kill()
    }

    /// Tells whether it has removed every package that it was told, which it does last.
    fn is_through(&self, log: &str) -> bool {
        let told = told(log);
        let folder = self.state().join("download");
        let is_gone = |package: &PackageId| !folder.join(package.to_string()).exists();
        if told.is_empty() {
            // What it drops, it removes before it reports it.
            log.contains(END)
        } else {
            told.keys().all(is_gone)
        }
    }

    /// Begins a contact, whose process that deploys may go on for long.
    pub fn begin(&self) -> Ongoing {
        let (output, input) = std::io::pipe().expect("a pipe can be made");
        let errors = input.try_clone().expect("it can be shared");
        // Dropped with the statement: the agent's processes alone keep the pipe open.
        let family = Family::start(self.command().stdout(input).stderr(errors));
        Ongoing {
            family,
            log: Log::of(output),
            since: Instant::now(),
        }
    }

    fn command(&self) -> Command {
        let mut command = clean(&self.program, &self.environment);
        command
            .env("HOME", &self.folder)
            .args(["--nolocal", "--debug", "--server", &self.server])
            .args(["--basevardir", text(&self.folder)])
            .args(["--ca", text(&self.ca_file)]);
        command
    }

    /// Returns the packages that it will not deploy again unless forced.
    pub fn history(&self) -> Vec<PackageId> {
        let history = fs::read_to_string(self.state().join(HISTORY));
        let history = history.expect("an agent that had a contact has a history");
        history
            .lines()
            .map(|id| id.parse().expect("it lists package ids"))
            .collect()
    }

    /// Returns where it keeps its state, which follows from the server's address.
    fn state(&self) -> PathBuf {
        self.folder.join(self.server.replace('/', "_"))
    }
}

/// A contact that has begun; its processes are killed when it is dropped.
#[derive(Debug)]
pub struct Ongoing {
    family: Family,
    log: Log,
    since: Instant,
}

impl Ongoing {
    /// Returns when its processes have written this.
    pub fn until(&self, words: &str) {
        eventually(words, || self.log.text().contains(words).then_some(()));
    }

    /// Returns when all its processes have ended, or have been killed for taking too long.
    pub fn end(self) -> Contact {
        let is_whole = self.log.ended.recv_timeout(PATIENCE);
        let took = self.since.elapsed();
        drop(self.family);
        let is_whole = is_whole.or_else(|_| self.log.ended.recv());
        is_whole.expect("it is read").expect("a pipe can be read");
        let log = self.log.text();
        Contact { log, took }
    }

    /// Kills its processes.
    pub fn kill(self) -> Contact {
        let took = self.since.elapsed();
        drop(self.family);
        let is_whole = self.log.ended.recv();
        is_whole.expect("it is read").expect("a pipe can be read");
        let log = self.log.text();
        Contact { log, took }
    }
}

impl Contact {
    /// Returns the packages it was told, and whether it must deploy each although its history
    /// has it.
    pub fn told(&self) -> BTreeMap<PackageId, bool> {
        told(&self.log)
    }

    /// Returns a pause of the configuration that it was told.
    pub fn told_pause(&self, name: &str) -> PauseS {
        let mut lines = self.log.lines();
        let line = lines.find(|line| line.contains("TYPE=\"CONF\""));
        let pause = between(line.expect("it is told"), &format!(" {name}=\""), "\"");
        let pause = pause.expect("a configuration has it");
        pause.parse().expect("it is a pause")
    }

    /// Returns what the agent or its interpreter minded of the deployment: errors of its own
    /// and of its download module, warnings of the code that talks to us and reads our XML.
    ///
    /// What other modules miss on the machine, such as a library for screens, is no affair of
    /// ours.
    pub fn complaints(&self) -> Vec<&str> {
        let is_error = |line: &str| {
            line.strip_prefix("[error] ")
                .is_some_and(|error| !error.starts_with('[') || error.starts_with("[download]"))
        };
        let of_ours = ["/Download.pm line ", "/Network.pm line ", "/XML/"];
        let is_warning = |line: &str| of_ours.iter().any(|place| line.contains(place));
        self.log
            .lines()
            .filter(|line| is_error(line) || is_warning(line))
            .collect()
    }
}

fn told(log: &str) -> BTreeMap<PackageId, bool> {
    let packages = log.lines().filter(|l| l.contains("TYPE=\"PACK\""));
    packages
        .map(|line| {
            let value = |name| between(line, name, "\"").expect("a package has it");
            let id = value(" ID=\"").parse().expect("it is a package's id");
            (id, value(" FORCE=\"") == "1")
        })
        .collect()
}

/// The agent and the processes it forks, which outlive it; all are killed when it is dropped.
///
/// The first is not waited for before that, so that its id stays the group's.
#[derive(Debug)]
struct Family {
    group: Pid,
    _first: Process,
}

impl Family {
    fn start(command: &mut Command) -> Self {
        let mut first = Process::start(command.process_group(0));
        let group = Pid::from_child(first.child());
        Self {
            group,
            _first: first,
        }
    }

    /// Tells whether the first has ended.
    fn is_orphaned(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = waitid(WaitId::Pid(self.group), look).expect("a child can be waited for");
        ended.is_some()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // All may have ended.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

/// What processes write, as far as it has been read.
#[derive(Debug)]
struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    /// Tells how reading went when there is nothing more.
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
    fn what_was_forked_ends_with_the_family() {
        let (mut output, input) = std::io::pipe().unwrap();
        let forks = "tail -f /dev/null & echo";
        let family = Family::start(Command::new("sh").args(["-c", forks]).stdout(input));
        output.read_exact(&mut [0]).unwrap();
        drop(family);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}
