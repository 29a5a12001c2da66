//! The wire examples in `protocol/tests/golden`. People review them, and no tool rewrites them.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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

/// Checks that an example of the JSON API parses as `value`, and that `value` is written as the
/// example.
pub(crate) fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let example = text(&format!("api/{name}.json"));
    let read: T = serde_json::from_str(&example).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(read, *value, "{name}");
    let expected: Value = serde_json::from_str(&example).expect("the example was parsed before");
    let written = serde_json::to_value(value).expect("documents are JSON");
    assert_eq!(written, expected, "{name}");
}

/// Returns the names of the files in a directory that end in `suffix`, without the suffix,
/// sorted.
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
