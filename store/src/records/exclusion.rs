//! Exclusion of devices: blocking, unblocking, and the conditions that other changes depend on.
//!
//! The exclusion is an attribute of the device's record, which each check-in reads. The catalogue
//! has an entry for each excluded device.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use packcast_protocol::{DeviceId, UnixTime};
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
}

/// The parts of a device's record that an exclusion depends on.
pub(super) struct Excludable {
    pub(super) joining: Joining,
    /// `None` for a tombstone.
    pub(super) host_name: Option<String>,
    /// `None` for a tombstone.
    pub(super) last_seen: Option<UnixTime>,
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
fn block_outcome(found: Option<&Excludable>) -> Blocked {
    match found.map(|found| &found.joining.excluded) {
        None => Blocked::UnknownDevice,
        Some(None) => Blocked::New,
        Some(Some(before)) if before.is_removed() => Blocked::Removed,
        Some(Some(_)) => Blocked::Already,
    }
}

/// Decides the outcome of unblocking a device.
fn unblock_outcome(found: Option<&Excludable>) -> Unblocked {
    let Some(found) = found else {
        return Unblocked::UnknownDevice;
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
    /// Returns the outcome that blocking a device would have now.
    pub async fn block_outcome(&self, device: &DeviceId) -> Result<Blocked, RecordsError> {
        Ok(block_outcome(self.excludable(device).await?.as_ref()))
    }

    /// Returns the outcome that unblocking a device would have now.
    pub async fn unblock_outcome(&self, device: &DeviceId) -> Result<Unblocked, RecordsError> {
        Ok(unblock_outcome(self.excludable(device).await?.as_ref()))
    }

    /// Blocks a device. Its requests are refused until it is unblocked.
    ///
    /// After this returns, no task is announced to the device. A device that was blocked before
    /// stays blocked since then.
    pub async fn block(
        &self,
        device: &DeviceId,
        reason: Option<&ExclusionReason>,
        now: UnixTime,
    ) -> Result<Blocked, RecordsError> {
        self.retry_on_conflict((), |()| async move {
            let found = self.excludable(device).await?;
            let outcome = block_outcome(found.as_ref());
            let Some(found) = found.filter(|_| outcome != Blocked::Removed) else {
                return Ok(ControlFlow::Break(outcome));
            };
            let before = found.joining.excluded.as_ref();
            let exclusion = match before {
                Some(before) => Exclusion {
                    reason: reason.or(before.reason.as_ref()).cloned(),
                    ..before.clone()
                },
                None => Exclusion {
                    kind: ExclusionKind::Blocked,
                    since: now,
                    reason: reason.cloned(),
                },
            };
            if before == Some(&exclusion) {
                return Ok(ControlFlow::Break(outcome));
            }
            let writes = self.excluding(device, &found, &exclusion);
            let is_done = self.commit(writes).await? == Commit::Done;
            Ok(if is_done {
                ControlFlow::Break(outcome)
            } else {
                ControlFlow::Continue(())
            })
        })
        .await
    }

    /// Lifts the exclusion of a device.
    pub async fn unblock(&self, device: &DeviceId) -> Result<Unblocked, RecordsError> {
        self.retry_on_conflict((), |()| async move {
            let found = self.excludable(device).await?;
            let outcome = unblock_outcome(found.as_ref());
            let before = found.and_then(|found| found.joining.excluded);
            let key = Key::device(device);
            let (condition, terms) = unchanged(before.as_ref());
            let write = match outcome {
                Unblocked::Blocked => {
                    let expression = "REMOVE #excluded";
                    write::update(self.table(), &key, expression, Some(&condition), &terms)
                }
                Unblocked::Removed => write::delete(self.table(), &key, &condition, &terms),
                Unblocked::HalfRemoved | Unblocked::NotExcluded | Unblocked::UnknownDevice => {
                    return Ok(ControlFlow::Break(outcome));
                }
            };
            let entry = write::remove(self.table(), &Key::excluded_device(device));
            let is_done = self.commit(vec![write, entry]).await? == Commit::Done;
            Ok(if is_done {
                ControlFlow::Break(outcome)
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
