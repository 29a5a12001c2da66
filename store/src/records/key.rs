//! Where each record is: partition and sort keys, and the shards that writes spread over.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use packcast_protocol::{
    DeviceId, GroupName, LocationName, PackageId, PackageName, PackageVersion, Priority,
    Sha256Digest,
};
use packcast_rollout::DeviceCommand;
use serde::Serialize;

use super::item::{self, Item, PK, SK};

/// The index by package, and the attributes of its keys.
pub(super) const INDEX: &str = "by-package";
pub(super) const INDEX_PK: &str = "ipk";
pub(super) const INDEX_SK: &str = "isk";

/// Over how many items the tally of a package is spread.
pub(super) const TALLY_SHARDS: u16 = 32;
/// Over how many partitions of the index the devices of a package are spread.
pub(super) const INDEX_SHARDS: u16 = 64;
/// Over how many partitions the catalogue of devices is spread.
pub(super) const DEVICE_SHARDS: u16 = 16;

/// Over how many partitions the members of a group are spread.
pub(super) const MEMBER_SHARDS: u16 = 16;

pub(super) const DEVICE: &str = "0#DEVICE";
pub(super) const ORDER: &str = "0#ORDER#";
pub(super) const PACE: &str = "0#PACE";
pub(super) const TASK: &str = "1#TASK#";
const HISTORY: &str = "5#HISTORY";
const OWN: &str = "6#ASSIGNED";
const DONE: &str = "9#DONE#";
const CATALOG: &str = "CATALOG";
const KEYS: &str = "KEYS";

/// The key of one item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

/// The keys of a range of items in one partition, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) pk: String,
    pub(super) first: String,
    pub(super) last: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pk, self.sk)
    }
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    pub(super) fn device(device: &DeviceId) -> Self {
        Self::new(device_partition(device), DEVICE)
    }

    pub(super) fn task(device: &DeviceId, priority: Priority, package: PackageId) -> Self {
        let sk = format!("{TASK}{:02}#{package}", priority.get());
        Self::new(device_partition(device), sk)
    }

    pub(super) fn order(device: &DeviceId, order: DeviceCommand) -> Self {
        let kind = match order {
            DeviceCommand::Unstick => "unstick",
            DeviceCommand::Cancel => "cancel",
        };
        Self::new(device_partition(device), format!("{ORDER}{kind}"))
    }

    /// What a device has instead of its target's pace.
    pub(super) fn pace(device: &DeviceId) -> Self {
        Self::new(device_partition(device), PACE)
    }

    pub(super) fn history(device: &DeviceId) -> Self {
        Self::new(device_partition(device), HISTORY)
    }

    /// What a device is assigned itself, signed.
    pub(super) fn own(device: &DeviceId) -> Self {
        Self::new(device_partition(device), OWN)
    }

    pub(super) fn finished(device: &DeviceId, package: PackageId) -> Self {
        Self::new(device_partition(device), format!("{DONE}{package}"))
    }

    pub(super) fn package(package: PackageId) -> Self {
        Self::new(package_partition(package), "PACKAGE")
    }

    pub(super) fn tally(package: PackageId, shard: u16) -> Self {
        Self::new(format!("TALLY#{package}#{shard:02}"), "TALLY")
    }

    pub(super) fn catalogued_package(package: PackageId) -> Self {
        Self::new(CATALOG.to_owned(), format!("PACKAGE#{package}"))
    }

    pub(super) fn catalogued_name(name: &PackageName, version: &PackageVersion) -> Self {
        Self::new(CATALOG.to_owned(), format!("NAME#{name}#{version}"))
    }

    pub(super) fn location(name: &LocationName) -> Self {
        Self::new(CATALOG.to_owned(), format!("LOCATION#{name}"))
    }

    /// The lists of trusted keys.
    pub(super) fn keys() -> Self {
        Self::new(KEYS.to_owned(), KEYS)
    }

    pub(super) fn group_state(group: &GroupName) -> Self {
        Self::new(format!("GROUP#{group}"), "STATE")
    }

    pub(super) fn group_revision(group: &GroupName) -> Self {
        Self::new(format!("GROUP#{group}"), "REVISION")
    }

    pub(super) fn catalogued_group(group: &GroupName) -> Self {
        Self::new(CATALOG.to_owned(), format!("GROUP#{group}"))
    }

    /// Says, beside a package, that a group has it.
    pub(super) fn group_with(package: PackageId, group: &GroupName) -> Self {
        Self::new(package_partition(package), format!("GROUP#{group}"))
    }

    pub(super) fn member(group: &GroupName, device: &DeviceId) -> Self {
        let pk = members_partition(group, shard(device, MEMBER_SHARDS));
        Self::new(pk, format!("DEVICE#{device}"))
    }

    pub(super) fn member_count(group: &GroupName, shard: u16) -> Self {
        Self::new(members_partition(group, shard), "COUNT")
    }

    pub(super) fn device_count(shard: u16) -> Self {
        Self::new(catalogued_devices_partition(shard), "COUNT")
    }

    pub(super) fn catalogued_device(device: &DeviceId) -> Self {
        let pk = catalogued_devices_partition(shard(device, DEVICE_SHARDS));
        Self::new(pk, format!("DEVICE#{device}"))
    }

    /// Host names are compared without regard to case.
    pub(super) fn host(name: &str, device: &DeviceId) -> Self {
        Self::new(host_partition(name), format!("DEVICE#{device}"))
    }

    /// Returns the item of a value that lies at this key.
    pub(super) fn item<T: Serialize>(&self, value: &T) -> Item {
        let mut item = item::attributes(value);
        item.extend(self.attributes());
        item
    }

    pub(super) fn attributes(&self) -> Item {
        HashMap::from([
            (PK.to_owned(), AttributeValue::S(self.pk.clone())),
            (SK.to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

impl Range {
    /// What a check-in reads: the device, the orders for it, its pace, and its open tasks.
    pub(super) fn standing(device: &DeviceId) -> Self {
        Self {
            pk: device_partition(device),
            first: "0#".to_owned(),
            last: "2#".to_owned(),
        }
    }

    pub(super) fn finished(device: &DeviceId) -> Self {
        Self::prefix(device_partition(device), "9#DONE")
    }

    pub(super) fn catalogued_packages() -> Self {
        Self::prefix(CATALOG.to_owned(), "PACKAGE")
    }

    pub(super) fn catalogued_names() -> Self {
        Self::prefix(CATALOG.to_owned(), "NAME")
    }

    pub(super) fn locations() -> Self {
        Self::prefix(CATALOG.to_owned(), "LOCATION")
    }

    pub(super) fn catalogued_groups() -> Self {
        Self::prefix(CATALOG.to_owned(), "GROUP")
    }

    pub(super) fn groups_with(package: PackageId) -> Self {
        Self::prefix(package_partition(package), "GROUP")
    }

    pub(super) fn members(group: &GroupName, shard: u16) -> Self {
        Self::prefix(members_partition(group, shard), "DEVICE")
    }

    pub(super) fn catalogued_devices(shard: u16) -> Self {
        Self::prefix(catalogued_devices_partition(shard), "DEVICE")
    }

    pub(super) fn host(name: &str) -> Self {
        Self::prefix(host_partition(name), "DEVICE")
    }

    /// Every key that begins with a word and `#`; `$` is the sign after it.
    fn prefix(pk: String, word: &str) -> Self {
        Self {
            pk,
            first: format!("{word}#"),
            last: format!("{word}$"),
        }
    }
}

fn device_partition(device: &DeviceId) -> String {
    format!("DEVICE#{device}")
}

fn package_partition(package: PackageId) -> String {
    format!("PACKAGE#{package}")
}

fn members_partition(group: &GroupName, shard: u16) -> String {
    format!("GROUP#{group}#{shard:02}")
}

fn catalogued_devices_partition(shard: u16) -> String {
    format!("DEVICES#{shard:02}")
}

fn host_partition(name: &str) -> String {
    format!("HOST#{}", name.to_lowercase())
}

/// The index's partition with a package's devices of one shard.
pub(super) fn index_partition(package: PackageId, shard: u16) -> String {
    format!("PACKAGE#{package}#{shard:02}")
}

/// The index's sort key of a device in a state.
pub(super) fn index_sort(state: &str, device: &DeviceId) -> String {
    format!("{state}#{device}")
}

/// Returns which of `shards` a device belongs to, always the same one.
pub(super) fn shard(device: &DeviceId, shards: u16) -> u16 {
    let digest = Sha256Digest::of(device.to_string().as_bytes());
    u16::from_be_bytes([digest.as_bytes()[0], digest.as_bytes()[1]]) % shards
}
