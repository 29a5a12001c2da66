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

use super::attacked_system::{AttackResult, AttackedSystem, STOLEN};
use crate::archives::{Entry, tar_of, zip};

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

/// Assigns a package with this archive to all devices.
fn unpacked(system: &AttackedSystem, format: ArchiveFormat, archive: &[u8]) -> AttackResult {
    let package = system.package("tool", &[]);
    system.publish_carelessly(&package, Some((format, archive)), |_| {});
    system.attempt()
}

/// Assigns an archive of strange entries, which agents store as common programs do, and a program
/// that succeeds if `check` does.
///
/// The check runs in the folder of the package. A file elsewhere counts as harm.
fn stored(system: &AttackedSystem, check: &str, entries: &[Entry<'_>]) -> AttackResult {
    let script = format!("#!/bin/sh\n{check}\n");
    let all = [&[file("run.sh", script.as_bytes())], entries].concat();
    unpacked(system, TarGz, &tar(&all))
}

/// Assigns an archive of hostile entries and a program that would record its run.
fn with(system: &AttackedSystem, entries: &[Entry<'_>]) -> AttackResult {
    let script = system.script("tool");
    let all = [&[file("run.sh", script.as_bytes())], entries].concat();
    unpacked(system, TarGz, &tar(&all))
}

pub fn manifest_expired(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    system.publish_carelessly(&package, None, |manifest| {
        manifest.expires = Some(UnixTime(1_700_000_000));
    });
    system.attempt()
}

pub fn manifest_for_another_device(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    system.publish_carelessly(&package, None, |manifest| {
        manifest.audience = Audience::Devices([AgentId::of_public_key(&[7; 32])].into());
    });
    system.attempt()
}

pub fn manifest_for_a_group_of_others(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    system.publish_carelessly(&package, None, |manifest| {
        let tills = "tills".parse().expect("a group's name");
        manifest.audience = Audience::Groups([tills].into());
    });
    system.attempt()
}

pub fn manifest_for_another_platform(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    system.publish_carelessly(&package, None, |manifest| {
        manifest.platform = if cfg!(windows) {
            Platform::Linux
        } else {
            Platform::Windows
        };
    });
    system.attempt()
}

pub fn climbing_archive(system: &AttackedSystem) -> AttackResult {
    let climbing = format!("../../../../../../outside/{STOLEN}");
    with(system, &[file(&climbing, b"x")])
}

pub fn climbing_zip(system: &AttackedSystem) -> AttackResult {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let script = system.script("tool");
    let options = SimpleFileOptions::default().unix_permissions(0o755);
    for (name, content) in [
        ("run.sh", script.as_str()),
        (&format!("../../../{STOLEN}"), "x"),
    ] {
        writer
            .start_file(name, options)
            .expect("writing into memory succeeds");
        writer
            .write_all(content.as_bytes())
            .expect("writing into memory succeeds");
    }
    let archive = writer
        .finish()
        .expect("writing into memory succeeds")
        .into_inner();
    unpacked(system, Zip, &archive)
}

/// An absolute path; the file is stored below the folder of the package.
pub fn absolute_archive(system: &AttackedSystem) -> AttackResult {
    let path = system.world.path(&format!("outside/{STOLEN}"));
    let check = format!("test \"$(cat '.{path}')\" = x -a ! -e '{path}'");
    stored(system, &check, &[file(&path, b"x")])
}

pub fn link_out_of_the_archive(system: &AttackedSystem) -> AttackResult {
    let outside = system.world.path("outside");
    with(system, &[link(&outside)])
}

pub fn file_through_a_link(system: &AttackedSystem) -> AttackResult {
    let outside = system.world.path("outside");
    with(
        system,
        &[link(&outside), file(&format!("link/{STOLEN}"), b"x")],
    )
}

pub fn file_through_a_link_within(system: &AttackedSystem) -> AttackResult {
    with(
        system,
        &[link("folder"), file(&format!("link/{STOLEN}"), b"x")],
    )
}

pub fn hard_link_to_a_file_outside(system: &AttackedSystem) -> AttackResult {
    let canary = system.world.path("outside/canary");
    let link = (EntryType::Link, STOLEN, canary.as_str(), 0o644, &b""[..]);
    with(system, &[link])
}

pub fn device_node(system: &AttackedSystem) -> AttackResult {
    with(system, &[(EntryType::Char, STOLEN, "", 0o644, b"")])
}

/// An archive of zeros that is larger than the device's limit for unpacked bytes.
pub fn bomb(system: &AttackedSystem) -> AttackResult {
    let server = system.function.address();
    system
        .device
        .configure_for(&system.world, server, "max_unpacked_bytes = 1048576\n");
    with(system, &[file("zeros", &vec![0; 64 << 20])])
}

/// A program with the setuid bit; the archive is accepted, but the bit is not set.
pub fn setuid_program(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let program = (
        EntryType::Regular,
        "run.sh",
        "",
        0o6755,
        &b"#!/bin/sh\ntest ! -u run.sh -a ! -g run.sh\n"[..],
    );
    let archive = Some((TarGz, &tar(&[program])[..]));
    system.publish_carelessly(&package, archive, |_| {});
    system.attempt()
}

/// A path that only Windows takes as absolute, and refuses. Elsewhere, it is the name of a file.
pub fn windows_drive(system: &AttackedSystem) -> AttackResult {
    one_name(system, &format!("C:\\{STOLEN}"))
}

/// A path that climbs only on Windows, which refuses it. Elsewhere, it is the name of a file.
pub fn windows_backslashes(system: &AttackedSystem) -> AttackResult {
    one_name(system, &format!("..\\..\\{STOLEN}"))
}

/// The publisher's answer, too, for a package that Windows devices may get.
fn one_name(system: &AttackedSystem, name: &str) -> AttackResult {
    let entries = [file(name, b"x")];
    // No other entry has a backslash, and no folder was created.
    let check = format!("test \"$(cat '{name}')\" = x -a \"$(ls -A | wc -l)\" -eq 2");
    let offered = offered_to_windows(system, &entries);
    stored(system, &check, &entries).and(offered)
}

/// Publishes entries for Windows devices.
fn offered_to_windows(system: &AttackedSystem, entries: &[Entry<'_>]) -> AttackResult {
    let all = [&[file("run.cmd", b"exit")], entries].concat();
    let source = system.world.file("offered.tar.gz", &tar(&all));
    let package = ["publish", "--name", "offered", "--version", "1", &source];
    let terms = ["--action", "launch", "--command", "run.cmd"];
    let refused = system.world.refused(
        2,
        &[&package[..], &terms, &["--platform", "windows"]].concat(),
    );
    AttackResult {
        answered: vec![refused],
        ..AttackResult::default()
    }
}

pub fn name_of_a_windows_device(system: &AttackedSystem) -> AttackResult {
    offered_to_windows(system, &[file("folder/NUL.txt", b"x")])
}

pub fn stream_of_a_windows_file(system: &AttackedSystem) -> AttackResult {
    offered_to_windows(system, &[file("folder/plain.txt:hidden", b"x")])
}

pub fn names_equal_on_windows(system: &AttackedSystem) -> AttackResult {
    offered_to_windows(system, &[file("RUN.cmd", b"exit 1")])
}

/// The later file replaces the earlier one, as in a tar that was updated; the earlier one would
/// record its run.
pub fn two_files_of_one_name(system: &AttackedSystem) -> AttackResult {
    with(
        system,
        &[file("run.sh", b"#!/bin/sh\ntest $(ls -A | wc -l) -eq 1\n")],
    )
}

/// A zip has each name once, so programs would read different files.
pub fn two_files_of_one_name_in_a_zip(system: &AttackedSystem) -> AttackResult {
    let script = system.script("tool");
    let archive = zip(&[("run.sh", script.as_bytes()), ("run.SH", b"#!/bin/sh\n")]);
    let (name, twice) = (b"run.SH", b"run.sh");
    let bytes = archive.windows(name.len()).map(|found| found == name);
    let places: Vec<usize> = bytes
        .enumerate()
        .filter_map(|(at, is)| is.then_some(at))
        .collect();
    assert_eq!(
        places.len(),
        2,
        "a local header and an entry of the directory"
    );
    let mut archive = archive;
    for at in places {
        archive[at..at + twice.len()].copy_from_slice(twice);
    }
    unpacked(system, Zip, &archive)
}
