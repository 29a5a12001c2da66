//! A device as an operator names it: by its id, or by its host name where that is enough.

use std::fmt;
use std::str::FromStr;

use packcast_protocol::DeviceId;
use packcast_protocol::device::DeviceIdError;
use packcast_store::RecordsError;

use crate::failure::Failure;
use crate::target::Target;

/// How many devices of one host name are shown.
const SHOWN: usize = 10;

/// How long a host name may be, in bytes: as long as agents may tell theirs.
const MAX_HOST_NAME: usize = 1_024;

/// `key:<agent id>`, `ocs:<DEVICEID>`, or a host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceName {
    Id(DeviceId),
    /// As it was typed; case does not matter.
    Host(String),
}

/// Which devices have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    None,
    One(DeviceId),
    /// Some of them, in the order of their ids.
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

/// Text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceNameError {
    #[error(transparent)]
    Id(#[from] DeviceIdError),
    #[error("a host name is not empty")]
    Empty,
    #[error("a host name has at most {MAX_HOST_NAME} bytes, and no control characters")]
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
    /// Looks the device up, which need not be known if it was named by its id.
    pub async fn look_up(&self, target: &Target) -> Result<Found, RecordsError> {
        let host_name = match self {
            Self::Id(id) => return Ok(Found::One(id.clone())),
            Self::Host(name) => name,
        };
        let mut found = target.records.devices_named(host_name).await?;
        Ok(match (found.pop(), found.is_empty()) {
            (Some(device), true) => Found::One(device),
            (None, _) => Found::None,
            (Some(last), false) => {
                found.push(last);
                Found::Several(found)
            }
        })
    }

    /// Finds the one device of this name.
    pub async fn find(&self, target: &Target) -> Result<DeviceId, Failure> {
        match self.look_up(target).await? {
            Found::One(device) => Ok(device),
            Found::None => Err(Failure::failed(format!(
                "no device has the host name {:?}",
                self.to_string()
            ))
            .hint("a device is known from its first check-in on; 'packcast device' lists them")),
            Found::Several(several) => Err(Failure::failed(ambiguous(&self.to_string(), &several))
                .hint("name the device by its id")),
        }
    }
}

fn ambiguous(host_name: &str, devices: &[DeviceId]) -> String {
    let shown = devices.iter().take(SHOWN);
    let list: String = shown.map(|device| format!("\n  {device}")).collect();
    let more = if devices.len() > SHOWN {
        "\n  and more"
    } else {
        ""
    };
    format!("several devices have the host name {host_name:?}:{list}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_a_host_name() {
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
    fn namesakes_are_listed_up_to_ten() {
        let devices: Vec<DeviceId> = (10..21)
            .map(|day| format!("ocs:pc-2026-03-{day}-05-06-07").parse().unwrap())
            .collect();
        let two = ambiguous("pc", &devices[..2]);
        assert!(two.ends_with("\n  ocs:pc-2026-03-11-05-06-07"), "{two}");
        let many = ambiguous("pc", &devices);
        assert_eq!(many.lines().count(), 12);
        assert!(many.ends_with("and more"));
    }
}
