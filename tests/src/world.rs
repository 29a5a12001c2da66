//! The real program in a temporary directory: `packcast local`, its administrator and its devices.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use packcast_local::{LocalAuthority, LocalState, ServerIdentity};
use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::{DeviceRecord, FinishedTask, OpenTask, PackageRecord};
use packcast_store::{ObjectKey, Records, RecordsConfig};
use packcast_testing::load::load;
use packcast_testing::policy::Policy;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::runtime::Runtime;

use self::device::TestDevice;
use crate::front::Front;
use crate::process::{Process, Ran, eventually, text};
use crate::relay::Relay;

pub mod device;

/// A running system that shares nothing with the machine that it runs on.
///
/// The administrator's commands reach the table through the policy of a publisher.
#[derive(Debug)]
pub struct World {
    /// Dropped first, so that nothing writes to the directory while it is removed.
    local: RunningLocal,
    program: PathBuf,
    place: tempfile::TempDir,
}

/// A running `packcast local`.
#[derive(Debug)]
struct RunningLocal {
    process: Process,
    state: LocalState,
    /// The table as the administrator's commands reach it.
    table: Front,
}

/// The JSON output of `publish`.
#[derive(Debug, Deserialize)]
pub struct PublishOutput {
    pub package: PackageRecord,
    pub resumed: bool,
    pub kept: ReusedFragments,
}

/// The parts of a [`PublishOutput`] that were not uploaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ReusedFragments {
    pub fragments: u32,
    pub bytes: u64,
}

/// The JSON output of `device`: a device and its packages.
#[derive(Debug, Deserialize)]
pub struct DeviceOutput {
    pub device: DeviceRecord,
    #[serde(deserialize_with = "open_tasks")]
    pub open: Vec<OpenTask>,
    pub finished: Vec<FinishedTask>,
}

/// Reads open tasks from the output, which calls a task `waiting` that is `held` in the table.
fn open_tasks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OpenTask>, D::Error> {
    let tasks = Vec::<Value>::deserialize(deserializer)?;
    let tasks = tasks.into_iter().map(|mut task| {
        let state = &mut task["state"]["state"];
        assert_ne!(*state, "held", "the output has no word of the table");
        if *state == "waiting" {
            *state = "held".into();
        }
        serde_json::from_value(task).map_err(D::Error::custom)
    });
    tasks.collect()
}

/// The JSON output of `status` for a package.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct StatusOutput {
    pub state: String,
    pub assigned: u64,
    pub waiting: u64,
    pub announced: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub cancelled: u64,
}

/// A line of the edge's access log.
#[derive(Debug, Deserialize)]
pub struct LoggedRequest {
    pub method: String,
    pub path: String,
}

impl World {
    /// Starts `packcast local` and waits until it runs. `program` is the program under test.
    pub fn start(program: &str) -> Self {
        Self::start_with(program, &[], |_| {})
    }

    /// Starts `packcast local` with these variables in its environment, after `prepare` has written
    /// files into the world's folder.
    pub fn start_with(
        program: &str,
        environment: &[(&str, &str)],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let place = tempfile::tempdir().expect("a temporary folder can be created");
        let program = PathBuf::from(program);
        fs::create_dir(place.path().join("tmp")).expect("a new folder is writable");
        prepare(place.path());
        Self {
            local: start(&program, place.path(), environment),
            program,
            place,
        }
    }

    /// Kills `packcast local` like a power cut, and starts it again.
    pub fn restart(&mut self) {
        self.local.process.end();
        self.start_again();
    }

    /// Stops `packcast local`, loads records straight into its engine (see [`load`]), and starts it
    /// again.
    pub fn load(&mut self, write: impl AsyncFnOnce(&Records)) {
        self.local.process.end();
        let runtime = Runtime::new().expect("a runtime can be created");
        let file = self.local_dir().join("records.db");
        runtime.block_on(load(&file, &self.local.state.table, write));
        self.start_again();
    }

    fn start_again(&mut self) {
        // The state of the old process must not be mistaken for that of the new one.
        let left = fs::remove_file(self.local_dir().join("local.json"));
        left.expect("a power cut leaves the state");
        self.local = start(&self.program, self.place.path(), &[]);
    }

    /// Returns the store of the world's records, which its engine answers without a proxy.
    pub async fn records(&self) -> Records {
        let state = self.state();
        Records::connect(RecordsConfig {
            table: state.table.clone(),
            endpoint: Some(state.endpoint.clone()),
            ..RecordsConfig::default()
        })
        .await
    }

    /// Returns the section of `packcast.toml` for a target that is the world's table behind another
    /// address, such as `http://127.0.0.1:8000`.
    pub fn target_at(&self, name: &str, endpoint: &str) -> String {
        let state = self.state();
        let folder = self.local_dir();
        format!(
            "[target.{name}]\ntable = {:?}\nendpoint = {endpoint:?}\ndirectory = {:?}\nkey_file = {:?}\n",
            state.table,
            text(&state.objects_dir),
            text(&folder.join("packcast.key")),
        )
    }

    pub fn state(&self) -> &LocalState {
        &self.local.state
    }

    /// Returns the proxy between the administrator's commands and the table.
    pub const fn table(&self) -> &Front {
        &self.local.table
    }

    /// Returns the folder that contains everything of this world.
    pub fn directory(&self) -> &Path {
        self.place.path()
    }

    /// Returns a new certificate of the world's authority, which the world's agents trust.
    pub fn server_identity(&self) -> ServerIdentity {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = UnixTime(now.expect("the clock is past 1970").as_secs());
        let authority = LocalAuthority::load_or_create(&self.local_dir(), now);
        let authority = authority.expect("packcast local has an authority");
        let identity = authority.issue_server_identity(now);
        identity.expect("the authority issues certificates for loopback")
    }

    /// Returns the state directory of `packcast local`.
    pub fn local_dir(&self) -> PathBuf {
        local_dir(self.directory())
    }

    /// Writes the administrator's `packcast.toml`.
    ///
    /// Its targets are other names of the world's table, so they share the memory of its commits.
    pub fn configure(&self, config: &str) {
        let sections = config.lines().filter_map(|line| {
            let name = line.strip_prefix("[target.")?;
            name.strip_suffix(']')
        });
        for target in sections {
            self.share_memory(target);
        }
        self.configure_machine(config);
    }

    /// Writes a `packcast.toml` whose targets another machine has created: nothing is known of their
    /// commits.
    pub fn configure_machine(&self, config: &str) {
        let file = self.config_file();
        let folder = file.parent().expect("the file is in a folder");
        fs::create_dir_all(folder).expect("the folder can be created");
        fs::write(file, config).expect("the folder is writable");
    }

    fn share_memory(&self, target: &str) {
        let folder = self.local_dir().with_file_name(target);
        if !folder.exists() {
            let linked = symlink(self.local_dir(), folder);
            linked.expect("the world's folder is writable");
        }
    }

    /// Returns the path of the administrator's `packcast.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.directory().join("config/packcast/packcast.toml")
    }

    /// Writes a file into the world's folder and returns its path.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.directory().join(name);
        fs::write(&path, content).expect("the test's folder is writable");
        text(&path).to_owned()
    }

    /// Returns a path in the world's folder; the file need not exist.
    pub fn path(&self, name: &str) -> String {
        text(&self.directory().join(name)).to_owned()
    }

    /// Returns a command of the program under test, with a clean environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clean(&self.program, self.directory());
        command.args(arguments);
        command
    }

    /// Runs a command, which has to succeed.
    pub fn ok(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments)).expect_code(0)
    }

    /// Runs a command, which has to succeed, and reads its JSON output.
    pub fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let ran = self.ok(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
    }

    /// Runs a command, which has to be refused with this exit code, and returns its message.
    pub fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let ran = Ran::of(&mut self.command(arguments)).expect_code(code);
        assert_eq!(ran.stdout, "", "a refused command has no result");
        ran.stderr
    }

    /// Publishes a package `name@1`, without activating it.
    pub fn publish(&self, name: &str, arguments: &[&str]) -> PublishOutput {
        let named = ["publish", "--name", name, "--version", "1"];
        self.json(&[&named, arguments].concat())
    }

    /// Publishes and activates a package `name@1` that runs a shell command.
    pub fn execute(&self, name: &str, command: &str) -> PackageId {
        let action = ["--action", "execute", "--command", command, "--activate"];
        self.publish(name, &action).package.id
    }

    /// Publishes and activates a package `name@1` that runs a shell command. Its only location is a new
    /// one, `site`, which the test can cut off.
    pub fn execute_at_site(&self, name: &str, command: &str) -> Relay {
        let site = Relay::to(self.state().edge);
        self.ok(&["location", "add", "site", &site.address().to_string()]);
        let action = ["--action", "execute", "--command", command];
        self.publish(name, &action);
        self.ok(&["activate", &format!("{name}@1"), "--location", "site"]);
        site
    }

    /// Returns a device that has checked in once.
    pub fn device(&self, name: &str) -> TestDevice {
        TestDevice::enrol(self, name)
    }

    /// Returns a device that has not checked in.
    pub fn unenrolled_device(&self, name: &str) -> TestDevice {
        TestDevice::new(self, name)
    }

    /// Assigns a package to a device that does not have it yet.
    pub fn assign(&self, package: &str, device: &TestDevice) {
        let ran = self.ok(&["assign", package, "--device", device.id()]);
        assert!(ran.stdout.contains("assigned"), "{ran:#?}");
    }

    pub fn packages(&self) -> Vec<PackageRecord> {
        self.json(&["list"])
    }

    /// Returns the progress of a package, which must be the only one in the output.
    pub fn progress(&self, package: &str) -> StatusOutput {
        let mut all: Vec<StatusOutput> = self.json(&["status", package]);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    pub fn device_state(&self, device: &TestDevice) -> DeviceOutput {
        self.device_state_of(device.id())
    }

    /// Returns the state of a device with any kind of agent.
    pub fn device_state_of(&self, device: &str) -> DeviceOutput {
        self.json(&["device", "show", device])
    }

    /// Returns the result of the only package that a device has finished.
    pub fn result(&self, device: &TestDevice) -> FinishedTask {
        let mut finished = self.device_state(device).finished;
        assert_eq!(finished.len(), 1, "{finished:#?}");
        finished.remove(0)
    }

    /// Returns the file in which the publisher stores an object.
    pub fn object(&self, key: &ObjectKey) -> PathBuf {
        self.state().objects_dir.join(key.path())
    }

    /// Returns all requests that the edge has answered or is answering.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        let log = fs::read_to_string(&self.state().edge_log).expect("the edge has a log");
        // A write is not atomic for its readers: the last line may not be whole.
        let whole = log.rfind('\n').map_or("", |end| &log[..=end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of the log is JSON"))
            .collect()
    }
}

fn start(program: &Path, place: &Path, environment: &[(&str, &str)]) -> RunningLocal {
    // A system that starts again needs its port, which another test may have got meanwhile.
    let (process, state) = eventually("packcast local has its port", || {
        try_start(program, place, environment)
    });
    RunningLocal {
        table: put_before_commands(Policy::of_publisher(), &state, place),
        process,
        state,
    }
}

/// Starts `packcast local`, and waits until it runs. Returns `None` if its port is in use.
fn try_start(
    program: &Path,
    place: &Path,
    environment: &[(&str, &str)],
) -> Option<(Process, LocalState)> {
    let log = fs::File::create(place.join("local.log")).expect("the folder is writable");
    let mut local = Process::start(
        clean(program, place)
            .arg("local")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log),
    );
    let state_dir = local_dir(place);
    let state = eventually("packcast local runs", || {
        // Asked first, so that the log of a process that has ended is complete.
        let ended = local.ended();
        let log = fs::read_to_string(place.join("local.log")).unwrap_or_default();
        if let Some(status) = ended {
            // Fails at once instead of waiting for a process that has ended.
            let is_taken = log.contains("cannot listen on 127.0.0.1:");
            assert!(is_taken, "packcast local stopped: {status}: {log}");
            return Some(None);
        }
        // The last line of the start: from here on the signed state has the location, too. The state is
        // read afterwards, because reading holds the lock that the start needs.
        let runs = log.contains("running; stop with Ctrl-C");
        let state = runs.then(|| LocalState::load(&state_dir));
        state.map(|state| Some(state.expect("a running system has a state")))
    });
    Some((local, state?))
}

/// Puts a policy between the administrator's commands and the table.
///
/// The commands read the address of the table from the file that `packcast local` has written.
fn put_before_commands(policy: Policy, state: &LocalState, place: &Path) -> Front {
    let engine = state.endpoint.strip_prefix("http://");
    let engine = engine.and_then(|address| address.parse().ok());
    let front = Front::under(policy, engine.expect("the engine is on loopback"));
    let behind = LocalState {
        endpoint: format!("http://{}", front.address()),
        ..state.clone()
    };
    let text = serde_json::to_vec(&behind).expect("the state is JSON");
    // The file keeps its mode, and no command runs yet.
    let written = fs::write(local_dir(place).join("local.json"), text);
    written.expect("the world's folder is writable");
    front
}

/// Returns the state directory of `packcast local` in the folder of a world.
pub fn local_dir(place: &Path) -> PathBuf {
    place.join("state/packcast/local")
}

/// Returns a command with this folder as its home, without access to other settings of the machine.
pub fn clean(program: &Path, place: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", place)
        .env("XDG_CONFIG_HOME", place.join("config"))
        .env("XDG_STATE_HOME", place.join("state"))
        .env("XDG_DATA_HOME", place.join("data"))
        .env("XDG_CACHE_HOME", place.join("cache"))
        .env("TMPDIR", place.join("tmp"))
        .current_dir(place);
    command
}
