//! Files that list devices.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use crate::device_name::{DeviceName, DeviceNameError};
use crate::failure::Failure;

/// How many bytes of a list are read: more than a million devices.
const MAX_BYTES: u64 = 256 << 20;

/// Why a list is not one.
#[derive(Debug, thiserror::Error)]
pub enum DeviceListError {
    #[error("{place} cannot be read")]
    Read { place: String, source: io::Error },
    #[error("{place} has more than {MAX_BYTES} bytes: split it")]
    TooLarge { place: String },
    #[error("line {line} of {place} names no device")]
    Line {
        place: String,
        line: usize,
        source: DeviceNameError,
    },
}

/// Reads names of devices from a file, one in a line.
///
/// Empty lines and comments, which begin with a `#`, are passed over.
pub fn read_file(path: &Path) -> Result<Vec<DeviceName>, Failure> {
    let place = path.display().to_string();
    match File::open(path) {
        Ok(file) => read(&place, BufReader::new(file)),
        Err(source) => Err(Failure::failed(DeviceListError::Read { place, source })),
    }
}

/// Reads names of devices, one in a line; `place` names the list in errors.
pub fn read(place: &str, list: impl BufRead) -> Result<Vec<DeviceName>, Failure> {
    let names = parse(place, list).map_err(|error| match error {
        DeviceListError::Read { .. } => Failure::failed(error),
        _ => Failure::usage(error).hint("a device is its id or its host name, one in a line"),
    })?;
    if names.is_empty() {
        return Err(Failure::usage(format!("{place} names no device")));
    }
    Ok(names)
}

fn parse(place: &str, list: impl BufRead) -> Result<Vec<DeviceName>, DeviceListError> {
    let mut text = String::new();
    list.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|source| DeviceListError::Read {
            place: place.to_owned(),
            source,
        })?;
    if text.len() as u64 > MAX_BYTES {
        let place = place.to_owned();
        return Err(DeviceListError::TooLarge { place });
    }
    let lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, without_comment(line).trim()));
    lines
        .filter(|(_, name)| !name.is_empty())
        .map(|(line, name)| {
            name.parse().map_err(|source| DeviceListError::Line {
                place: place.to_owned(),
                line,
                source,
            })
        })
        .collect()
}

/// A comment begins a line or follows a space: a device's name can have a `#` in it.
fn without_comment(line: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| {
        line[..*at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace)
    };
    match line.match_indices('#').find(begins) {
        Some((at, _)) => &line[..at],
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_comments_and_empty_lines() {
        let text = "# the lab\nweb01\n\n  web#2  # by the door\r\nocs:pc-2026-03-04-05-06-07\n";
        let names = parse("list", text.as_bytes()).unwrap();
        let expected = ["web01", "web#2", "ocs:pc-2026-03-04-05-06-07"];
        assert_eq!(names, expected.map(|name| name.parse().unwrap()));
    }

    #[test]
    fn a_line_that_names_no_device_is_named() {
        let error = parse("list", "web01\nocs:web02\n".as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 2 of list"), "{error}");
        assert!(matches!(
            parse("list", &b"\xff\xfe"[..]),
            Err(DeviceListError::Read { .. })
        ));
    }
}
