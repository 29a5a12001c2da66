//! The engine that stands in for S3: s3s-fs, which keeps objects as files.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use packcast_tests::cpu;
use packcast_tests::process::{Process, eventually, text};
use packcast_tests::world::World;

/// The key id and the secret key, with which the publisher signs its requests on loopback.
pub(crate) const KEY: &str = "local";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const BUCKET: &str = "bench";

#[derive(Debug)]
pub(crate) struct Engine {
    process: Process,
    folder: PathBuf,
    address: SocketAddr,
}

impl Engine {
    /// Starts the engine with an empty bucket.
    pub(crate) fn start(program: &Path, world: &World) -> io::Result<Self> {
        let folder = world.directory().join("s3");
        fs::create_dir_all(folder.join(BUCKET))?;
        // The port is free again when the engine starts.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(program);
        command
            .args(["--access-key", KEY, "--secret-key", KEY])
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .arg(&folder)
            .env("RUST_LOG", "off");
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        eventually("the engine answers", || TcpStream::connect(address).ok());
        Ok(Self {
            process,
            folder,
            address,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the processor time that the engine has used.
    pub(crate) fn cpu(&self) -> Duration {
        cpu::used_by(&[self.process.id()])
    }

    /// Returns the folder with the objects of the bucket.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.join(BUCKET)
    }

    /// Adds a target `cloud` to the world, with its table and this bucket.
    pub(crate) fn configure(&self, world: &World) {
        let state = world.state();
        world.configure(&format!(
            "[target.cloud]\ntable = {:?}\nendpoint = {:?}\nregion = {REGION:?}\n\
             bucket = {BUCKET:?}\ns3_endpoint = {:?}\nca_file = {:?}\nkey_file = {:?}\n",
            state.table,
            state.endpoint,
            self.url(),
            text(&state.ca_file),
            text(&world.local_dir().join("packcast.key")),
        ));
    }
}
