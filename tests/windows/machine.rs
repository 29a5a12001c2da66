//! A Windows machine with an agent: a folder on Wine's drive C.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use packcast_agent::event::Event;
use packcast_protocol::PackageId;
use packcast_publisher::local::trust;
use packcast_tests::process::{Process, Ran, text};
use packcast_tests::world::World;

/// Wine, and the prefix with its drives.
#[derive(Clone, Debug)]
pub(crate) struct Wine {
    program: PathBuf,
    prefix: PathBuf,
}

impl Wine {
    pub(crate) fn new(program: &Path) -> Self {
        let prefix = std::env::var_os("WINEPREFIX").expect("WINEPREFIX names Wine's prefix");
        Self {
            program: program.to_owned(),
            prefix: prefix.into(),
        }
    }

    /// Returns the path of a file in the prefix on this system.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.prefix.join(path)
    }

    /// Returns a command for a Windows program, with only the environment that Wine needs.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.program);
        let kept = ["HOME", "PATH", "WINEDEBUG", "WINEDLLOVERRIDES"];
        command
            .env_clear()
            .envs(
                kept.into_iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .env("WINEPREFIX", &self.prefix)
            .arg(program)
            .stderr(Stdio::inherit());
        command
    }
}

/// The agent's machine. Its folder has a space in its name, and is removed on drop.
#[derive(Debug)]
pub(crate) struct Machine {
    wine: Wine,
    agent: PathBuf,
    folder: tempfile::TempDir,
    id: String,
}

/// A running agent, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct WineAgent {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Machine {
    pub(crate) fn new(world: &World, agent: &Path, wine: Wine) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("Packcast story ")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(wine.prefix.join("drive_c/ProgramData"))
            .expect("Wine's prefix is complete and writable");
        let mut machine = Self {
            wine,
            agent: agent.to_owned(),
            folder,
            id: String::new(),
        };
        let token = &world.state().enrolment_token_file;
        fs::write(machine.config(), machine.configuration(world, token)).unwrap();
        let id = machine.ok(&["id"]).stdout;
        id.trim().clone_into(&mut machine.id);
        machine
    }

    /// Returns a configuration with this file for the enrolment token.
    pub(crate) fn configuration(&self, world: &World, token: &Path) -> String {
        let state = world.state();
        let trust = trust(&world.local_dir()).expect("packcast local creates a target id");
        format!(
            "server = 'https://{}'\nstate_dir = '{}'\nenrolment_token_file = '{}'\n\
             trust = '{trust}'\nca_file = '{}'\n",
            state.edge,
            self.name("state"),
            on_drive_z(token),
            on_drive_z(&state.ca_file),
        )
    }

    /// Returns the device id in the form that commands accept.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the Windows path of a file in the machine's folder.
    pub(crate) fn name(&self, path: &str) -> String {
        let folder = self.folder.path().file_name().unwrap().to_str().unwrap();
        format!(r"C:\ProgramData\{folder}\{}", path.replace('/', "\\"))
    }

    /// Returns the path of a file in the machine's folder on this system.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Returns the numbers of a package's fragments that are on disk, complete and verified.
    pub(crate) fn fragments(&self, package: PackageId) -> BTreeSet<u32> {
        let folder = self.path(&format!("state/packages/{package}/fragments"));
        let entries = fs::read_dir(folder).expect("the package is being downloaded");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Checks in once and completes the announced tasks.
    pub(crate) fn run(&self) -> Vec<Event> {
        let ran = self.ok(&["--format", "json", "run", "--once"]);
        ran.stdout.lines().map(event).collect()
    }

    /// Starts the agent like [`Machine::run`], without waiting for its end.
    pub(crate) fn start(&self) -> WineAgent {
        let mut command = self.command(&self.config(), &["--format", "json", "run", "--once"]);
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let stdout = process.stdout().expect("the output is piped");
        WineAgent {
            process,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// Runs the agent like [`Machine::run`], and returns its events. The agent may end with any exit
    /// code, and at the point that `fault` names.
    pub(crate) fn attempt(&self, fault: Option<&str>) -> Vec<Event> {
        let mut command = self.command(&self.config(), &["--format", "json", "run", "--once"]);
        command.envs(fault.map(|fault| ("PACKCAST_FAULT", fault)));
        Ran::of(&mut command).stdout.lines().map(event).collect()
    }

    /// Runs the agent with another configuration, and returns its exit code and output.
    pub(crate) fn run_with(&self, configuration: &str) -> Ran {
        let path = self.path("other.toml");
        fs::write(&path, configuration).unwrap();
        let mut command = self.command(&path, &["run", "--once"]);
        Ran::of(command.stderr(Stdio::piped()))
    }

    /// Runs the agent to its end.
    ///
    /// Wine's server kills a process that takes long to exit. Therefore a missing exit code is
    /// accepted; the output, the records and the files show the effects of the agent.
    fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = Ran::of(&mut self.command(&self.config(), arguments));
        assert!(matches!(ran.code, Some(0) | None), "{ran:#?}");
        ran
    }

    fn command(&self, config: &Path, arguments: &[&str]) -> Command {
        let mut command = self.wine.command(&self.agent);
        command
            .arg("--config")
            .arg(on_drive_z(config))
            .args(arguments);
        command
    }

    fn config(&self) -> PathBuf {
        self.path("agent.toml")
    }
}

impl WineAgent {
    /// Waits for the next event.
    pub(crate) fn next_event(&mut self) -> Event {
        let line = self.lines.next().expect("the agent runs");
        event(&line.expect("the output can be read"))
    }

    /// Waits for the end, and returns the remaining events.
    pub(crate) fn rest(self) -> Vec<Event> {
        let Self { process, lines } = self;
        let events = lines.map(|line| event(&line.unwrap())).collect();
        drop(process);
        events
    }

    /// Kills the agent like a power cut.
    pub(crate) fn kill(self) {
        self.process.kill();
    }
}

/// Returns Wine's path of a file on this system.
pub(crate) fn on_drive_z(path: &Path) -> String {
    format!("Z:{}", text(path).replace('/', "\\"))
}

fn event(line: &str) -> Event {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}
