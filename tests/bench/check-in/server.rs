//! The servers that are measured, each with the same devices and packages.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_tests::process::Ran;
use packcast_tests::world::World;

use crate::load::Load;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");
const STOCK_SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/ocs-server");
const PACKAGES: u32 = 10;

/// A running server; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    /// Those that others are descendants of.
    pub(crate) processes: Vec<u32>,
    _running: Running,
}

#[derive(Debug)]
enum Running {
    Packcast { _world: Box<World> },
    Stock { _stock: OcsServer },
}

impl Server {
    /// Starts `packcast local`, gives every device ten packages, and lets each make its first
    /// contact.
    pub(crate) fn packcast(load: &Load, devices: u32) -> Self {
        let world = World::start(PROGRAM);
        for number in 1..=PACKAGES {
            world.execute(&format!("package{number}"), "true");
            world.ok(&["assign", &format!("package{number}@1"), "--all"]);
        }
        let state = world.state();
        let token = state.ocs_path_token.reveal();
        let address = format!("https://{}/ocsinventory/{token}", state.edge);
        let processes = vec![state.pid];
        load.enrol(&address);
        let told = world.progress("package1@1").announced;
        assert_eq!(told, u64::from(devices), "not every device was told");
        Self {
            name: "Packcast",
            address,
            processes,
            _running: Running::Packcast {
                _world: Box::new(world),
            },
        }
    }

    /// Does the same with the stock server; without one, says how to get it.
    pub(crate) fn stock(load: &Load, devices: u32, folder: &Path) -> Option<Self> {
        let missing = Ran::of(Command::new(STOCK_SERVER).arg("missing")).expect_code(0);
        if !missing.stdout.is_empty() {
            let how = "there is no stock server: 'tests/bench/ocs-server install' gets it";
            // Standard error may be closed.
            let _ = writeln!(std::io::stderr(), "{how}");
            return None;
        }
        let (stock, address) = OcsServer::start(devices, folder.join("ocs-server"));
        load.enrol(&address);
        Some(Self {
            name: "OCS server",
            address,
            processes: stock.processes(),
            _running: Running::Stock { _stock: stock },
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
        let mut up = Command::new(STOCK_SERVER);
        up.arg("up").arg(&server.folder).arg(devices.to_string());
        let address = Ran::of(&mut up).expect_code(0).stdout.trim().to_owned();
        (server, address)
    }

    fn processes(&self) -> Vec<u32> {
        let id = |name: &str| {
            let id = fs::read_to_string(self.folder.join(name)).expect("a running server has one");
            id.trim().parse().expect("a process id is a number")
        };
        vec![id("apache.pid"), id("mariadb.pid")]
    }
}

impl Drop for OcsServer {
    fn drop(&mut self) {
        // It may not have come up.
        let _ = Command::new(STOCK_SERVER)
            .arg("down")
            .arg(&self.folder)
            .status();
    }
}
