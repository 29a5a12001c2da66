//! A fleet of 200 devices, with packages that succeeded, failed and are open on them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use packcast_check_in::{CheckInFunction, FunctionSettings};
use packcast_protocol::{PackageId, UnixTime};
use packcast_publisher::local;
use packcast_rollout::PackageRecord;
use packcast_store::{Records, RecordsConfig};
use packcast_testing::peer::{Peer, PeerResult};
use packcast_tests::settings::settings;
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;
use tokio::runtime::Runtime;

use crate::terminal;

pub(super) const DEVICES: usize = 200;
const DAY_S: u64 = 24 * 3_600;
const UNIX: (&str, &str) = ("Debian GNU/Linux 12", "OCS-NG_unified_unix_agent_v2.10.0");
const WINDOWS: (&str, &str) = ("Microsoft Windows 11", "OCS-NG_WINDOWS_AGENT_v2.11.0.1");
const STAMP: &str = "2026-03-04-05-06-07";
/// The time at which pc001 was installed again.
const REINSTALLED: &str = "2026-11-02-08-00-00";

/// The number of simulated web servers.
const WEB: u32 = 18;

/// The result codes of `patch@1` on devices where it failed, and the last lines of its output.
pub(super) const LOCKED: &str = "EXIT_CODE_100";
pub(super) const FULL: &str = "EXIT_CODE_28";
const APT: &str = "E: Could not get lock /var/lib/dpkg/lock. It is held by process 4711 (apt)";
const DISK: &str = "cp: error writing /opt/tool.bin: No space left on device";

/// The devices of a company, and their administrator.
pub(super) struct Fleet {
    pub(super) world: World,
    /// A device of the group `web` that runs the real agent, as [`Fleet::late`] does.
    pub(super) real: TestDevice,
    /// A device of the group `web` that has not deployed anything.
    pub(super) late: TestDevice,
    /// The other devices by their ids: simulated agents of both kinds.
    peers: BTreeMap<String, Peer>,
    function: CheckInFunction,
    runtime: Runtime,
}

impl Fleet {
    /// Starts a local system, and lets all devices check in: the last ones of the office 45 and 120
    /// days ago.
    pub(super) fn start(program: &Path) -> Self {
        let world = World::start(program.to_str().expect("a path in UTF-8"));
        terminal::install(&world, program);
        let runtime = Runtime::new().expect("a runtime can be created");
        let state = world.state();
        let records = runtime.block_on(Records::connect(RecordsConfig {
            table: state.table.clone(),
            endpoint: Some(state.endpoint.clone()),
            ..RecordsConfig::default()
        }));
        let function = CheckInFunction::new(
            records,
            FunctionSettings {
                trust: local::trust(&world.local_dir()).expect("the target has a trust line"),
                group_cache_s: 0,
                ..settings()
            },
        );
        let mut fleet = Self {
            real: world.device("real"),
            late: world.device("late"),
            world,
            peers: BTreeMap::new(),
            function,
            runtime,
        };
        for number in 1..=WEB {
            fleet.enrol_web(number);
        }
        for number in 1..=150 {
            let days = match number {
                1 => 20,
                139..=145 => 45,
                146..=150 => 120,
                _ => 0,
            };
            fleet.enrol_ocs(&pc(number, STAMP), UNIX, days);
        }
        fleet.enrol_ocs(&pc(1, REINSTALLED), UNIX, 0);
        for number in 1..=29 {
            fleet.enrol_ocs(&format!("win{number:02}-{STAMP}"), WINDOWS, 0);
        }
        assert_eq!(fleet.ids().len(), DEVICES);
        fleet
    }

    /// Publishes packages, assigns them, and lets most devices report results.
    pub(super) fn deploy(&self) {
        self.publish_store("editor", "2.0", 2_100_000);
        self.publish_store("fonts", "7", 3_000_000);
        self.publish_store("editor", "1.9", 1_000_000);
        self.world.execute("patch", "echo patched");
        self.world.execute("hello", "echo hello");
        for version in ["1.0", "2.0"] {
            self.publish(&[
                "tool",
                version,
                "echo a tool of version $PACKCAST_PACKAGE_VERSION",
            ]);
        }
        self.publish(&["vlc", "3.0.21", "apt-get -y install vlc"]);
        let office: Vec<u32> = (2..=100).collect();
        self.group("office", office.iter().map(|number| pc_id(*number)));
        self.group("office", [format!("ocs:{}", pc(1, REINSTALLED))]);
        self.group("lab", (101..=105).map(pc_id));
        let web = self.web().map(|(id, _)| id.clone());
        let own = [&self.real, &self.late].map(|device| device.id().to_owned());
        self.group("web", web.chain(own));
        let real = self.real.id();
        for (package, assignee) in [
            ("editor@2.0", ["--group", "office"]),
            ("vlc@3.0.21", ["--group", "lab"]),
            ("patch@1", ["--group", "web"]),
            ("tool@2.0", ["--device", real]),
        ] {
            self.world
                .ok(&[&["assign", package], &assignee[..]].concat());
        }
        let editor = self.package("editor@2.0");
        for number in office {
            let code = match number {
                ..82 => Some("SUCCESS"),
                82..88 => Some("ERR_OUT_OF_SPACE"),
                88..91 => Some("ERR_UNZIP"),
                _ => None,
            };
            self.deploy_on(&pc_id(number), editor, code);
        }
        let reinstalled = format!("ocs:{}", pc(1, REINSTALLED));
        self.deploy_on(&reinstalled, editor, Some("SUCCESS"));
        self.in_lab(self.package("vlc@3.0.21"));
        let patch = self.package("patch@1");
        for (id, peer) in self.web() {
            let code = match failure(peer.host_name()) {
                Some((code, _)) => code,
                None => "SUCCESS",
            };
            self.deploy_on(id, patch, Some(code));
        }
        self.real.run();
    }

    /// Lets the devices of the lab check in, and report a success.
    pub(super) fn in_lab(&self, package: PackageId) {
        for number in 101..=105 {
            self.deploy_on(&pc_id(number), package, Some("SUCCESS"));
        }
    }

    /// Lets a device check in, and report a result if there is one.
    fn deploy_on(&self, id: &str, package: PackageId, code: Option<&'static str>) {
        let (peer, now) = (&self.peers[id], now());
        let mut announced = Vec::new();
        // An agent lacks parts of a new state, and asks for them at once.
        while announced.is_empty() || peer.asks_again() {
            let reply = self.ask(peer.check_in(&[], now), now);
            announced = peer.read_reply(&reply).tasks;
        }
        let packages: Vec<PackageId> = announced.iter().map(|(package, _)| *package).collect();
        assert_eq!(packages, [package], "{id}");
        let result = code.map(|code| PeerResult {
            package,
            attempt: 1,
            code,
        });
        for report in peer.reports(result.as_slice(), now) {
            self.ask(report, now);
        }
    }

    /// Lets the simulated web servers check in. Returns the number of packages that they get.
    pub(super) fn announced_on_web(&self) -> usize {
        let now = now();
        let announced = self.web().map(|(_, peer)| {
            let mut announced = 0;
            loop {
                let reply = self.ask(peer.check_in(&[], now), now);
                announced += peer.read_reply(&reply).tasks.len();
                // An agent lacks parts of a new state, and asks for them at once.
                if !peer.asks_again() {
                    return announced;
                }
            }
        });
        announced.sum()
    }

    pub(super) fn package(&self, name: &str) -> PackageId {
        let package: PackageRecord = self.world.json(&["show", name]);
        package.id
    }

    /// Returns the ids of all devices.
    pub(super) fn ids(&self) -> BTreeSet<String> {
        let own = [&self.real, &self.late].map(|device| device.id().to_owned());
        self.peers.keys().cloned().chain(own).collect()
    }

    /// Returns the ids of the web servers on which `patch@1` fails with this result code.
    pub(super) fn failed(&self, code: &str) -> BTreeSet<String> {
        let failed = self
            .web()
            .filter(|(_, peer)| failure(peer.host_name()).is_some_and(|(found, _)| found == code));
        failed.map(|(id, _)| id.clone()).collect()
    }

    /// Returns the simulated devices of the group `web`.
    fn web(&self) -> impl Iterator<Item = (&String, &Peer)> {
        self.peers.iter().filter(|(_, peer)| !peer.is_ocs())
    }

    fn enrol_web(&mut self, number: u32) {
        let host = format!("web{number:02}");
        let trust = local::trust(&self.world.local_dir()).expect("the target has a trust line");
        let output = failure(&host).map_or("patched", |(_, output)| output);
        let peer = Peer::packcast_on(number, &host, trust).printing(output);
        let at = now();
        let reply = self.ask(peer.check_in(&[], at), at);
        peer.read_reply(&reply);
        self.peers.insert(peer.device().to_string(), peer);
    }

    /// Sends the first check-in and the inventory of a device, a number of days ago.
    fn enrol_ocs(&mut self, device_id: &str, (os, agent): (&str, &str), days: u64) {
        let at = UnixTime(now().0 - days * DAY_S);
        let peer = Peer::ocs_on(device_id, os, agent);
        self.ask(peer.check_in(&[], at), at);
        self.ask(peer.inventory().expect("an OCS agent sends one"), at);
        self.peers.insert(peer.device().to_string(), peer);
    }

    fn ask(&self, request: http::Request<bytes::Bytes>, at: UnixTime) -> bytes::Bytes {
        let reply = self.runtime.block_on(self.function.handle(request, at));
        assert_eq!(reply.status(), http::StatusCode::OK);
        reply.into_body()
    }

    /// Publishes a command as an active package.
    fn publish(&self, [name, version, command]: &[&str; 3]) {
        self.world.ok(&[
            "publish",
            "--name",
            name,
            "--version",
            version,
            "--action",
            "execute",
            "--platform",
            "linux",
            "--command",
            command,
            "--activate",
        ]);
    }

    /// Publishes a file of this size as an active package.
    fn publish_store(&self, name: &str, version: &str, bytes: usize) {
        let folder = self.world.path(&format!("{name}-{version}"));
        fs::create_dir(&folder).expect("the folder is new");
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
            .take(bytes)
            .collect();
        fs::write(Path::new(&folder).join("content"), noise).expect("the folder is writable");
        self.world.ok(&[
            "publish",
            &folder,
            "--name",
            name,
            "--version",
            version,
            "--action",
            "store",
            "--path",
            "/opt/content",
            "--activate",
        ]);
    }

    /// Adds devices to a group, which the first call creates.
    fn group(&self, name: &str, devices: impl IntoIterator<Item = String>) {
        let lines: String = devices.into_iter().map(|id| id + "\n").collect();
        let list = self.world.file(&format!("{name}.txt"), lines.as_bytes());
        let groups: Vec<serde_json::Value> = self.world.json(&["group", "list"]);
        if !groups.iter().any(|group| group["group"] == name) {
            self.world.ok(&["group", "create", name]);
        }
        self.world.ok(&["group", "add", name, "--from", &list]);
    }
}

/// Returns result code and output of `patch@1` on a device; `None` if it succeeds.
fn failure(host: &str) -> Option<(&'static str, &'static str)> {
    match host {
        "web02" | "web03" | "web04" | "web05" => Some((LOCKED, APT)),
        "web06" | "web07" => Some((FULL, DISK)),
        _ => None,
    }
}

fn pc(number: u32, stamp: &str) -> String {
    format!("pc{number:03}-{stamp}")
}

/// Returns the id of a device of the office or the lab.
pub(super) fn pc_id(number: u32) -> String {
    format!("ocs:{}", pc(number, STAMP))
}

pub(super) fn now() -> UnixTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(now.expect("the clock is past 1970").as_secs())
}
