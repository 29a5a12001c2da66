//! Groups of devices, which are assigned packages together.

mod members;
mod pace;
mod show;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{GroupName, LocationName, UnixTime};
use packcast_rollout::GroupState;
use packcast_store::records::GroupError;
use serde::Serialize;

pub use self::members::{MembersChanged, add, remove};
pub use self::pace::{GroupPace, pace};
pub use self::show::{GroupDetails, show};
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::{Failure, Kind};
use crate::location::choose;
use crate::progress::Progress;
use crate::signing::{Signer, expiry};
use crate::target::Target;
use crate::warning::Warning;

/// The groups of a target. It serializes as their list.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Groups {
    pub groups: Vec<GroupSummary>,
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

/// A group in a list.
#[derive(Debug, Serialize)]
pub struct GroupSummary {
    pub group: GroupName,
    pub devices: u64,
    pub packages: usize,
    pub preferred: Option<LocationName>,
    /// The end of the signature over its packages.
    pub expires: Option<UnixTime>,
}

/// A group that was deleted.
#[derive(Debug, Serialize)]
pub struct GroupDeleted {
    pub group: GroupName,
}

/// Creates a group without devices and packages.
pub async fn create(
    target: &Target,
    group: &GroupName,
    signer: &Signer,
) -> Result<GroupState, Failure> {
    not_all(group)?;
    let created = target.records.create_group(group, signer.signing()).await;
    Ok(created?)
}

/// Sets the location that the devices of a group fetch from first; `None` prefers none.
pub async fn prefer(
    target: &Target,
    group: &GroupName,
    location: Option<&LocationName>,
    signer: &Signer,
) -> Result<GroupState, Failure> {
    if let Some(name) = location {
        choose(target, std::slice::from_ref(name)).await?;
    }
    let signing = signer.signing();
    let changed = target.records.prefer(group, location, signing).await?;
    Ok(changed.state)
}

/// Lists the groups with their sizes; `all` is there from the start.
pub async fn list(target: &Target) -> Result<Groups, Failure> {
    let mut states = target.records.groups().await?;
    if !states.iter().any(|state| state.group.is_all()) {
        states.insert(0, GroupState::new(GroupName::all(), 0, now()));
    }
    let warnings = states.iter().filter_map(expiry_warning).collect();
    let groups = stream::iter(states)
        .map(|state| async move {
            Ok::<_, Failure>(GroupSummary {
                devices: target.records.size(&state.group).await?,
                packages: state.assignments.len(),
                expires: expires(&state),
                group: state.group,
                preferred: state.preferred,
            })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(Groups { groups, warnings })
}

/// Deletes a group that has neither devices nor packages. With a signer, its packages are
/// withdrawn and its devices removed first.
pub async fn delete(
    target: &Target,
    group: &GroupName,
    signer: Option<&Signer>,
    progress: &Progress,
) -> Result<GroupDeleted, Failure> {
    not_all(group)?;
    let state = known(target, group).await?;
    if let Some(signer) = signer {
        // Its packages first: from here on nobody is told of anything for this group.
        for assignment in &state.assignments {
            target
                .records
                .unassign_group(group, assignment.package, signer.signing())
                .await?;
        }
        members::empty(target, group, signer, progress).await?;
    }
    if target.records.delete_group(group).await? {
        let group = group.clone();
        return Ok(GroupDeleted { group });
    }
    let state = known(target, group).await?;
    let devices = target.records.size(group).await?;
    Err(Failure::new(
        Kind::Conflict,
        format!(
            "group {group} has {devices} devices and {} packages",
            state.assignments.len()
        ),
    )
    .hint("--force takes its packages back and its devices out first"))
}

/// Refuses changes that make no sense for the group that every device is in.
fn not_all(group: &GroupName) -> Result<(), Failure> {
    if group.is_all() {
        let why = "every device is in the group 'all', which cannot be changed";
        return Err(Failure::usage(why));
    }
    Ok(())
}

async fn known(target: &Target, group: &GroupName) -> Result<GroupState, Failure> {
    let state = target.records.group(group).await?;
    state.ok_or_else(|| {
        let group = group.clone();
        GroupError::NoGroup { group }.into()
    })
}

/// Returns the end of the signature over a group's packages.
fn expires(state: &GroupState) -> Option<UnixTime> {
    state.signature.as_ref().map(|signature| signature.expires)
}

/// Returns a warning if the signature over a group's packages ends soon.
fn expiry_warning(state: &GroupState) -> Option<Warning> {
    if state.assignments.is_empty() {
        return None;
    }
    expiry::warning(&format!("group {}", state.group), expires(state))
}

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Records(error) => error.into(),
            GroupError::Signing(error) => error.into(),
            GroupError::NoGroup { .. } => {
                Self::failed(error).hint("'packcast group list' shows what there is")
            }
            GroupError::Exists { .. } => Self::conflict(error),
            GroupError::NotAssigned { .. } | GroupError::Deleted { .. } | GroupError::Assign(_) => {
                Self::failed(error)
            }
        }
    }
}
