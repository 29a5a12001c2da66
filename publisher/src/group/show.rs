//! Details of a group: its packages and its devices.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{GroupDocument, GroupOrigin, LeafName};
use packcast_protocol::{DeviceId, GroupName, LocationName, PackageId, Sha256Digest, UnixTime};
use packcast_rollout::PacingOverride;
use packcast_rollout::group::GroupAssignment;
use packcast_store::records::ImportedGroup;
use serde::Serialize;

use crate::clock::now;
use crate::failure::Failure;
use crate::known_group::of_all_or_known;
use crate::package::{named, state as state_word, warn_of_packages};
use crate::state::TargetState;
use crate::target::Target;

/// The number of records in one read.
const BATCH: usize = 1_000;

/// The number of these reads at a time.
const READS_AT_ONCE: usize = 4;

/// A group with its packages and, on request, its devices.
#[derive(Debug, Serialize)]
pub struct GroupDetails {
    pub group: GroupName,
    pub revision: u64,
    /// The number of devices.
    pub size: u64,
    pub preferred: Option<LocationName>,
    #[serde(skip_serializing_if = "PacingOverride::is_empty")]
    pub pacing: PacingOverride,
    /// In the order of the packages' ids.
    pub assignments: Vec<GroupPackage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<GroupMember>>,
    /// The group of an OCS server from which the group was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedGroup>,
    pub created_at: UnixTime,
    /// Number of the commit that created the group, or gave it its present name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// First name of a group that was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<GroupOrigin>,
    /// Digest of the group's document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Sha256Digest>,
}

/// A package of a group.
#[derive(Debug, Serialize)]
pub struct GroupPackage {
    #[serde(flatten)]
    pub assignment: GroupAssignment,
    /// Devices may replace a later version with the package. `None` if this machine cannot verify
    /// the signed state, or if the record does not follow from its head.
    pub downgrade: Option<bool>,
    /// `name@version`; empty if the package has no record.
    pub name: String,
    /// The state of the package in one word; empty if the package has no record.
    pub state: &'static str,
}

/// A device of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupMember {
    pub device: DeviceId,
    /// Empty if the device has no record.
    pub host_name: String,
}

/// Returns a group, with its devices if `with_devices` is set.
pub async fn show(
    target: &Target,
    group: &GroupName,
    with_devices: bool,
) -> Result<GroupDetails, Failure> {
    let found = of_all_or_known(target, group).await?;
    let ids: Vec<PackageId> = found.assignments.iter().map(|a| a.package).collect();
    let devices = if with_devices {
        Some(members(target, group).await?)
    } else {
        None
    };
    let packages = target.records.packages_of(&ids).await?;
    let state = warn_of_packages(target, &packages).await?;
    let document = match state {
        Some(state) => document(target, state, group).await,
        None => None,
    };
    let imported = match found.origin() {
        // The policy of an older stack does not allow the read.
        Some(origin) => target
            .records
            .imported_group(&origin)
            .await
            .unwrap_or_default(),
        None => None,
    };
    let now = now();
    let assignments = found.assignments.into_iter().map(|assignment| {
        let package = packages.iter().find(|it| it.id == assignment.package);
        GroupPackage {
            name: package.map(named).unwrap_or_default(),
            state: package.map(|it| state_word(it, now)).unwrap_or_default(),
            downgrade: document
                .as_ref()
                .and_then(|document| downgrade(document, &assignment)),
            assignment,
        }
    });
    Ok(GroupDetails {
        assignments: assignments.collect(),
        size: target.records.size(group).await?,
        group: found.group,
        revision: found.revision,
        preferred: found.preferred,
        pacing: found.pace,
        devices,
        imported,
        created_at: found.created_at,
        created: found.created,
        origin: found.origin,
        document: found.document,
    })
}

/// Returns the document of a group in the signed state. `None` if the state does not have the group,
/// or if its documents do not verify, which `audit` reports.
async fn document(
    target: &Target,
    mut state: TargetState,
    group: &GroupName,
) -> Option<GroupDocument> {
    let names = [LeafName::Group(group.clone())].into();
    let part = state.trees.part(&target.records, names).await.ok()?;
    part.group(group).ok()?.cloned()
}

/// Returns true if the entry that an assignment follows from allows a downgrade.
fn downgrade(document: &GroupDocument, assignment: &GroupAssignment) -> Option<bool> {
    let entry = document.packages.of(assignment.package)?;
    (Some(entry.seq) == assignment.mandate).then(|| entry.terms.allows_downgrade())
}

/// Returns the devices of a group with their host names, in the order of their ids.
async fn members(target: &Target, group: &GroupName) -> Result<Vec<GroupMember>, Failure> {
    let ids = target.records.members(group).await?;
    let host_names = stream::iter(ids.chunks(BATCH))
        .map(|ids| async move {
            let found = target.records.device_records(ids).await?.into_iter();
            let names = found.map(|(record, _)| (record.device, record.host_name));
            Ok::<_, Failure>(names.collect::<Vec<_>>())
        })
        .buffered(READS_AT_ONCE)
        .try_concat()
        .await?;
    let mut host_names: BTreeMap<DeviceId, String> = host_names.into_iter().collect();
    let member = |device| GroupMember {
        host_name: host_names.remove(&device).unwrap_or_default(),
        device,
    };
    Ok(ids.into_iter().map(member).collect())
}
