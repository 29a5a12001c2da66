//! Lists of devices in files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, text_input};

use crate::concurrency::AT_ONCE;
use crate::device_name::{DeviceMatch, DeviceName, DeviceNameError};
use crate::distinct::distinct;
use crate::failure::Failure;
use crate::target::Target;

/// The maximum length of a list in bytes: enough for more than a million devices.
const MAX_BYTES: u64 = 256 << 20;

/// Errors from reading a list of devices.
#[derive(Debug, thiserror::Error)]
pub enum DeviceListError {
    #[error("cannot read {place}")]
    Read { place: String, source: io::Error },
    #[error("cannot read {place}: the list has more than {MAX_BYTES} bytes")]
    TooLarge { place: String },
    #[error("cannot read a device from line {line} of {place}")]
    Line {
        place: String,
        line: usize,
        source: DeviceNameError,
    },
}

/// The names in a text that somebody has pasted or dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastedNames {
    pub names: Vec<DeviceName>,
    /// The texts that name no device.
    pub unreadable: Vec<UnreadableName>,
}

/// A text that names no device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableName {
    /// Number of the line, from 1.
    pub line: usize,
    pub text: String,
    pub error: DeviceNameError,
}

/// The devices with the names of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedDevices {
    /// Each device once, in the order of the names.
    pub devices: Vec<DeviceId>,
    /// Names of no device, or of a device that was removed.
    pub unknown: Vec<String>,
    /// Host names that several devices have.
    pub ambiguous: Vec<String>,
}

/// Looks up the devices with these names. A name that leads to no device does not hide the others.
pub async fn look_up(target: &Target, names: &[DeviceName]) -> Result<NamedDevices, Failure> {
    let mut matches = stream::iter(names)
        .map(|name| async move { Ok::<_, Failure>((name, name.look_up(target).await?)) })
        .buffered(AT_ONCE);
    let mut found = NamedDevices::default();
    while let Some((name, matched)) = matches.try_next().await? {
        match matched {
            DeviceMatch::One(device) => found.devices.push(device),
            DeviceMatch::None => found.unknown.push(name.to_string()),
            DeviceMatch::Several(_) => found.ambiguous.push(name.to_string()),
        }
    }
    drop(matches);
    found.devices = distinct(found.devices.into_iter()).collect();
    // An id leads to its device without a lookup.
    let known = target.records.memberships(&found.devices).await?;
    let known: BTreeSet<DeviceId> = known.into_iter().map(|(device, _)| device).collect();
    let (devices, unknown) = found.devices.into_iter().partition(|it| known.contains(it));
    found.devices = devices;
    let unknown: Vec<DeviceId> = unknown;
    found
        .unknown
        .extend(unknown.iter().map(ToString::to_string));
    Ok(found)
}

/// Reads names of devices from a text with names in lines, or between commas, semicolons or tabs.
///
/// The function skips comments, which begin with a `#`. A text that names no device does not hide the
/// others. A line that is an id as a whole is one name, and so is a text in quotes, as spreadsheets
/// write them: the id of an OCS agent may contain separators, and a part of it could name another
/// device.
pub fn pasted(text: &str) -> PastedNames {
    let mut read = PastedNames::default();
    for (index, line) in text.lines().enumerate() {
        let line = without_comment(line).trim();
        if let Ok(name @ DeviceName::Id(_)) = line.parse() {
            read.names.push(name);
            continue;
        }
        for part in parts(line) {
            match part.parse() {
                Ok(name) => read.names.push(name),
                Err(error) => read.unreadable.push(UnreadableName {
                    line: index + 1,
                    text: part.to_owned(),
                    error,
                }),
            }
        }
    }
    read
}

/// Returns the texts of a line between separators. Separators in quotes do not count.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = line.split(move |character| {
        is_quoted ^= character == '"';
        !is_quoted && matches!(character, ',' | ';' | '\t')
    });
    parts
        .map(|part| part.trim().trim_matches('"').trim())
        .filter(|part| !part.is_empty())
}

/// Reads names of devices from a file with one name per line.
///
/// The function skips empty lines and comments, which begin with a `#`.
pub fn read_file(path: &Path) -> Result<Vec<DeviceName>, Failure> {
    let place = path.display().to_string();
    match File::open(path) {
        Ok(file) => read(&place, BufReader::new(file)),
        Err(source) => Err(Failure::failed(DeviceListError::Read { place, source })),
    }
}

/// Reads names of devices, one per line; `place` names the list in errors.
pub fn read(place: &str, list: impl BufRead) -> Result<Vec<DeviceName>, Failure> {
    let names = parse(place, list)?;
    if names.is_empty() {
        return Err(Failure::usage(format!(
            "cannot find a device in {place}: the list is empty"
        )));
    }
    Ok(names)
}

impl From<DeviceListError> for Failure {
    fn from(error: DeviceListError) -> Self {
        match error {
            DeviceListError::Read { .. } => Self::failed(error),
            DeviceListError::TooLarge { .. } => {
                Self::usage(error).hint("split the list into several files")
            }
            DeviceListError::Line { .. } => {
                Self::usage(error).hint("write the id or the host name of one device in each line")
            }
        }
    }
}

fn parse(place: &str, list: impl BufRead) -> Result<Vec<DeviceName>, DeviceListError> {
    let read_error = |source| DeviceListError::Read {
        place: place.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    list.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(read_error)?;
    if bytes.len() as u64 > MAX_BYTES {
        let place = place.to_owned();
        return Err(DeviceListError::TooLarge { place });
    }
    let text = text_input::decode(bytes).map_err(|error| read_error(error.into()))?;
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

/// Returns a line without its comment.
///
/// A comment begins the line or follows a space, because the name of a device can contain a `#`.
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
    use crate::rendered::{converted, failures};

    #[test]
    fn a_pasted_list_keeps_each_readable_name() {
        let text = "web01, \"web 02\";web#3\t# the lab\r\nkey:web01\n\n,ocs:pc-2026-03-04-05-06-07";
        let read = pasted(text);
        let expected = ["web01", "web 02", "web#3", "ocs:pc-2026-03-04-05-06-07"];
        assert_eq!(read.names, expected.map(|name| name.parse().unwrap()));
        let [unreadable] = &read.unreadable[..] else {
            panic!("{read:?}");
        };
        assert_eq!((unreadable.line, &*unreadable.text), (2, "key:web01"));
        assert_eq!(pasted(" \n, ;"), PastedNames::default());
    }

    #[test]
    fn an_id_with_a_separator_names_no_other_device() {
        let id = "ocs:evil-2026-01-01-00-00-00,ocs:db01-2025-03-04-05-06-07";
        for text in [id.to_owned(), format!("pc1;\"{id}\"")] {
            let names = pasted(&text).names;
            assert_eq!(
                names.last(),
                Some(&DeviceName::Id(id.parse().unwrap())),
                "{text}"
            );
            assert!(!names.contains(&"ocs:db01-2025-03-04-05-06-07".parse().unwrap()));
        }
    }

    #[test]
    fn a_list_may_have_comments_and_empty_lines() {
        let text = "# the lab\nweb01\n\n  web#2  # by the door\r\nocs:pc-2026-03-04-05-06-07\n";
        let names = parse("list", text.as_bytes()).unwrap();
        let expected = ["web01", "web#2", "ocs:pc-2026-03-04-05-06-07"];
        assert_eq!(names, expected.map(|name| name.parse().unwrap()));
    }

    #[test]
    fn a_list_may_begin_with_a_byte_order_mark() {
        let names = parse("list", "\u{FEFF}web01\r\nweb02\r\n".as_bytes()).unwrap();
        assert_eq!(names, ["web01", "web02"].map(|name| name.parse().unwrap()));
        let wide: Vec<u8> = "web01\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let marked = [&[0xFF, 0xFE], &wide[..]].concat();
        let latin = b"web01\ngr\xFCn\n".to_vec();
        let errors = [wide, marked, latin].map(|list| parse("list", &list[..]).unwrap_err());
        let errors = errors.map(|error| packcast_protocol::with_causes(&error));
        insta::assert_snapshot!(errors.join("\n"), @"
        cannot read list: the text is UTF-16: save it as UTF-8
        cannot read list: the text is UTF-16: save it as UTF-8
        cannot read list: line 2 is not UTF-8: save the text as UTF-8
        ");
    }

    #[test]
    fn an_error_shows_the_number_of_the_malformed_line() {
        let error = parse("list", "web01\nocs:web02\n".as_bytes()).unwrap_err();
        assert!(error.to_string().contains("line 2 of list"), "{error}");
        assert!(matches!(
            parse("list", &b"\xff\xfe"[..]),
            Err(DeviceListError::Read { .. })
        ));
    }

    #[test]
    fn errors_of_lists_have_next_steps() {
        let place = || "lab.txt".to_owned();
        let errors = [
            DeviceListError::Read {
                place: place(),
                source: io::Error::other("cause"),
            },
            DeviceListError::TooLarge { place: place() },
            DeviceListError::Line {
                place: place(),
                line: 2,
                source: DeviceNameError::Empty,
            },
        ];
        insta::assert_snapshot!(converted(errors), @r"
        Failed: cannot read lab.txt
        Usage: cannot read lab.txt: the list has more than 268435456 bytes
          hint: split the list into several files
        Usage: cannot read a device from line 2 of lab.txt
          hint: write the id or the host name of one device in each line
        ");
        let empty = read("lab.txt", "# nobody\n".as_bytes()).unwrap_err();
        insta::assert_snapshot!(failures([empty]), @"Usage: cannot find a device in lab.txt: the list is empty");
    }
}
