//! A large package, and its download by an agent.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use packcast_agent::event::Event;
use packcast_protocol::{PackageId, Sha256Digest};
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::cpu;
use packcast_tests::measure::{ProgramSample, peak};
use packcast_tests::world::World;

/// A published package whose program does nothing.
#[derive(Debug)]
pub(crate) struct LargeDownload<'a> {
    world: &'a World,
    package: PackageId,
    bytes: u64,
    sha256: Sha256Digest,
}

/// The measurements of one download: for the agent from the manifest until the archive is verified, for
/// `curl` those of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DownloadSample {
    pub(crate) program: ProgramSample,
    /// Processor time of the edge meanwhile.
    pub(crate) edge_cpu: Duration,
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

    /// Returns the processor time that the edge has used.
    pub(crate) fn edge_cpu(&self) -> Duration {
        cpu::used_by(&[self.world.state().pid])
    }

    /// Deploys the package on a new device.
    pub(crate) fn run(&self, round: usize) -> DownloadSample {
        let device = self.world.device(&format!("large-{round}"));
        self.world.assign("large@1", &device);
        let mut agent = device.start();
        let cpu = |id| (cpu::used_by(&[id]), self.edge_cpu());
        let (mut manifest, mut peak_kib, mut verified) = (None, 0, None);
        while let Some(event) = agent.event() {
            match event {
                Event::ManifestVerified { .. } => {
                    manifest = Some((cpu(agent.process_id()), Instant::now()));
                }
                Event::FragmentVerified { .. } => {}
                Event::ArchiveVerified { .. } => {
                    verified = Some((Instant::now(), cpu(agent.process_id())));
                }
                Event::Finished { ref code, .. } => assert_eq!(code.to_string(), "SUCCESS_0"),
                _ => continue,
            }
            peak_kib = peak(agent.process_id()).unwrap_or(peak_kib);
        }
        let (cpu_before, started) = manifest.expect("the agent gets the manifest");
        let (ended, cpu_after) = verified.expect("the agent verifies the archive");
        DownloadSample {
            program: ProgramSample {
                took: ended - started,
                cpu: cpu_after.0.saturating_sub(cpu_before.0),
                peak_kib,
            },
            edge_cpu: cpu_after.1.saturating_sub(cpu_before.1),
        }
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
