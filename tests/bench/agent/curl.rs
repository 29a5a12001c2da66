//! `curl` for comparison: one process, which downloads all fragments of a package into files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use packcast_protocol::Sha256Digest;
use packcast_tests::measure::ProgramSample;
use packcast_tests::process::text;
use packcast_tests::world::World;
use packcast_tests::world::device::PARALLEL_DOWNLOADS;

use crate::download::{DownloadSample, LargeDownload};

/// The mode in which `curl` downloads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Curl {
    OneByOne,
    /// As many downloads at a time as the agent has.
    Parallel,
}

impl Curl {
    /// Downloads each fragment into a file of its own, expects the archive in these files, and returns
    /// the measurements of the download.
    pub(crate) fn fetch(self, world: &World, download: &LargeDownload<'_>) -> DownloadSample {
        let folder = world.directory().join("curl");
        fs::create_dir(&folder).expect("the folder of the last run was removed");
        let mut config = String::new();
        for (number, url) in download.urls().into_iter().enumerate() {
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
        let before = download.edge_cpu();
        let (_, program) = ProgramSample::of(&mut command).expect("curl is installed");
        let edge_cpu = download.edge_cpu().saturating_sub(before);
        assert_eq!(digest(&folder), *download.sha256(), "curl has other bytes");
        fs::remove_dir_all(folder).expect("the folder was just created");
        DownloadSample { program, edge_cpu }
    }
}

/// Returns the digest of the files 0, 1 and so on, as one.
fn digest(folder: &Path) -> Sha256Digest {
    let mut archive = Vec::new();
    for number in 0.. {
        let Ok(fragment) = fs::read(folder.join(number.to_string())) else {
            break;
        };
        archive.extend(fragment);
    }
    Sha256Digest::of(&archive)
}
