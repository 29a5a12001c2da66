//! The stock OCS agent as Debian has it, with a state of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{PipeReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use packcast_protocol::PackageId;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::process::{PATIENCE, Process, text};
use crate::world::{World, clean};

const PROGRAM: &str = "ocsinventory-agent";
/// The last words of the process that deploys.
const END: &str = "[download] End of work";

/// A stock agent that trusts one world.
#[derive(Debug)]
pub struct StockAgent {
    id: String,
    program: PathBuf,
    server: String,
    ca_file: PathBuf,
    /// Its home and its state.
    folder: PathBuf,
    /// Its environment is the world's.
    environment: PathBuf,
}

/// What the agent wrote during one contact, until its last process ended.
#[derive(Debug)]
pub struct Contact {
    pub log: String,
}

/// Returns where the agent is, `None` where it is not installed; the reason to skip a story is
/// printed then.
///
/// # Panics
/// Continuous integration has no agent: it skips nothing.
pub fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    let found = places.find(|place| place.is_file());
    if found.is_none() {
        let why = format!("{PROGRAM} is not installed; './tests/run setup' does it on Debian");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
        let _ = writeln!(std::io::stderr(), "skipped: {why}");
    }
    found
}

impl StockAgent {
    /// Returns an agent after its first contact, and what it wrote.
    pub fn enrol(program: &Path, world: &World) -> (Self, Contact) {
        let state = world.state();
        let token = state.ocs_path_token.reveal();
        let mut agent = Self {
            id: String::new(),
            program: program.to_owned(),
            server: format!("https://{}/ocsinventory/{token}", state.edge),
            ca_file: state.ca_file.clone(),
            folder: world.place().join("stock"),
            environment: world.place().to_owned(),
        };
        fs::create_dir(&agent.folder).expect("a world has one stock agent");
        let contact = agent.contact();
        let id = between(&contact.log, "<DEVICEID>", "</DEVICEID>");
        agent.id = format!("ocs:{}", id.expect("it tells who it is"));
        (agent, contact)
    }

    /// Returns the device's id as commands take it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Contacts the server once, and returns when the process that deploys has ended, too.
    pub fn contact(&self) -> Contact {
        let (output, input) = std::io::pipe().expect("a pipe can be made");
        let errors = input.try_clone().expect("it can be shared");
        // Dropped with the statement: the agent's processes alone keep the pipe open.
        let family = Family::start(self.command().stdout(input).stderr(errors));
        let log = family.log(output);
        assert!(log.contains(END), "the agent did not end its work: {log}");
        Contact { log }
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
        let vardir = self.folder.join(self.server.replace('/', "_"));
        let history = fs::read_to_string(vardir.join("download/history"));
        let history = history.expect("an agent that had a contact has a history");
        history
            .lines()
            .map(|id| id.parse().expect("it lists package ids"))
            .collect()
    }
}

impl Contact {
    /// Returns the packages it was told, and whether it must deploy each although its history
    /// has it.
    pub fn told(&self) -> BTreeMap<PackageId, bool> {
        let packages = self.log.lines().filter(|l| l.contains("TYPE=\"PACK\""));
        packages
            .map(|line| {
                let value = |name| between(line, name, "\"").expect("a package has it");
                let id = value(" ID=\"").parse().expect("it is a package's id");
                (id, value(" FORCE=\"") == "1")
            })
            .collect()
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

    /// Returns what it writes until all have ended, or have been killed for taking too long.
    fn log(self, mut output: PipeReader) -> String {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut log = Vec::new();
            let read = output.read_to_end(&mut log);
            sender.send(read.map(|_| log))
        });
        let log = receiver.recv_timeout(PATIENCE);
        drop(self);
        let log = log.or_else(|_| receiver.recv()).expect("it is read");
        String::from_utf8_lossy(&log.expect("a pipe can be read")).into_owned()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // All may have ended.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
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
