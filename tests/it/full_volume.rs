//! The volume of the agent's state is full: no program runs that the agent cannot record, and the
//! agent continues when there is room again.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_protocol::Outcome;
use packcast_testing::skip::{Missing, skip};
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::process::Ran;
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;

use crate::PROGRAM;

/// The size of the volume, in bytes.
const VOLUME: usize = 320 << 10;

/// A small mounted volume, unmounted when it is dropped.
struct Volume(PathBuf);

impl Volume {
    /// Mounts a volume with the content of the folder. `None` if mounting is not allowed; the
    /// test is then skipped.
    fn over(folder: &Path) -> Option<Self> {
        let kept = folder.with_extension("kept");
        fs::rename(folder, &kept).unwrap();
        fs::create_dir(folder).unwrap();
        let options = format!("size={VOLUME},mode=700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .output();
        if !mount.is_ok_and(|mount| mount.status.success()) {
            skip(Missing::Optional("mounting a tmpfs"));
            return None;
        }
        let volume = Self(folder.to_owned());
        let copied = Command::new("cp")
            .args(["-a", "--"])
            .args([kept.join("."), volume.0.clone()])
            .status();
        assert!(copied.unwrap().success());
        Some(volume)
    }

    /// Fills the volume completely, until the returned file is removed.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        while file.write_all(&[0; 1024]).is_ok() {}
        ballast
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A device whose state is on a small volume.
struct DeviceOnVolume {
    volume: Volume,
    device: TestDevice,
    world: World,
}

impl DeviceOnVolume {
    fn begin() -> Option<Self> {
        let world = World::start(PROGRAM);
        let device = world.device("pc");
        let volume = Volume::over(&world.directory().join("pc/state"))?;
        Some(Self {
            volume,
            device,
            world,
        })
    }

    /// Assigns a package whose program records its run, with a file of this size beside it.
    fn assigned(&self, beside: &[u8]) {
        let line = format!("echo run >> '{}'", self.world.path("runs"));
        let script = format!("#!/bin/sh\n{line}\n");
        let archive = tar_gz(&[("run.sh", script.as_bytes()), ("beside", beside)]);
        let source = self.world.file("tool.tar.gz", &archive);
        let launch = ["--action", "launch", "--command", "run.sh", "--activate"];
        self.world
            .publish("tool", &[&launch[..], &[&source]].concat());
        self.world.assign("tool@1", &self.device);
    }

    fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.world.path("runs"));
        runs.map_or(0, |runs| runs.lines().count())
    }

    fn expect(&self, runs: usize, outcome: Outcome, code: &str) {
        let result = self.world.result(&self.device);
        assert_eq!(
            (result.outcome, &result.code.to_string()[..], self.runs()),
            (outcome, code, runs)
        );
    }
}

#[test]
fn a_program_that_cannot_be_recorded_runs_only_when_there_is_room() {
    let Some(story) = DeviceOnVolume::begin() else {
        return;
    };
    story.assigned(b"");
    // The device has the state with the assignment, but not the task: another package brings it.
    story.world.ok(&["deactivate", "tool@1"]);
    story.world.execute("other", "true");
    story.world.assign("other@1", &story.device);
    assert_eq!(story.device.announced(), 1);
    story.world.ok(&["activate", "tool@1"]);
    let ballast = story.volume.fill();
    for _ in 0..2 {
        let Ran { code, stderr, .. } = story.device.attempt();
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("No space left on device"), "{stderr}");
        assert_eq!(story.runs(), 0);
    }
    fs::remove_file(ballast).unwrap();
    story.device.run();
    assert_eq!(story.runs(), 1);
}

#[test]
fn a_package_whose_state_cannot_be_stored_waits_until_there_is_room() {
    let Some(story) = DeviceOnVolume::begin() else {
        return;
    };
    story.assigned(b"");
    let ballast = story.volume.fill();
    for _ in 0..2 {
        let Ran { code, stderr, .. } = story.device.attempt();
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.contains("cannot store the signed state"), "{stderr}");
        assert_eq!(story.runs(), 0);
    }
    fs::remove_file(ballast).unwrap();
    story.device.run();
    story.expect(1, Outcome::Succeeded, "SUCCESS_0");
}

#[test]
fn a_program_that_fills_the_volume_is_reported_with_its_output_and_runs_once() {
    let Some(story) = DeviceOnVolume::begin() else {
        return;
    };
    let ballast = story.volume.0.join("ballast");
    // The journal escapes each byte of this output as six bytes.
    let command = format!(
        "echo run >> '{}'; cat /dev/zero > '{}'; head -c 4096 /dev/zero",
        story.world.path("runs"),
        ballast.display()
    );
    let execute = ["--action", "execute", "--rerun-after-interruption"];
    let command = ["--activate", "--command", &command];
    story
        .world
        .publish("tool", &[&execute[..], &command].concat());
    story.world.assign("tool@1", &story.device);
    for _ in 0..2 {
        let ran = story.device.attempt();
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        story.expect(1, Outcome::Succeeded, "SUCCESS");
    }
    let output = story.world.result(&story.device).output_tail.unwrap();
    assert_eq!(output.len(), 4096);
    fs::remove_file(ballast).unwrap();
    story.device.run();
    story.expect(1, Outcome::Succeeded, "SUCCESS");
    let packages = fs::read_dir(story.volume.0.join("packages")).unwrap();
    assert_eq!(packages.count(), 0);
}

#[test]
fn a_package_too_large_to_download_is_reported_before_the_download() {
    let Some(story) = DeviceOnVolume::begin() else {
        return;
    };
    story.assigned(&noise(1, VOLUME));
    story.device.run();
    story.expect(0, Outcome::Failed, "ERR_OUT_OF_SPACE");
    let fragments = story.world.requests().into_iter();
    let fragments =
        fragments.filter(|request| request.path.ends_with("-1") && request.method == "GET");
    // The publisher checks the first fragment when the package is activated.
    assert_eq!(fragments.count(), 1);
}

#[test]
fn a_package_too_large_to_unpack_is_reported_and_leaves_nothing() {
    let Some(story) = DeviceOnVolume::begin() else {
        return;
    };
    story.assigned(&vec![0; VOLUME]);
    story.device.run();
    story.expect(0, Outcome::Failed, "ERR_OUT_OF_SPACE");
    let packages = fs::read_dir(story.volume.0.join("packages")).unwrap();
    assert_eq!(packages.count(), 0);
}
