//! A device, with a publisher of packages for it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::MutexGuard;

use packcast_agent::event::Event;
use packcast_protocol::api::{Report, Task};
use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::schema::Schema;
use packcast_protocol::state::{ActedUnder, CommitId, HighestCommit, TrustedRoots};
use packcast_protocol::{
    Action, Archive, ArchiveFormat, FragmentSize, Location, LocationName, Manifest, PackageId,
    Priority, Sha256Digest, UnixTime,
};
use rcgen::CertifiedKey;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

use crate::edge::{Commits, Edge, EdgeState, TOKEN};
use crate::proxy::Proxy;
use crate::publisher::{StatePublisher, unix_now};
use crate::signer::Signer;
#[cfg(target_os = "linux")]
use crate::skip::{Missing, skip};

/// A name without an address (RFC 2606).
const HIDDEN_NAME: &str = "packcast.invalid";

/// A device with the agent binary, and all its peers.
pub(crate) struct Lab {
    runtime: Runtime,
    key: CertifiedKey<rcgen::KeyPair>,
    /// The check-in function, and the first location of every package.
    pub(crate) edge: Edge,
    pub(crate) signer: Signer,
    /// The trust line of the configuration.
    trust: TrustedRoots,
    dir: tempfile::TempDir,
}

/// A location that refuses every connection while its port is held.
pub(crate) struct Dead {
    pub(crate) location: Location,
    _port: TcpSocket,
}

/// The content of a package, without its id.
pub(crate) struct Package {
    pub(crate) id: u32,
    pub(crate) archive: Option<Vec<u8>>,
    pub(crate) change: fn(&mut Manifest),
}

impl Package {
    fn manifest(&self, id: PackageId, action: Action<()>) -> Manifest {
        let describe = |bytes: &[u8]| {
            let fragments = bytes.chunks(1024).map(Sha256Digest::of).collect();
            let size = FragmentSize::try_from(1024).unwrap();
            let digest = Sha256Digest::of(bytes);
            Archive::new(
                ArchiveFormat::TarGz,
                bytes.len() as u64,
                digest,
                size,
                fragments,
            )
            .unwrap()
        };
        let archive = self.archive.as_deref();
        let mut manifest = Manifest {
            schema: Schema,
            id,
            name: "lab".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            priority: Priority::DEFAULT,
            action: action.map_archive(|()| describe(archive.unwrap())),
            platform: Platform::Any,
            success_codes: [0].into(),
            reboot_codes: [].into(),
            timeout_s: 60,
            rerun_after_interruption: false,
            expires: None,
            audience: Audience::Any,
        };
        (self.change)(&mut manifest);
        manifest
    }
}

const RUN: [&str; 4] = ["run", "--once", "--format", "json"];

pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) events: Vec<Event>,
    pub(crate) stderr: String,
}

impl Lab {
    /// Creates a device. The state of its target assigns all tasks to all devices.
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let key = certificate();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), key.cert.pem()).unwrap();
        let edge = runtime.block_on(Edge::start(&key));
        let signer = Signer::new();
        let target = StatePublisher::new(1, signer.clone());
        let trust = target.trust();
        let location = ("main".parse().unwrap(), edge.location());
        let mut world = edge.world();
        world.target = Some(target);
        world.commits = Commits::OfTasks { force: false };
        world.locations = [location].into();
        drop(world);
        let lab = Self {
            runtime,
            key,
            edge,
            signer,
            trust,
            dir,
        };
        lab.configure("");
        private_folder(&lab.state());
        lab
    }

    /// Creates a device, for whose target only the test makes commits.
    pub(crate) fn with_commits() -> Self {
        let lab = Self::new();
        lab.world().commits = Commits::OfTest;
        lab
    }

    /// Follows the signed state of a target from now on, and returns the one before.
    pub(crate) fn follow(&mut self, target: StatePublisher) -> Option<StatePublisher> {
        self.trust = target.trust();
        self.configure("");
        self.world().target.replace(target)
    }

    /// Writes the agent's configuration, with additional lines.
    pub(crate) fn configure(&self, lines: &str) {
        self.configure_for(&self.edge.address.to_string(), lines);
    }

    /// Writes the agent's configuration without an enrolment token.
    #[cfg(target_os = "linux")]
    pub(crate) fn configure_without_token(&self) {
        self.configure("");
        let path = self.dir.path().join("agent.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.contains("token"));
        std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    }

    fn configure_for(&self, server: &str, lines: &str) {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let mut text = String::new();
        let _ = writeln!(text, "server = \"https://{server}\"");
        let _ = writeln!(text, "state_dir = {:?}", path("state"));
        let _ = writeln!(text, "ca_file = {:?}", path("ca.pem"));
        let _ = writeln!(text, "enrolment_token_file = {:?}", path("token"));
        let _ = writeln!(text, "trust = \"{}\"", self.trust);
        text.push_str(lines);
        private(&self.dir.path().join("agent.toml"), &text);
        private(&self.dir.path().join("token"), TOKEN);
    }

    /// Gives the edge a name that only a proxy can resolve, and starts the proxy.
    pub(crate) fn behind_a_proxy(&self) -> Proxy {
        let server = format!("{HIDDEN_NAME}:{}", self.edge.address.port());
        self.configure_for(&server, "");
        self.set_location("main", server.parse().unwrap());
        self.runtime.block_on(Proxy::start(self.edge.address))
    }

    /// Gives the location of all tasks a host name without an IP address.
    pub(crate) fn hide_location(&self) {
        self.set_location("main", HIDDEN_NAME.parse().unwrap());
    }

    fn set_location(&self, name: &str, location: Location) {
        let name = name.parse().unwrap();
        self.world().locations.insert(name, location);
    }

    /// Adds a location to all tasks as the last one.
    fn add_location(&self, location: Location) {
        let mut world = self.world();
        let name: LocationName = format!("other-{}", world.locations.len()).parse().unwrap();
        for task in &mut world.tasks {
            task.locations.push(name.clone());
        }
        world.locations.insert(name, location);
    }

    /// Starts an edge that the agent trusts but does not know.
    pub(crate) fn other(&self) -> Edge {
        let other = self.runtime.block_on(Edge::start(&self.key));
        other.copy(&self.edge);
        other
    }

    /// Returns a file of the lab: `agent.toml`, `ca.pem`, `token`, or one of the test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the trust line of the configuration.
    pub(crate) fn trust(&self) -> String {
        self.trust.to_string()
    }

    /// Replaces the path of the lab and the address of the edge, which differ in each run.
    pub(crate) fn anonymous(&self, text: &str) -> String {
        let folder = self.dir.path().display().to_string();
        text.replace(&folder, "LAB")
            .replace(&self.edge.address.to_string(), "EDGE")
            .replace(&self.trust.target().to_string(), "TARGET")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, EdgeState> {
        self.edge.world()
    }

    /// Starts another location with the current objects of the first, and adds it to all tasks.
    pub(crate) fn second(&self) -> Edge {
        self.copy_at_the_end(&self.key)
    }

    /// Starts another location like [`Lab::second`], with an untrusted certificate.
    pub(crate) fn untrusted_second(&self) -> Edge {
        self.copy_at_the_end(&certificate())
    }

    /// Makes `location` the only one of all tasks.
    pub(crate) fn only(&self, location: &Location) {
        for task in &mut self.world().tasks {
            task.locations.clear();
        }
        self.add_location(location.clone());
    }

    fn copy_at_the_end(&self, key: &CertifiedKey<rcgen::KeyPair>) -> Edge {
        let second = self.runtime.block_on(Edge::start(key));
        second.copy(&self.edge);
        self.add_location(second.location());
        second
    }

    /// Adds an unreachable location to all tasks as the last one, and returns it.
    pub(crate) fn add_dead(&self) -> Dead {
        let port = TcpSocket::new_v4().unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.local_addr().unwrap();
        let location: Location = format!("{address}/objects").parse().unwrap();
        self.add_location(location.clone());
        Dead {
            location,
            _port: port,
        }
    }

    /// Reverses the order of the locations in all tasks.
    pub(crate) fn last_location_first(&self) {
        for task in &mut self.world().tasks {
            task.locations.reverse();
        }
    }

    /// Publishes a package, and adds a task for it.
    pub(crate) fn assign(&self, action: Action<()>, package: Package) -> PackageId {
        let id = PackageId::try_from(1_795_000_000 + package.id).unwrap();
        let manifest = package.manifest(id, action);
        let bytes = manifest.to_bytes().unwrap();
        let digest = Sha256Digest::of(&bytes);
        self.edge.put(&format!("{id}/manifest.json"), &[&bytes]);
        let archive = package.archive.unwrap_or_default();
        for (index, fragment) in archive.chunks(1024).enumerate() {
            self.edge
                .put(&format!("{id}/{id}-{}", index + 1), &[fragment]);
        }
        self.world().tasks.push(Task {
            id,
            attempt: 1,
            priority: manifest.priority,
            manifest_sha256: digest,
            locations: vec!["main".parse().unwrap()],
            folder: "objects".parse().unwrap(),
        });
        id
    }

    fn journal_path(&self, id: PackageId) -> PathBuf {
        self.state().join(format!("packages/{id}/journal"))
    }

    /// Writes the journal of a package in the agent's format.
    pub(crate) fn write_journal(&self, id: PackageId, json: &str) {
        let path = self.journal_path(id);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let line = format!("{} {json}\n", Sha256Digest::of(json.as_bytes()));
        std::fs::write(path, line).unwrap();
    }

    /// Writes the journal of an agent that stopped in the middle of the first attempt's action.
    pub(crate) fn write_acting(&self, id: PackageId, may_repeat: bool) {
        let key = self.signer.public();
        let under = ActedUnder {
            target: self.trust.target(),
            highest: HighestCommit {
                key: key.clone(),
                commit: CommitId {
                    number: 1,
                    digest: Sha256Digest::of(b"commit"),
                },
                // Later commits need not contain the commit.
                until: UnixTime(0),
            },
            list: 1,
            root: key,
        };
        let journal = serde_json::json!({
            "stage": "acting",
            "attempt": 1,
            "package": { "name": "lab", "version": "1.0" },
            "may_repeat": may_repeat,
            "permission": { "mandates": [], "under": under },
        });
        self.write_journal(id, &journal.to_string());
    }

    /// Cuts off the journal of a package.
    pub(crate) fn tear_journal(&self, id: PackageId) {
        let path = self.journal_path(id);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    }

    /// Moves the start of the attempt under way this many days into the past.
    pub(crate) fn begun_days_ago(&self, id: PackageId, days: u64) {
        let mut journal = self.read_journal(id);
        journal["since"] = (unix_now() - days * 86_400).into();
        self.write_journal(id, &journal.to_string());
    }

    /// Moves the start of the program under way this many seconds into the past.
    #[cfg(target_os = "linux")]
    pub(crate) fn program_began_earlier(&self, id: PackageId, seconds: u64) {
        let mut journal = self.read_journal(id);
        let since = &mut journal["program"]["since"];
        *since = (since.as_u64().unwrap() - seconds).into();
        self.write_journal(id, &journal.to_string());
    }

    fn read_journal(&self, id: PackageId) -> serde_json::Value {
        let line = std::fs::read_to_string(self.journal_path(id)).unwrap();
        let (_, json) = line.split_once(' ').unwrap();
        serde_json::from_str(json).unwrap()
    }

    pub(crate) fn agent(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packcast-agent"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.dir.path().join("agent.toml"))
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("RUST_LOG");
        command
    }

    pub(crate) fn run(&self) -> Run {
        self.run_with(&[])
    }

    /// Runs the agent once with these environment variables.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)]) -> Run {
        let mut command = self.command(&RUN);
        Self::ended(&command.envs(variables.iter().copied()).output().unwrap())
    }

    /// Runs the agent once, as `"$@"` of a shell in a mount namespace of its own.
    ///
    /// Returns `None` if users may not mount; the test is then skipped.
    #[cfg(target_os = "linux")]
    pub(crate) fn run_where_it_can_mount(&self, script: &str) -> Option<Run> {
        let unshare = |command: &mut Command| {
            command.args(["--map-root-user", "--mount", "sh", "-e", "-c"]);
        };
        let mut probe = Command::new("unshare");
        unshare(&mut probe);
        let may = probe.arg("mount -t tmpfs none /mnt").output();
        if !may.is_ok_and(|output| output.status.success()) {
            skip(Missing::Optional("mounting as a user"));
            return None;
        }
        let agent = self.command(&RUN);
        let mut command = Command::new("unshare");
        unshare(&mut command);
        command.args([script, "sh"]).arg(agent.get_program());
        command.args(agent.get_args());
        command.env("NO_PROXY", "127.0.0.1").env_remove("RUST_LOG");
        Some(Self::ended(&command.output().unwrap()))
    }

    fn ended(output: &Output) -> Run {
        let lines = String::from_utf8(output.stdout.clone()).unwrap();
        Run {
            code: output.status.code().unwrap(),
            events: lines
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// Runs the agent once, and returns its only report.
    pub(crate) fn result(&self) -> Report {
        let run = self.run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        let mut world = self.world();
        assert_eq!(world.reports.len(), 1, "{}", run.stderr);
        world.reports.remove(0)
    }
}

fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    let names = ["127.0.0.1", HIDDEN_NAME].map(ToOwned::to_owned);
    rcgen::generate_simple_self_signed(names).unwrap()
}

#[cfg(unix)]
fn private_folder(path: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(path).unwrap();
}

#[cfg(not(unix))]
fn private_folder(path: &Path) {
    std::fs::create_dir(path).unwrap();
}

#[cfg(unix)]
fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
