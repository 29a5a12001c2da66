//! `curl` for comparison: one process, which downloads all fragments of a package into files.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use packcast_tests::process::{Ran, text};
use packcast_tests::world::World;
use packcast_tests::world::device::PARALLEL_DOWNLOADS;

/// The mode in which `curl` downloads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Curl {
    OneByOne,
    /// As many downloads at a time as the agent has.
    Parallel,
}

impl Curl {
    /// Downloads each address into a file of its own, and returns the duration.
    pub(crate) fn fetch(self, world: &World, urls: &[String]) -> Duration {
        let folder = world.directory().join("curl");
        fs::create_dir(&folder).expect("the folder of the last run was removed");
        let mut config = String::new();
        for (number, url) in urls.iter().enumerate() {
            let file = folder.join(number.to_string());
            let _ = writeln!(config, "url = {url:?}\noutput = {:?}", text(&file));
        }
        let config = world.file("curl.config", config.as_bytes());
        let mut command = Command::new("curl");
        command
            .args(["--disable", "--silent", "--show-error", "--fail", "--http2"])
            .args(["--noproxy", "*", "--cacert", text(&world.state().ca_file)])
            .args(["--config", &config]);
        if matches!(self, Self::Parallel) {
            let count = PARALLEL_DOWNLOADS.to_string();
            command.args(["--parallel", "--parallel-max", &count]);
        }
        let started = Instant::now();
        drop(Ran::of(&mut command).expect_code(0));
        let took = started.elapsed();
        fs::remove_dir_all(folder).expect("the folder was just created");
        took
    }
}
