//! Rows and files of an OCS server, for tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use packcast_protocol::{Md5Digest, PackageId, UnixTime};

use super::info::read_info;
use super::plan::PackageFiles;
use super::rows::{
    ActivationRow, AssignmentKind, AssignmentRow, ComputerRow, GroupRow, HistoryRow, MemberRow,
    OcsDatabase, PackageRow,
};

/// Time of creation of all groups.
pub(crate) const CREATED: &str = "2024-03-31 02:30:00";

/// The id of the first package.
pub(crate) const FIRST: u32 = 1_700_000_001;

pub(crate) fn id(number: u32) -> PackageId {
    PackageId::try_from(FIRST - 1 + number).unwrap()
}

/// Returns the activation of the package with this number.
pub(crate) fn activation(number: u32) -> i64 {
    i64::from(number) + 100
}

/// Returns a server with `packages` packages, the computers 1 to `computers`, and the static group
/// `Lab PCs` (1001) with the first two computers.
pub(crate) fn database(packages: u32, computers: i64) -> OcsDatabase {
    let member = |computer| MemberRow {
        group: 1_001,
        computer,
    };
    OcsDatabase {
        version: Some("7069".to_owned()),
        packages: (1..=packages).map(package).collect(),
        activations: (1..=packages)
            .map(|number| ActivationRow {
                id: activation(number),
                file_id: id(number).to_string(),
            })
            .collect(),
        computers: (1..=computers).map(computer).collect(),
        groups: vec![group(1_001, "Lab PCs", None)],
        members: (1..=computers.min(2)).map(member).collect(),
        ..OcsDatabase::default()
    }
}

fn package(number: u32) -> PackageRow {
    PackageRow {
        file_id: id(number).to_string(),
        name: format!("Tool{} 1.{number}", letter(number)),
        os_name: "LINUX".to_owned(),
        comment: String::new(),
        is_deleted: false,
    }
}

fn letter(number: u32) -> char {
    char::from_u32(96 + number).unwrap()
}

pub(crate) fn computer(number: i64) -> ComputerRow {
    ComputerRow {
        id: number,
        device_id: format!("pc{number}-2026-03-04-05-06-07"),
        host_name: format!("pc{number}"),
        os_name: "Debian GNU/Linux 12".to_owned(),
        agent: "OCS-NG_unified_unix_agent_v2.10.0".to_owned(),
        last_seen: Some(UnixTime(1_750_000_000)),
    }
}

pub(crate) fn group(id: i64, name: &str, query: Option<&str>) -> GroupRow {
    GroupRow {
        id,
        name: name.to_owned(),
        query: query.map(ToOwned::to_owned),
        created: Some(CREATED.to_owned()),
    }
}

/// Returns the row of an assignment of the package with this number.
pub(crate) fn assigned(owner: i64, number: u32, value: Option<&str>) -> AssignmentRow {
    AssignmentRow {
        owner,
        activation: activation(number),
        kind: AssignmentKind::Package,
        value: value.map(ToOwned::to_owned),
    }
}

pub(crate) fn extra(owner: i64, number: u32, kind: AssignmentKind, value: &str) -> AssignmentRow {
    AssignmentRow {
        kind,
        ..assigned(owner, number, Some(value))
    }
}

pub(crate) fn history(computer: i64, number: u32) -> HistoryRow {
    HistoryRow {
        computer,
        package: id(number).get().into(),
    }
}

/// Returns the `info` of a command without an archive, as the console writes it.
pub(crate) fn execute(id: PackageId, command: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DOWNLOAD ID=\"{id}\" PRI=\"5\" ACT=\"EXECUTE\" DIGEST=\"\" PROTO=\"HTTP\" FRAGS=\"0\" DIGEST_ALGO=\"MD5\" DIGEST_ENCODE=\"Hexa\" COMMAND=\"{command}\" NOTIFY_USER=\"0\" NOTIFY_TEXT=\"\" />"
    )
}

/// Returns the files of packages that run the command `true`.
pub(crate) fn files(packages: u32) -> BTreeMap<PackageId, Result<PackageFiles, String>> {
    let ids = (1..=packages).map(id);
    ids.map(|id| {
        let info = read_info(&execute(id, "true")).unwrap();
        let inspection = None;
        (id, Ok(PackageFiles { info, inspection }))
    })
    .collect()
}

/// Writes a package that runs a command to a download directory.
pub(crate) fn write_execute(downloads: &Path, id: PackageId, command: &str) {
    let folder = downloads.join(id.to_string());
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("info"), execute(id, command)).unwrap();
}

/// Writes a package with an archive in two fragments, whose program is `run.sh`.
pub(crate) fn write_launch(downloads: &Path, id: PackageId) {
    let archive = archive("#!/bin/sh\nexit 0\n");
    let folder = downloads.join(id.to_string());
    fs::create_dir_all(&folder).unwrap();
    let md5 = Md5Digest::of(&archive);
    let mut info = format!("<DOWNLOAD ID=\"{id}\" PRI=\"3\" ACT=\"LAUNCH\" DIGEST=\"{md5}\"");
    let rest =
        "PROTO=\"HTTP\" FRAGS=\"2\" DIGEST_ALGO=\"MD5\" DIGEST_ENCODE=\"Hexa\" NAME=\"run.sh\" />";
    write!(info, " {rest}").unwrap();
    fs::write(folder.join("info"), info).unwrap();
    let (first, second) = archive.split_at(archive.len() / 2);
    fs::write(folder.join(format!("{id}-1")), first).unwrap();
    fs::write(folder.join(format!("{id}-2")), second).unwrap();
}

fn archive(script: &str) -> Vec<u8> {
    let encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut archive = tar::Builder::new(encoder);
    let mut header = tar::Header::new_gnu();
    header.set_size(script.len() as u64);
    header.set_mode(0o755);
    let data = script.as_bytes();
    archive.append_data(&mut header, "run.sh", data).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}
