//! Keys of records, and the shards over which writes are spread.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use data_encoding::HEXLOWER;
use packcast_protocol::enrolment::BatchId;
use packcast_protocol::state::{CommitName, GroupOrigin, KeyListId, NodeHash, RolloutId};
use packcast_protocol::{
    DeviceId, GroupName, LocationName, PackageId, PackageName, PackageVersion, Priority,
    Sha256Digest,
};
use packcast_rollout::{DeviceCommand, EventTime};
use serde::Serialize;

use super::item::{self, Item, PK, SK};

/// Name of the index by package.
pub(super) const INDEX: &str = "by-package";
pub(super) const INDEX_PK: &str = "ipk";
pub(super) const INDEX_SK: &str = "isk";

/// Number of items over which the tally of a package is spread, with the copies of its activation.
pub(super) const TALLY_SHARDS: u16 = 64;
/// Number of copies of a group's revision.
pub(super) const REVISION_COPIES: u16 = TALLY_SHARDS;
/// Number of index partitions over which the devices of a package are spread.
pub(super) const INDEX_SHARDS: u16 = 64;
/// Number of partitions over which the catalogue of devices is spread.
pub(super) const DEVICE_SHARDS: u16 = 16;

/// Number of partitions over which the members of a group are spread.
pub(super) const MEMBER_SHARDS: u16 = 16;
/// Number of shards over which the rows of imports are spread.
pub(super) const IMPORT_SHARDS: u16 = 64;

pub(super) const DEVICE: &str = "0#DEVICE";
pub(super) const ORDER: &str = "0#ORDER#";
pub(super) const PACE: &str = "0#PACE";
pub(super) const WAITS: &str = "0#WAITS";
pub(super) const SETTLING: &str = "0#SETTLING#";
pub(super) const TASK: &str = "1#TASK#";
const FACTS: &str = "5#FACTS";
const HISTORY: &str = "5#HISTORY";
const DONE: &str = "9#DONE#";
const CATALOG: &str = "CATALOG";
const KEYS: &str = "KEYS";
pub(super) const HEAD: &str = "HEAD";
pub(super) const PAUSE: &str = "PAUSE";
const COMMIT: &str = "COMMIT";
const EVENT: &str = "EVENT";
const BATCH: &str = "BATCH";
const IMPORT: &str = "IMPORT";

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

    pub(super) fn command(device: &DeviceId, command: DeviceCommand) -> Self {
        let kind = match command {
            DeviceCommand::RestartDownload => "restart-download",
            DeviceCommand::Drop => "drop",
        };
        Self::new(device_partition(device), format!("{ORDER}{kind}"))
    }

    /// Key of a device's own pacing.
    pub(super) fn pace(device: &DeviceId) -> Self {
        Self::new(device_partition(device), PACE)
    }

    /// Key of the announced packages with which a device does not begin.
    pub(super) fn waits(device: &DeviceId) -> Self {
        Self::new(device_partition(device), WAITS)
    }

    /// Key of the daily facts of a device. An idle check-in does not read them.
    pub(super) fn facts(device: &DeviceId) -> Self {
        Self::new(device_partition(device), FACTS)
    }

    /// Key of the success of a device that is not healthy yet.
    pub(super) fn settling(device: &DeviceId, package: PackageId) -> Self {
        Self::new(device_partition(device), format!("{SETTLING}{package}"))
    }

    pub(super) fn history(device: &DeviceId) -> Self {
        Self::new(device_partition(device), HISTORY)
    }

    pub(super) fn finished(device: &DeviceId, package: PackageId) -> Self {
        Self::new(device_partition(device), format!("{DONE}{package}"))
    }

    /// Returns the device of the key of a device's item; `None` for other keys.
    pub(super) fn device_of(item: &Item) -> Option<DeviceId> {
        let pk = item.get(PK)?.as_s().ok()?;
        pk.strip_prefix("DEVICE#")?.parse().ok()
    }

    pub(super) fn package(package: PackageId) -> Self {
        Self::new(package_partition(package), "PACKAGE")
    }

    pub(super) fn gate(rollout: RolloutId) -> Self {
        Self::new(format!("GATE#{rollout}"), "GATE")
    }

    /// Key of the entry, in the partition of a package, for a rollout of the package.
    pub(super) fn rollout_of(package: PackageId, rollout: RolloutId) -> Self {
        Self::new(package_partition(package), format!("ROLLOUT#{rollout}"))
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

    /// Key of the current commit.
    pub(super) fn head() -> Self {
        Self::new(HEAD.to_owned(), HEAD)
    }

    /// Key of the head up to which all records are complete.
    ///
    /// It is an item of its own: as an attribute of the head, its updates and the changes of the
    /// head would refuse each other.
    pub(super) fn recorded_head() -> Self {
        Self::new(HEAD.to_owned(), "RECORDED")
    }

    /// Key of the mark of a paused target.
    pub(super) fn pause() -> Self {
        Self::new(HEAD.to_owned(), PAUSE)
    }

    /// Key of a commit. The keys of commits are in the order of their numbers.
    pub(super) fn commit(name: &CommitName) -> Self {
        let short = HEXLOWER.encode(&name.short());
        Self::new(COMMIT.to_owned(), format!("{:020}-{short}", name.number()))
    }

    /// Key of an event. The keys of events are in the order of their times; `random` is different for
    /// each event.
    pub(super) fn event(at: EventTime, random: u64) -> Self {
        let sk = format!("{:020}-{random:016x}", at.microseconds());
        Self::new(EVENT.to_owned(), sk)
    }

    /// Returns the time of the key of an event; `None` for other keys.
    pub(super) fn time_of_event(item: &Item) -> Option<EventTime> {
        let sk = item.get(SK)?.as_s().ok()?;
        let (at, _) = sk.split_once('-')?;
        at.parse().ok().map(EventTime::of_microseconds)
    }

    /// Key of a page of a tree.
    pub(super) fn page(hash: &NodeHash) -> Self {
        Self::new(format!("PAGE#{hash}"), "PAGE")
    }

    /// Key of a document of the signed state.
    pub(super) fn document(digest: &Sha256Digest) -> Self {
        Self::new(format!("DOC#{digest}"), "DOC")
    }

    /// Key of one key list. The keys of lists are in the order of their serial numbers.
    pub(super) fn key_list(id: &KeyListId) -> Self {
        let short = HEXLOWER.encode(&id.digest.as_bytes()[..4]);
        Self::new(KEYS.to_owned(), format!("{:020}-{short}", id.serial))
    }

    /// Key of an enrolment batch.
    pub(super) fn batch(batch: &BatchId) -> Self {
        Self::new(BATCH.to_owned(), format!("BATCH#{batch}"))
    }

    /// Key of a device that an enrolment batch has enrolled.
    pub(super) fn batch_member(batch: &BatchId, device: &DeviceId) -> Self {
        Self::new(format!("BATCH#{batch}"), format!("DEVICE#{device}"))
    }

    /// Key of a part of the rows that imports from OCS servers have carried over.
    pub(super) fn imported_rows(shard: u16, part: u32) -> Self {
        Self::new(IMPORT.to_owned(), format!("ROWS#{shard:02}#{part:04}"))
    }

    /// Key of the group of an OCS server from which a group was imported.
    pub(super) fn imported_group(origin: &GroupOrigin) -> Self {
        let GroupOrigin { name, created } = origin;
        Self::new(IMPORT.to_owned(), format!("GROUP#{name}#{created}"))
    }

    /// Key of the package of an OCS server from which a package was imported.
    pub(super) fn imported_package(package: PackageId) -> Self {
        Self::new(IMPORT.to_owned(), format!("PACKAGE#{package}"))
    }

    pub(super) fn group_state(group: &GroupName) -> Self {
        Self::new(format!("GROUP#{group}"), "STATE")
    }

    pub(super) fn group_revision(group: &GroupName) -> Self {
        Self::new(format!("GROUP#{group}"), "REVISION")
    }

    /// Key of a copy of a group's revision.
    pub(super) fn revision_copy(group: &GroupName, shard: u16) -> Self {
        Self::new(members_partition(group, shard), "REVISION")
    }

    pub(super) fn catalogued_group(group: &GroupName) -> Self {
        Self::new(CATALOG.to_owned(), format!("GROUP#{group}"))
    }

    /// Key of the entry, in the partition of a package, for a group that has the package.
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

    /// Key of the entry for a blocked or removed device.
    pub(super) fn excluded_device(device: &DeviceId) -> Self {
        Self::new(CATALOG.to_owned(), format!("EXCLUDED#{device}"))
    }

    /// Key of the entry for a host name, in lower case.
    pub(super) fn host(name: &str, device: &DeviceId) -> Self {
        Self::new(host_partition(name), format!("DEVICE#{device}"))
    }

    /// Returns the item that stores a value at this key.
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
    /// Range of the items that a check-in reads: the device with its commands, its pacing, and
    /// its open tasks.
    pub(super) fn device_state(device: &DeviceId) -> Self {
        Self {
            pk: device_partition(device),
            first: "0#".to_owned(),
            last: "2#".to_owned(),
        }
    }

    pub(super) fn open_tasks(device: &DeviceId) -> Self {
        Self::prefix(device_partition(device), "1#TASK")
    }

    pub(super) fn settling(device: &DeviceId) -> Self {
        Self::prefix(device_partition(device), "0#SETTLING")
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

    pub(super) fn imported_rows() -> Self {
        Self::prefix(IMPORT.to_owned(), "ROWS")
    }

    pub(super) fn imported_packages() -> Self {
        Self::prefix(IMPORT.to_owned(), "PACKAGE")
    }

    pub(super) fn imported_groups() -> Self {
        Self::prefix(IMPORT.to_owned(), "GROUP")
    }

    /// Range of the finished packages of a device with ids up to `last`; all of them if it is `None`.
    pub(super) fn finished_until(device: &DeviceId, last: Option<PackageId>) -> Self {
        let all = Self::finished(device);
        match last {
            Some(id) => Self {
                last: format!("{DONE}{id}"),
                ..all
            },
            None => all,
        }
    }

    /// Range of all versions of a name.
    pub(super) fn versions(name: &PackageName) -> Self {
        Self::prefix(CATALOG.to_owned(), &format!("NAME#{name}"))
    }

    pub(super) fn locations() -> Self {
        Self::prefix(CATALOG.to_owned(), "LOCATION")
    }

    pub(super) fn batches() -> Self {
        Self::prefix(BATCH.to_owned(), BATCH)
    }

    pub(super) fn catalogued_groups() -> Self {
        Self::prefix(CATALOG.to_owned(), "GROUP")
    }

    pub(super) fn groups_with(package: PackageId) -> Self {
        Self::prefix(package_partition(package), "GROUP")
    }

    pub(super) fn rollouts_of(package: PackageId) -> Self {
        Self::prefix(package_partition(package), "ROLLOUT")
    }

    pub(super) fn members(group: &GroupName, shard: u16) -> Self {
        Self::prefix(members_partition(group, shard), "DEVICE")
    }

    pub(super) fn catalogued_devices(shard: u16) -> Self {
        Self::prefix(catalogued_devices_partition(shard), "DEVICE")
    }

    /// Range of the catalogued packages with ids up to `last`; all of them if it is `None`.
    pub(super) fn catalogued_packages_until(last: Option<PackageId>) -> Self {
        let all = Self::catalogued_packages();
        match last {
            Some(id) => Self {
                last: format!("PACKAGE#{id}"),
                ..all
            },
            None => all,
        }
    }

    /// Range of the catalogued groups from `first` on; all of them if it is `None`.
    pub(super) fn catalogued_groups_from(first: Option<&GroupName>) -> Self {
        let all = Self::catalogued_groups();
        match first {
            Some(group) => Self {
                first: format!("GROUP#{group}"),
                ..all
            },
            None => all,
        }
    }

    /// Returns the part of a range of devices from `first` on; the whole range if it is `None`.
    pub(super) fn beginning_at(self, first: Option<&DeviceId>) -> Self {
        match first {
            Some(device) => Self {
                first: format!("DEVICE#{device}"),
                ..self
            },
            None => self,
        }
    }

    /// Range of the devices of a shard with an OCS agent.
    pub(super) fn catalogued_ocs_devices(shard: u16) -> Self {
        Self {
            pk: catalogued_devices_partition(shard),
            first: "DEVICE#ocs:".to_owned(),
            // `;` is the character after `:`.
            last: "DEVICE#ocs;".to_owned(),
        }
    }

    pub(super) fn excluded_devices() -> Self {
        Self::prefix(CATALOG.to_owned(), "EXCLUDED")
    }

    pub(super) fn host(name: &str) -> Self {
        Self::prefix(host_partition(name), "DEVICE")
    }

    /// Range of the current commit and the mark of a paused target.
    pub(super) fn head_and_pause() -> Self {
        Self {
            pk: HEAD.to_owned(),
            first: HEAD.to_owned(),
            last: PAUSE.to_owned(),
        }
    }

    /// Range of the commits with numbers below `before`.
    pub(super) fn commits(before: u64) -> Self {
        Self {
            pk: COMMIT.to_owned(),
            first: "0".to_owned(),
            // A commit of number `before` has a longer key, which comes after this one.
            last: format!("{before:020}"),
        }
    }

    /// Range of the events before a time.
    pub(super) fn events(before: EventTime) -> Self {
        Self {
            pk: EVENT.to_owned(),
            first: "0".to_owned(),
            // An event of the time itself has a longer key, which comes after this one.
            last: format!("{:020}", before.microseconds()),
        }
    }

    /// Range of the key lists with serial numbers above `after`.
    pub(super) fn key_lists(after: u64) -> Self {
        Self {
            pk: KEYS.to_owned(),
            // `.` is the character after `-`, so the list with this serial number is left out.
            first: format!("{after:020}."),
            last: "9~".to_owned(),
        }
    }

    /// Range of every key that begins with a word and `#`.
    ///
    /// `$` is the character after `#`.
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

/// Returns the partition of the index for one shard of a package's devices.
pub(super) fn index_partition(package: PackageId, shard: u16) -> String {
    format!("PACKAGE#{package}#{shard:02}")
}

/// Returns the sort key of the index for a device in a state.
pub(super) fn index_sort(state: &str, device: &DeviceId) -> String {
    format!("{}{device}", index_sort_prefix(state))
}

/// Returns the beginning of the sort keys of the index for all devices in a state.
pub(super) fn index_sort_prefix(state: &str) -> String {
    format!("{state}#")
}

/// Returns the shard of a device, out of `shards`. It is always the same for a device.
pub(super) fn shard(device: &DeviceId, shards: u16) -> u16 {
    let digest = Sha256Digest::of(device.to_string().as_bytes());
    u16::from_be_bytes([digest.as_bytes()[0], digest.as_bytes()[1]]) % shards
}
