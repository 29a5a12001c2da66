//! A large package, and its download by an agent.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use packcast_agent::event::Event;
use packcast_protocol::{PackageId, Sha256Digest};
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::measure::peak;
use packcast_tests::world::World;

/// A published package whose program does nothing.
#[derive(Debug)]
pub(crate) struct LargeDownload<'a> {
    world: &'a World,
    package: PackageId,
    bytes: u64,
    sha256: Sha256Digest,
}

/// The durations and the memory of one download by the agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DownloadTimes {
    /// From the manifest until the archive is verified.
    pub(crate) duration: Duration,
    /// The peak of the process's memory.
    pub(crate) peak_kib: u64,
}

impl<'a> LargeDownload<'a> {
    /// Publishes an archive of about this size, in fragments of 1 MiB.
    pub(crate) fn publish(world: &'a World, mib: u32) -> Self {
        let noise = noise(1, (mib as usize) << 20);
        let archive = tar_gz(&[("run.sh", b"#!/bin/sh\n"), ("noise", &noise)]);
        let (bytes, sha256) = (archive.len() as u64, Sha256Digest::of(&archive));
        let source = world.file("large.tar.gz", &archive);
        let launch = ["--action", "launch", "--command", "run.sh"];
        let rest = ["--fragment-size", "1MiB", "--activate", &source];
        let package = world.publish("large", &[launch, rest].concat()).package.id;
        fs::remove_file(source).expect("the file was just written");
        Self {
            world,
            package,
            bytes,
            sha256,
        }
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn sha256(&self) -> &Sha256Digest {
        &self.sha256
    }

    /// Deploys the package on a new device.
    pub(crate) fn run(&self, round: usize) -> DownloadTimes {
        let device = self.world.device(&format!("large-{round}"));
        self.world.assign("large@1", &device);
        let mut agent = device.start();
        let mut manifest = None;
        let (mut duration, mut peak_kib) = (Duration::ZERO, 0);
        while let Some(event) = agent.event() {
            match event {
                Event::ManifestVerified { .. } => manifest = Some(Instant::now()),
                Event::FragmentVerified { .. } => {}
                Event::ArchiveVerified { .. } => duration = since(manifest),
                Event::Finished { ref code, .. } => assert_eq!(code.to_string(), "SUCCESS_0"),
                _ => continue,
            }
            peak_kib = peak(agent.process_id()).unwrap_or(peak_kib);
        }
        assert!(
            !duration.is_zero(),
            "the agent has not deployed the package"
        );
        DownloadTimes { duration, peak_kib }
    }

    /// Returns the addresses of the fragments in their order, as the agent requested them.
    pub(crate) fn urls(&self) -> Vec<String> {
        let edge = self.world.state().edge;
        let requests = self.world.requests().into_iter();
        let fragment = format!("/{}-", self.package);
        let numbers = requests.filter_map(|request| {
            let (folder, number) = request.path.split_once(&fragment)?;
            let number: u32 = number.parse().ok()?;
            Some((number, format!("https://{edge}{folder}{fragment}{number}")))
        });
        // A map, because each round has requested all fragments.
        let urls: BTreeMap<u32, String> = numbers.collect();
        urls.into_values().collect()
    }
}

fn since(started: Option<Instant>) -> Duration {
    started
        .expect("fragments come after the manifest")
        .elapsed()
}
