//! The wire examples in `tests/golden`. They are reviewed by hand, and no tool rewrites them.

use std::fs;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let path = path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Lists the files of a directory that end in `suffix`, without it, in order.
pub(crate) fn stems(directory: &str, suffix: &str) -> Vec<String> {
    let entries = fs::read_dir(path(directory)).expect("the directory is part of the repository");
    let mut stems: Vec<String> = entries
        .filter_map(|entry| {
            entry
                .expect("the directory can be listed")
                .file_name()
                .into_string()
                .ok()
        })
        .filter_map(|name| name.strip_suffix(suffix).map(str::to_owned))
        .collect();
    stems.sort();
    stems
}

/// Splits a recorded message into its head and its body.
pub(crate) fn message(name: &str) -> (String, Vec<u8>) {
    let raw = bytes(name);
    let end = raw
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head ends in an empty line");
    let head = String::from_utf8(raw[..end].to_vec()).expect("a head is ASCII");
    (head, raw[end + 4..].to_vec())
}
