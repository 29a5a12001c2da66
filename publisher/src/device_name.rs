//! Names of devices as an administrator types them: an id, or a host name that only one device has.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use packcast_protocol::device::DeviceIdError;
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::DeviceRecord;
use packcast_rollout::replacement::find_replacement;
use packcast_store::RecordsError;

use crate::failure::{Failure, NameKind};
use crate::target::Target;
use crate::text::time;

/// The number of devices with the same host name that an error lists.
const SHOWN: usize = 10;

/// The maximum length of a host name in bytes, the same as for host names that agents send.
const MAX_HOST_NAME: usize = 1_024;

/// The next step if a device was not found.
pub(crate) const KNOWN_DEVICES_HINT: &str = "run 'packcast device list' to list the known devices: a device is known after its first check-in";

/// The name of a device: `key:<agent id>`, `ocs:<DEVICEID>`, or a host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceName {
    Id(DeviceId),
    /// A host name as it was typed; case does not matter.
    Host(String),
}

/// The devices with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceMatch {
    None,
    One(DeviceId),
    /// The first of the devices, in the order of their ids.
    Several(Vec<DeviceId>),
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Host(name) => f.write_str(name),
        }
    }
}

/// Errors from reading the name of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceNameError {
    #[error(transparent)]
    Id(#[from] DeviceIdError),
    #[error("expected an id or a host name, found nothing")]
    Empty,
    #[error("expected a host name of at most {MAX_HOST_NAME} bytes without control characters")]
    NoHostName,
}

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            Err(DeviceNameError::Empty)
        } else if text.starts_with("key:") || text.starts_with("ocs:") {
            Ok(Self::Id(text.parse()?))
        } else if text.len() > MAX_HOST_NAME || text.contains(char::is_control) {
            Err(DeviceNameError::NoHostName)
        } else {
            Ok(Self::Host(text.to_owned()))
        }
    }
}

impl DeviceName {
    /// Returns a text that is the same for names that differ only in case.
    pub(crate) fn same(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Host(name) => name.to_lowercase(),
        }
    }

    /// Looks up the devices with this name. An id is returned as it is, without a lookup.
    pub async fn look_up(&self, target: &Target) -> Result<DeviceMatch, RecordsError> {
        let host_name = match self {
            Self::Id(id) => return Ok(DeviceMatch::One(id.clone())),
            Self::Host(name) => name,
        };
        let mut found = target.records.devices_named(host_name).await?;
        Ok(match (found.pop(), found.is_empty()) {
            (Some(device), true) => DeviceMatch::One(device),
            (None, _) => DeviceMatch::None,
            (Some(last), false) => {
                found.push(last);
                DeviceMatch::Several(found)
            }
        })
    }

    /// Finds the only device with this name.
    pub async fn find(&self, target: &Target) -> Result<DeviceId, Failure> {
        match self.look_up(target).await? {
            DeviceMatch::One(device) => Ok(device),
            DeviceMatch::None => Err(not_found(&self.to_string()).refuses(NameKind::Device, self)),
            DeviceMatch::Several(several) => {
                let records = target.records.device_records(&several).await?;
                let admitted = records.iter().filter(|(_, excluded)| excluded.is_none());
                let admitted: Vec<DeviceRecord> =
                    admitted.map(|(record, _)| record.clone()).collect();
                let records = records.into_iter().map(|(record, _)| record);
                let several = records.map(|record| (record.device, record.last_seen));
                let replacement = find_replacement(&admitted);
                let failure = ambiguous(&self.to_string(), several.collect(), replacement);
                Err(failure.refuses(NameKind::Device, self))
            }
        }
    }
}

/// Returns the host names of devices. Devices without a record, such as removed ones, are left out.
pub(crate) async fn host_names(
    target: &Target,
    devices: &[DeviceId],
) -> Result<BTreeMap<DeviceId, String>, RecordsError> {
    let records = target.records.device_records(devices).await?;
    let names = records
        .into_iter()
        .map(|(record, _)| (record.device, record.host_name));
    Ok(names.collect())
}

fn not_found(host_name: &str) -> Failure {
    Failure::failed(format!("no device has the host name {host_name:?}")).hint(KNOWN_DEVICES_HINT)
}

/// Returns the error for a host name of several devices, the one that was seen last first.
///
/// `replacement` names a device and the one that may take its place.
fn ambiguous(
    host_name: &str,
    mut devices: Vec<(DeviceId, UnixTime)>,
    replacement: Option<(&DeviceId, &DeviceId)>,
) -> Failure {
    devices.sort_by_key(|(_, last_seen)| std::cmp::Reverse(*last_seen));
    let shown = devices.iter().take(SHOWN);
    let list: String = shown
        .map(|(device, last_seen)| format!("\n  {device}, last seen {}", time(*last_seen)))
        .collect();
    let more = if devices.len() > SHOWN {
        "\n  and more"
    } else {
        ""
    };
    let failure = Failure::failed(format!(
        "several devices have the host name {host_name:?}:{list}{more}"
    ))
    .hint("name the device by its id instead of its host name");
    match replacement {
        Some((old, new)) => failure.hint(format!(
            "run 'packcast device replace {old} {new}' to let the newer device of this machine take the place of the older"
        )),
        None => failure
            .hint("run 'packcast device remove DEVICE' to remove a device that was installed again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::{failures, messages};

    #[test]
    fn text_without_the_prefix_of_an_id_is_a_host_name() {
        let host = |text: &str| Ok(DeviceName::Host(text.to_owned()));
        for name in [
            "web01",
            "WEB01.example.net",
            "key",
            "web01-2026-03-04-05-06-07",
        ] {
            assert_eq!(name.parse(), host(name));
        }
        let id = "ocs:web01-2026-03-04-05-06-07";
        assert_eq!(id.parse(), Ok(DeviceName::Id(id.parse().unwrap())));
        for bad in ["", "key:web01", "ocs:web01"] {
            assert!(bad.parse::<DeviceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_ambiguous_host_name_lists_at_most_ten_devices() {
        let devices: Vec<(DeviceId, UnixTime)> = (10..21)
            .map(|day| {
                let id = format!("ocs:pc-2026-03-{day}-05-06-07").parse().unwrap();
                (id, UnixTime(1_795_000_000 + day))
            })
            .collect();
        let found =
            [&devices[..2], &devices].map(|devices| ambiguous("pc", devices.to_vec(), None));
        insta::assert_snapshot!(failures(found), @r#"
        Failed: several devices have the host name "pc":
          ocs:pc-2026-03-11-05-06-07, last seen 2026-11-18 11:06:51 UTC
          ocs:pc-2026-03-10-05-06-07, last seen 2026-11-18 11:06:50 UTC
        hint: name the device by its id instead of its host name
        hint: run 'packcast device remove DEVICE' to remove a device that was installed again
        Failed: several devices have the host name "pc":
          ocs:pc-2026-03-20-05-06-07, last seen 2026-11-18 11:07:00 UTC
          ocs:pc-2026-03-19-05-06-07, last seen 2026-11-18 11:06:59 UTC
          ocs:pc-2026-03-18-05-06-07, last seen 2026-11-18 11:06:58 UTC
          ocs:pc-2026-03-17-05-06-07, last seen 2026-11-18 11:06:57 UTC
          ocs:pc-2026-03-16-05-06-07, last seen 2026-11-18 11:06:56 UTC
          ocs:pc-2026-03-15-05-06-07, last seen 2026-11-18 11:06:55 UTC
          ocs:pc-2026-03-14-05-06-07, last seen 2026-11-18 11:06:54 UTC
          ocs:pc-2026-03-13-05-06-07, last seen 2026-11-18 11:06:53 UTC
          ocs:pc-2026-03-12-05-06-07, last seen 2026-11-18 11:06:52 UTC
          ocs:pc-2026-03-11-05-06-07, last seen 2026-11-18 11:06:51 UTC
          and more
        hint: name the device by its id instead of its host name
        hint: run 'packcast device remove DEVICE' to remove a device that was installed again
        "#);
        let (old, new) = (&devices[0].0, &devices[1].0);
        let found = ambiguous("pc", devices[..2].to_vec(), Some((old, new)));
        insta::assert_snapshot!(failures([found]), @r#"
        Failed: several devices have the host name "pc":
          ocs:pc-2026-03-11-05-06-07, last seen 2026-11-18 11:06:51 UTC
          ocs:pc-2026-03-10-05-06-07, last seen 2026-11-18 11:06:50 UTC
        hint: name the device by its id instead of its host name
        hint: run 'packcast device replace ocs:pc-2026-03-10-05-06-07 ocs:pc-2026-03-11-05-06-07' to let the newer device of this machine take the place of the older
        "#);
    }

    #[test]
    fn errors_of_names_have_next_steps() {
        let errors = [DeviceNameError::Empty, DeviceNameError::NoHostName];
        insta::assert_snapshot!(messages(errors), @r"
        expected an id or a host name, found nothing
        expected a host name of at most 1024 bytes without control characters
        ");
        insta::assert_snapshot!(failures([not_found("nobody")]), @r#"
        Failed: no device has the host name "nobody"
        hint: run 'packcast device list' to list the known devices: a device is known after its first check-in
        "#);
    }
}
