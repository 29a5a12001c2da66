//! A careless publisher, who signs faulty packages with a key that the device trusts.
//!
//! `packcast publish` refuses most of them, so the attacks sign with the publisher's key directly.

use std::io::{Cursor, Write as _};

use flate2::Compression;
use packcast_protocol::ArchiveFormat::{self, TarGz, Zip};
use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::{AgentId, UnixTime};
use tar::EntryType;
use zip::write::SimpleFileOptions;

use super::stage::{STOLEN, Stage, Tried};
use crate::archives::{Entry, tar_of};

/// Packs entries compressed, because some are large and contain only zeros.
fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    tar_of(entries, Compression::fast())
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> Entry<'a> {
    (EntryType::Regular, name, "", 0o755, content)
}

fn link(target: &str) -> Entry<'_> {
    (EntryType::Symlink, "link", target, 0o777, b"")
}

/// Assigns a package with this archive to the device.
fn unpacked(stage: &Stage, format: ArchiveFormat, archive: &[u8]) -> Tried {
    let package = stage.assigned("tool");
    stage.publish_carelessly(&package, Some((format, archive)), |_| {});
    stage.attempt()
}

/// Assigns an archive of hostile entries and a program that would record its run.
fn with(stage: &Stage, entries: &[Entry<'_>]) -> Tried {
    let script = stage.script("tool");
    let all = [&[file("run.sh", script.as_bytes())], entries].concat();
    unpacked(stage, TarGz, &tar(&all))
}

pub fn manifest_expired(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    stage.publish_carelessly(&package, None, |manifest| {
        manifest.expires = UnixTime(1_700_000_000);
    });
    stage.attempt()
}

pub fn manifest_for_another_device(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    stage.publish_carelessly(&package, None, |manifest| {
        manifest.audience = Audience::Devices([AgentId::of_public_key(&[7; 32])].into());
    });
    stage.attempt()
}

pub fn manifest_for_a_group_of_others(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    stage.publish_carelessly(&package, None, |manifest| {
        let tills = "tills".parse().expect("a group's name");
        manifest.audience = Audience::Groups([tills].into());
    });
    stage.attempt()
}

pub fn manifest_for_another_platform(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    stage.publish_carelessly(&package, None, |manifest| {
        manifest.platform = if cfg!(windows) {
            Platform::Linux
        } else {
            Platform::Windows
        };
    });
    stage.attempt()
}

pub fn climbing_archive(stage: &Stage) -> Tried {
    let climbing = format!("../../../../../../outside/{STOLEN}");
    with(stage, &[file(&climbing, b"x")])
}

pub fn climbing_zip(stage: &Stage) -> Tried {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let script = stage.script("tool");
    let options = SimpleFileOptions::default().unix_permissions(0o755);
    for (name, content) in [
        ("run.sh", script.as_str()),
        (&format!("../../../{STOLEN}"), "x"),
    ] {
        writer.start_file(name, options).expect("memory takes it");
        writer
            .write_all(content.as_bytes())
            .expect("memory takes it");
    }
    let archive = writer.finish().expect("memory takes it").into_inner();
    unpacked(stage, Zip, &archive)
}

pub fn absolute_archive(stage: &Stage) -> Tried {
    let path = stage.world.path(&format!("outside/{STOLEN}"));
    with(stage, &[file(&path, b"x")])
}

pub fn link_out_of_the_archive(stage: &Stage) -> Tried {
    let outside = stage.world.path("outside");
    with(stage, &[link(&outside)])
}

pub fn file_through_a_link(stage: &Stage) -> Tried {
    let outside = stage.world.path("outside");
    with(
        stage,
        &[link(&outside), file(&format!("link/{STOLEN}"), b"x")],
    )
}

pub fn file_through_a_link_within(stage: &Stage) -> Tried {
    with(
        stage,
        &[link("folder"), file(&format!("link/{STOLEN}"), b"x")],
    )
}

pub fn hard_link_to_a_file_outside(stage: &Stage) -> Tried {
    let canary = stage.world.path("outside/canary");
    let link = (EntryType::Link, STOLEN, canary.as_str(), 0o644, &b""[..]);
    with(stage, &[link])
}

pub fn device_node(stage: &Stage) -> Tried {
    with(stage, &[(EntryType::Char, STOLEN, "", 0o644, b"")])
}

/// An archive of zeros that is larger than the device's limit for unpacked bytes.
pub fn bomb(stage: &Stage) -> Tried {
    let server = stage.function.address();
    stage
        .device
        .configure_for(&stage.world, server, "max_unpacked_bytes = 1048576\n");
    with(stage, &[file("zeros", &vec![0; 64 << 20])])
}

/// A program with the setuid bit; the archive is accepted, but the bit is not set.
pub fn setuid_program(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let program = (
        EntryType::Regular,
        "run.sh",
        "",
        0o6755,
        &b"#!/bin/sh\ntest ! -u run.sh -a ! -g run.sh\n"[..],
    );
    let archive = Some((TarGz, &tar(&[program])[..]));
    stage.publish_carelessly(&package, archive, |_| {});
    stage.attempt()
}

pub fn windows_drive(stage: &Stage) -> Tried {
    with(stage, &[file(&format!("C:\\{STOLEN}"), b"x")])
}

pub fn windows_backslashes(stage: &Stage) -> Tried {
    with(stage, &[file(&format!("..\\..\\{STOLEN}"), b"x")])
}

/// Publishes entries for Windows devices.
fn offered_to_windows(stage: &Stage, entries: &[Entry<'_>]) -> Tried {
    let all = [&[file("run.cmd", b"exit")], entries].concat();
    let source = stage.world.file("offered.tar.gz", &tar(&all));
    let package = ["publish", "--name", "offered", "--version", "1", &source];
    let terms = ["--action", "launch", "--command", "run.cmd"];
    let refused = stage.world.refused(
        2,
        &[&package[..], &terms, &["--platform", "windows"]].concat(),
    );
    Tried {
        answered: vec![refused],
        ..Tried::default()
    }
}

pub fn name_of_a_windows_device(stage: &Stage) -> Tried {
    offered_to_windows(stage, &[file("folder/NUL.txt", b"x")])
}

pub fn stream_of_a_windows_file(stage: &Stage) -> Tried {
    offered_to_windows(stage, &[file("folder/plain.txt:hidden", b"x")])
}

pub fn names_that_are_one_on_windows(stage: &Stage) -> Tried {
    offered_to_windows(stage, &[file("RUN.cmd", b"exit 1")])
}

pub fn two_files_of_one_name(stage: &Stage) -> Tried {
    with(stage, &[file("run.sh", b"#!/bin/sh\n")])
}
