//! The measured servers, with the same devices and packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_tests::measure;
use packcast_tests::process::Ran;
use packcast_tests::world::World;

use crate::load::Load;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");
const OCS_SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/ocs-server");
/// Number of packages that each device is told of.
pub(crate) const PACKAGES: usize = 10;

/// A running server; dropping it stops it.
#[derive(Debug)]
pub(crate) struct MeasuredServer {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    /// The processes of the server; their descendants count as well.
    pub(crate) processes: Vec<u32>,
    _running: ServerGuard,
}

#[derive(Debug)]
enum ServerGuard {
    Packcast { _world: Box<World> },
    Ocs { _server: OcsServer },
}

impl MeasuredServer {
    /// Starts `packcast local`, assigns ten packages to all devices, and lets each device check in for
    /// the first time.
    pub(crate) fn packcast(program: &str, load: &Load, devices: u32) -> Self {
        let world = World::start(program);
        for number in 1..=PACKAGES {
            world.execute(&format!("package{number}"), "true");
            world.ok(&["assign", &format!("package{number}@1"), "--all"]);
        }
        let state = world.state();
        let token = state.ocs_path_token.reveal();
        let address = format!("https://{}/ocsinventory/{token}", state.edge);
        let processes = vec![state.pid];
        load.enrol(&address);
        let announced = world.progress("package1@1").announced;
        assert_eq!(announced, u64::from(devices), "every device has the task");
        Self {
            name: "Packcast",
            address,
            processes,
            _running: ServerGuard::Packcast {
                _world: Box::new(world),
            },
        }
    }

    /// Starts the OCS server with the same packages; returns `None`, and prints a hint, if it is missing.
    pub(crate) fn ocs(load: &Load, devices: u32, folder: &Path) -> Option<Self> {
        let missing = Ran::of(Command::new(OCS_SERVER).arg("missing")).expect_code(0);
        if !missing.stdout.is_empty() {
            measure::skipped("the OCS server", "tests/bench/ocs-server install");
            return None;
        }
        let (server, address) = OcsServer::start(devices, folder.join("ocs-server"));
        load.enrol(&address);
        Some(Self {
            name: "OCS server",
            address,
            processes: server.processes(),
            _running: ServerGuard::Ocs { _server: server },
        })
    }
}

#[derive(Debug)]
struct OcsServer {
    folder: PathBuf,
}

impl OcsServer {
    fn start(devices: u32, folder: PathBuf) -> (Self, String) {
        let server = Self { folder };
        let mut up = Command::new(OCS_SERVER);
        up.arg("up").arg(&server.folder).arg(devices.to_string());
        let address = Ran::of(&mut up).expect_code(0).stdout.trim().to_owned();
        (server, address)
    }

    fn processes(&self) -> Vec<u32> {
        let id = |name: &str| {
            let id = fs::read_to_string(self.folder.join(name))
                .expect("a running server has a pid file");
            id.trim().parse().expect("a process id is a number")
        };
        vec![id("apache.pid"), id("mariadb.pid")]
    }
}

impl Drop for OcsServer {
    fn drop(&mut self) {
        // The server may not have started.
        let _ = Command::new(OCS_SERVER)
            .arg("down")
            .arg(&self.folder)
            .status();
    }
}
