//! A device: the program under test runs as an agent, with its own configuration and state.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use packcast_agent::event::Event;
use packcast_protocol::PackageId;
use packcast_publisher::local::trust;
use serde_json::Value;

use super::{World, clean};
use crate::process::{Process, Ran, text};

/// Number of fragments that a device downloads at a time.
pub const PARALLEL_DOWNLOADS: usize = 4;

/// The start of the name of the folder with the state of a target.
const TARGET: &str = "/state/target-";

/// A Packcast agent that trusts one world.
#[derive(Debug)]
pub struct TestDevice {
    id: String,
    folder: PathBuf,
    /// The folder that the environment variables refer to, that of the world.
    environment: PathBuf,
    program: PathBuf,
}

/// A running agent, killed when it is dropped.
#[derive(Debug)]
pub struct RunningAgent {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
}

impl TestDevice {
    /// Creates a device with a configuration. Its id is empty, because the device has no key yet.
    pub(crate) fn new(world: &World, name: &str) -> Self {
        let folder = world.directory().join(name);
        fs::create_dir(&folder).expect("each device has a name of its own");
        let device = Self {
            id: String::new(),
            folder,
            environment: world.directory().to_owned(),
            program: world.command(&[]).get_program().into(),
        };
        device.configure(world, "");
        device
    }

    pub(crate) fn enrol(world: &World, name: &str) -> Self {
        let mut device = Self::new(world, name);
        device.run();
        let ran = Ran::of(&mut device.command(&["id"])).expect_code(0);
        let id: Value = serde_json::from_str(&ran.stdout).expect("the output is JSON");
        id["device"]
            .as_str()
            .expect("the id is text")
            .clone_into(&mut device.id);
        device
    }

    /// Writes the configuration again, with additional lines.
    pub fn configure(&self, world: &World, lines: &str) {
        self.configure_for(world, world.state().edge, lines);
    }

    /// Writes the configuration again, with another server and additional lines.
    pub fn configure_for(&self, world: &World, server: SocketAddr, lines: &str) {
        let config = configuration(world, server, &self.folder.join("state"), lines);
        fs::write(self.config(), config).expect("the device's folder is writable");
    }

    /// Returns the device id in the form that commands accept.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Checks in once and completes the announced tasks.
    pub fn run(&self) -> Vec<Event> {
        let ran = Ran::of(&mut self.once()).expect_code(0);
        ran.stdout.lines().map(event).collect()
    }

    /// Checks in once like [`TestDevice::run`], but with any exit code.
    pub fn attempt(&self) -> Ran {
        Ran::of(&mut self.once())
    }

    /// Checks in once and tries to deploy; returns the number of announced tasks.
    pub fn announced(&self) -> usize {
        let tasks = |event: &Event| match event {
            Event::CheckedIn { tasks, .. } => Some(*tasks),
            _ => None,
        };
        let tasks: Vec<usize> = self.run().iter().filter_map(tasks).collect();
        assert_eq!(tasks.len(), 1, "the agent checks in once");
        tasks[0]
    }

    /// Checks in once like [`TestDevice::run`], on a system whose present run has this id: a mount
    /// hides the file with the real id from the agent.
    ///
    /// Returns `None` if users may not mount.
    pub fn run_in_boot(&self, id: &str) -> Option<Vec<Event>> {
        let file = self.folder.join(format!("boot-{id}"));
        fs::write(&file, format!("{id}\n")).expect("the device's folder is writable");
        let script = r#"mount --bind "$0" /proc/sys/kernel/random/boot_id; exec "$@""#;
        let enclosed = |program: &str, arguments: &[&str]| {
            let mut command = clean(Path::new("unshare"), &self.environment);
            command
                .args(["--map-root-user", "--mount", "sh", "-e", "-c", script])
                .arg(&file)
                .arg(program)
                .args(arguments);
            command
        };
        let may = enclosed("true", &[]).output();
        if !may.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let agent = self.once();
        let arguments: Vec<&str> = agent.get_args().filter_map(|it| it.to_str()).collect();
        let ran = Ran::of(&mut enclosed(text(&self.program), &arguments)).expect_code(0);
        Some(ran.stdout.lines().map(event).collect())
    }

    /// Starts the agent like [`TestDevice::run`], without waiting for its end.
    pub fn start(&self) -> RunningAgent {
        RunningAgent::start(self.once().stdout(Stdio::piped()))
    }

    /// Starts the agent as a service that runs until it is killed. `agent` is a program
    /// `packcast-agent`, instead of the program under test.
    pub fn start_service(&self, agent: Option<&Path>) -> RunningAgent {
        let program = agent.unwrap_or(&self.program);
        let mut command = clean(program, &self.environment);
        if agent.is_none() {
            command.arg("agent");
        }
        command
            .args(["--format", "json", "--config"])
            .arg(self.config())
            .arg("run")
            .stdout(Stdio::piped());
        RunningAgent::start(&mut command)
    }

    /// Returns the numbers of a package's fragments that are on disk, complete and verified.
    pub fn fragments(&self, package: PackageId) -> BTreeSet<u32> {
        let folder = self
            .folder
            .join(format!("state/packages/{package}/fragments"));
        let entries = fs::read_dir(folder).expect("the package is being downloaded");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Removes a package from the device's disk, as if the announcement had never arrived.
    pub fn forget(&self, package: PackageId) {
        let folder = self.folder.join(format!("state/packages/{package}"));
        fs::remove_dir_all(folder).expect("the package was in progress");
    }

    /// Removes the signed state, as a disk error would. The history stays.
    pub fn forget_state(&self) {
        let entries = fs::read_dir(self.folder.join("state")).expect("the agent has run");
        let entries = entries.map(|entry| entry.expect("the folder is readable").path());
        let is_target = |path: &PathBuf| path.is_dir() && path.to_string_lossy().contains(TARGET);
        let folders: Vec<PathBuf> = entries.filter(is_target).collect();
        assert_eq!(folders.len(), 1, "the device has the state of one target");
        fs::remove_dir_all(&folders[0]).expect("the folder is writable");
    }

    /// Writes another trust line into the configuration.
    pub fn set_trust(&self, line: &str) {
        let config = fs::read_to_string(self.config()).expect("the device is configured");
        let lines = config.lines().map(|old| {
            if old.starts_with("trust = ") {
                format!("trust = {line:?}\n")
            } else {
                format!("{old}\n")
            }
        });
        let config: String = lines.collect();
        fs::write(self.config(), config).expect("the device's folder is writable");
    }

    fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    fn once(&self) -> Command {
        self.command(&["run", "--once"])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clean(&self.program, &self.environment);
        command
            .args(["agent", "--format", "json", "--config"])
            .arg(self.config())
            .args(arguments);
        command
    }
}

impl RunningAgent {
    fn start(command: &mut Command) -> Self {
        let mut process = Process::start(command);
        let stdout = process.stdout().expect("the output is piped");
        Self {
            process,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// Waits for the next event.
    pub fn next_event(&mut self) -> Event {
        self.event().expect("the agent runs")
    }

    /// Waits for the next event; returns `None` when the agent has ended.
    pub fn event(&mut self) -> Option<Event> {
        let line = self.lines.next()?;
        Some(event(&line.expect("the output can be read")))
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the agent like a power cut.
    pub fn kill(self) {
        self.process.kill();
    }
}

/// Returns the configuration of an agent that trusts a world and keeps its state in a folder, with
/// additional lines.
pub(crate) fn configuration(
    world: &World,
    server: SocketAddr,
    state_dir: &Path,
    lines: &str,
) -> String {
    let state = world.state();
    let trust = trust(&world.local_dir()).expect("packcast local creates a target id");
    format!(
        "server = \"https://{}\"\nstate_dir = {:?}\nenrolment_token_file = {:?}\n\
         trust = \"{trust}\"\nca_file = {:?}\nparallel_downloads = {PARALLEL_DOWNLOADS}\n{lines}",
        server,
        text(state_dir),
        text(&state.enrolment_token_file),
        text(&state.ca_file),
    )
}

pub(crate) fn event(line: &str) -> Event {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}
