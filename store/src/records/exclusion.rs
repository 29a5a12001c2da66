//! Exclusion of devices: blocking, unblocking, and the conditions that other changes depend on.
//!
//! The exclusion is an attribute of the device's record, which each check-in reads. The catalogue
//! has an entry for each excluded device.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::event::{self, ChangedBy, ChangedDevices, UnsignedChange};
use packcast_rollout::exclusion::ExclusionKind;
use packcast_rollout::{Exclusion, ExclusionReason, ReconcileCount};
use serde::Deserialize;

use super::commit::Commit;
use super::item::{self, Item};
use super::key::{Key, Range};
use super::names::{EXCLUDED, KIND, LAST_SEEN, ROUND};
use super::stored::{self, ExcludedDevice, Joining};
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

/// Holds for a device that is not excluded.
pub(super) const NOT_EXCLUDED: &str = "attribute_not_exists(#excluded)";

/// Holds for a device that is not removed; see [`not_removed`].
pub(super) const NOT_REMOVED: &str =
    "(attribute_not_exists(#excluded) OR #excluded.#kind <> :removed)";

/// Adds the names and the value of [`NOT_REMOVED`].
pub(super) fn not_removed(terms: Terms) -> Terms {
    terms.name(EXCLUDED).name(KIND).value("removed", removed())
}

fn removed() -> AttributeValue {
    item::text(ExclusionKind::Removed.as_str())
}

/// Number of transactions at a time.
const AT_ONCE: usize = 4;

/// Outcome of blocking a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    New,
    /// The device was blocked before. A new reason has replaced the old one.
    Already,
    /// The device was removed, so its requests are refused already.
    Removed,
    /// No device with this id has ever checked in.
    UnknownDevice,
    /// The record of the device cannot be read. It has not changed.
    Unreadable,
}

/// Outcome of unblocking a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unblocked {
    /// The device continues with its groups, tasks and results.
    Blocked,
    /// The tombstone is gone. At its next check-in the device is a new one.
    Removed,
    /// The removal of the device was interrupted, and must be completed first.
    HalfRemoved,
    /// The device was not excluded.
    NotExcluded,
    /// No device with this id has ever checked in.
    UnknownDevice,
    /// The record of the device cannot be read. It has not changed.
    Unreadable,
}

/// The parts of a device's record that an exclusion depends on.
pub(super) struct Excludable {
    pub(super) joining: Joining,
    /// `None` for a tombstone.
    pub(super) host_name: Option<String>,
    /// `None` for a tombstone.
    pub(super) last_seen: Option<UnixTime>,
}

/// A device without an [`Excludable`].
#[derive(Clone, Copy)]
pub(super) enum NoExcludable {
    /// There is no record.
    Unknown,
    /// The record cannot be read. It must not stop the change of other devices.
    Unreadable,
}

/// The records of devices, as far as an exclusion depends on them.
pub(super) struct Excludables(BTreeMap<DeviceId, Option<Excludable>>);

impl Excludables {
    pub(super) fn of(&self, device: &DeviceId) -> Result<&Excludable, NoExcludable> {
        match self.0.get(device) {
            None => Err(NoExcludable::Unknown),
            Some(None) => Err(NoExcludable::Unreadable),
            Some(Some(found)) => Ok(found),
        }
    }
}

/// The attributes of a device's record that a tombstone lacks.
#[derive(Deserialize)]
struct Seen {
    host_name: Option<String>,
    last_seen: Option<UnixTime>,
}

impl Excludable {
    fn new(item: Item) -> Result<Self, RecordsError> {
        let Seen {
            host_name,
            last_seen,
        } = item::read(item.clone())?;
        Ok(Self {
            host_name,
            last_seen,
            joining: item::read(item)?,
        })
    }
}

/// Decides the outcome of blocking a device.
fn block_outcome(found: Result<&Excludable, NoExcludable>) -> Blocked {
    match found.map(|found| &found.joining.excluded) {
        Err(NoExcludable::Unknown) => Blocked::UnknownDevice,
        Err(NoExcludable::Unreadable) => Blocked::Unreadable,
        Ok(None) => Blocked::New,
        Ok(Some(before)) if before.is_removed() => Blocked::Removed,
        Ok(Some(_)) => Blocked::Already,
    }
}

/// Decides the outcome of unblocking a device.
fn unblock_outcome(found: Result<&Excludable, NoExcludable>) -> Unblocked {
    let found = match found {
        Ok(found) => found,
        Err(NoExcludable::Unknown) => return Unblocked::UnknownDevice,
        Err(NoExcludable::Unreadable) => return Unblocked::Unreadable,
    };
    let kind = found.joining.excluded.as_ref().map(|before| before.kind);
    match (kind, &found.host_name) {
        (None, _) => Unblocked::NotExcluded,
        (Some(ExclusionKind::Blocked), _) => Unblocked::Blocked,
        (Some(ExclusionKind::Removed), None) => Unblocked::Removed,
        (Some(ExclusionKind::Removed), Some(_)) => Unblocked::HalfRemoved,
    }
}

impl Records {
    /// Returns the outcomes that blocking these devices would have now, in the order of the devices.
    pub async fn block_outcomes(&self, devices: &[DeviceId]) -> Result<Vec<Blocked>, RecordsError> {
        let found = self.excludables(devices).await?;
        let outcomes = devices.iter().map(|device| block_outcome(found.of(device)));
        Ok(outcomes.collect())
    }

    /// Returns the outcomes that unblocking these devices would have now, in the order of the
    /// devices.
    pub async fn unblock_outcomes(
        &self,
        devices: &[DeviceId],
    ) -> Result<Vec<Unblocked>, RecordsError> {
        let found = self.excludables(devices).await?;
        let outcomes = devices
            .iter()
            .map(|device| unblock_outcome(found.of(device)));
        Ok(outcomes.collect())
    }

    /// Blocks devices, all of them different. Their requests are refused until they are unblocked.
    ///
    /// After this returns, no task is announced to the devices. A device that was blocked before
    /// stays blocked since then. Returns the outcomes in the order of the devices.
    pub async fn block(
        &self,
        devices: &[DeviceId],
        reason: Option<&ExclusionReason>,
        by: &ChangedBy,
    ) -> Result<Vec<Blocked>, RecordsError> {
        let decide = |device: &DeviceId, found: Result<&Excludable, NoExcludable>| {
            let outcome = block_outcome(found);
            let Some(found) = found.ok().filter(|_| outcome != Blocked::Removed) else {
                return (Vec::new(), outcome);
            };
            let before = found.joining.excluded.as_ref();
            let exclusion = match before {
                Some(before) => Exclusion {
                    reason: reason.or(before.reason.as_ref()).cloned(),
                    ..before.clone()
                },
                None => Exclusion {
                    kind: ExclusionKind::Blocked,
                    since: by.at.second(),
                    reason: reason.cloned(),
                },
            };
            if before == Some(&exclusion) {
                return (Vec::new(), outcome);
            }
            (self.excluding(device, found, &exclusion), outcome)
        };
        let change = |devices| UnsignedChange::Blocked {
            devices,
            reason: reason.cloned(),
        };
        self.change_devices(devices, by, &decide, &change).await
    }

    /// Lifts the exclusion of devices, all of them different. Returns the outcomes in the order of the
    /// devices.
    pub async fn unblock(
        &self,
        devices: &[DeviceId],
        by: &ChangedBy,
    ) -> Result<Vec<Unblocked>, RecordsError> {
        let decide = |device: &DeviceId, found: Result<&Excludable, NoExcludable>| {
            let outcome = unblock_outcome(found);
            let before = found.ok().and_then(|found| found.joining.excluded.as_ref());
            let key = Key::device(device);
            let (condition, terms) = unchanged(before);
            let write = match outcome {
                Unblocked::Blocked => {
                    let expression = "REMOVE #excluded";
                    write::update(self.table(), &key, expression, Some(&condition), &terms)
                }
                Unblocked::Removed => write::delete(self.table(), &key, &condition, &terms),
                Unblocked::HalfRemoved
                | Unblocked::NotExcluded
                | Unblocked::UnknownDevice
                | Unblocked::Unreadable => return (Vec::new(), outcome),
            };
            let entry = write::remove(self.table(), &Key::excluded_device(device));
            (vec![write, entry], outcome)
        };
        let change = |devices| UnsignedChange::Unblocked { devices };
        self.change_devices(devices, by, &decide, &change).await
    }

    /// Changes the exclusion of devices, each in one transaction with up to [`event::MAX_DEVICES`]
    /// others and the event of their change.
    ///
    /// With an event for each device, each change would cost about 50 % more. `decide` returns at
    /// most three writes for a device, and its outcome.
    pub(super) async fn change_devices<T>(
        &self,
        devices: &[DeviceId],
        by: &ChangedBy,
        decide: &impl Fn(&DeviceId, Result<&Excludable, NoExcludable>) -> (Vec<TransactWriteItem>, T),
        change: &impl Fn(ChangedDevices) -> UnsignedChange,
    ) -> Result<Vec<T>, RecordsError> {
        let together = devices.chunks(event::MAX_DEVICES);
        let changes: Vec<_> = together
            .map(|together| self.change_together(together, by, decide, change))
            .collect();
        stream::iter(changes).buffered(AT_ONCE).try_concat().await
    }

    async fn change_together<T>(
        &self,
        devices: &[DeviceId],
        by: &ChangedBy,
        decide: &impl Fn(&DeviceId, Result<&Excludable, NoExcludable>) -> (Vec<TransactWriteItem>, T),
        change: &impl Fn(ChangedDevices) -> UnsignedChange,
    ) -> Result<Vec<T>, RecordsError> {
        self.retry_on_conflict((), |()| async move {
            let all_found = self.excludables(devices).await?;
            let (mut writes, mut changed) = (Vec::new(), ChangedDevices::default());
            let mut outcomes = Vec::with_capacity(devices.len());
            for device in devices {
                let found = all_found.of(device);
                let (decided, outcome) = decide(device, found);
                if !decided.is_empty() {
                    let host_name = found.ok().and_then(|found| found.host_name.clone());
                    changed.devices.push(device.clone());
                    changed.host_names.push(host_name.unwrap_or_default());
                }
                writes.extend(decided);
                outcomes.push(outcome);
            }
            if writes.is_empty() {
                return Ok(ControlFlow::Break(outcomes));
            }
            writes.push(self.event(by, change(changed)));
            let is_done = self.commit(writes).await? == Commit::Done;
            Ok(if is_done {
                ControlFlow::Break(outcomes)
            } else {
                ControlFlow::Continue(())
            })
        })
        .await
    }

    /// Returns all blocked and removed devices.
    pub async fn excluded_devices(
        &self,
    ) -> Result<BTreeMap<DeviceId, ExcludedDevice>, RecordsError> {
        let entries: Vec<ExcludedDevice> = self.all(&Range::excluded_devices()).await?;
        let by_device = entries
            .into_iter()
            .map(|entry| (entry.device.clone(), entry));
        Ok(by_device.collect())
    }

    /// Reads the records of these devices, as far as an exclusion depends on them.
    pub(super) async fn excludables(
        &self,
        devices: &[DeviceId],
    ) -> Result<Excludables, RecordsError> {
        let keys: Vec<Key> = devices.iter().map(Key::device).collect();
        let found = self.batch(&keys).await?.into_iter();
        let found = found.filter_map(|item| {
            let device = Key::device_of(&item)?;
            Some((device, Excludable::new(item).ok()))
        });
        Ok(Excludables(found.collect()))
    }

    pub(super) async fn excludable(
        &self,
        device: &DeviceId,
    ) -> Result<Option<Excludable>, RecordsError> {
        let found = self.get_item(&Key::device(device)).await?;
        found.map(Excludable::new).transpose()
    }

    /// Returns the writes that exclude a device, if its exclusion and its last check-in have not
    /// changed.
    ///
    /// They also count a reconciliation: a change of the device's tasks that a check-in has decided
    /// before is then not written any more.
    pub(super) fn excluding(
        &self,
        device: &DeviceId,
        found: &Excludable,
        exclusion: &Exclusion,
    ) -> Vec<TransactWriteItem> {
        let (condition, terms) = unchanged(found.joining.excluded.as_ref());
        let condition = format!("{condition} AND #last_seen = :last_seen");
        let terms = terms
            .name(ROUND)
            .name(LAST_SEEN)
            .value("last_seen", item::attribute(&found.last_seen))
            .value("exclusion", item::attribute(exclusion))
            .value("first", item::number(&ReconcileCount::FIRST))
            .value("one", item::number(&1));
        let update = write::update(
            self.table(),
            &Key::device(device),
            "SET #excluded = :exclusion, #round = if_not_exists(#round, :first) + :one",
            Some(&condition),
            &terms,
        );
        let entry = ExcludedDevice {
            device: device.clone(),
            host_name: found.host_name.clone().unwrap_or_default(),
            exclusion: exclusion.clone(),
        };
        let entry = write::replace(self.table(), stored::excluded_device(&entry));
        vec![update, entry]
    }
}

/// Returns the condition that the exclusion of a device has not changed.
fn unchanged(before: Option<&Exclusion>) -> (String, Terms) {
    let terms = Terms::default().name(EXCLUDED);
    match before {
        None => (format!("{PRESENT} AND {NOT_EXCLUDED}"), terms),
        Some(before) => (
            "#excluded = :before".to_owned(),
            terms.value("before", item::attribute(before)),
        ),
    }
}
