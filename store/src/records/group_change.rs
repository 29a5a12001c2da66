//! Changes of a group's packages and settings.

use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::assignments::Assignee;
use packcast_protocol::{GroupName, LocationName, PackageId, UnixTime};
use packcast_rollout::validity::Validity;
use packcast_rollout::{GroupState, PacingChange, PackageRecord};

use super::Records;
use super::commit::Commit;
use super::group::GroupError;
use super::key::Key;
use super::revision::{UNCHANGED, unchanged};
use super::signing::Signing;
use super::stored;
use super::write::{self, PRESENT, Terms};

/// Outcome of a change of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupChanged {
    pub state: GroupState,
    /// Consumed write units.
    pub consumed_units: f64,
}

impl Records {
    /// Assigns a package to a group.
    ///
    /// The number of writes is small, and does not depend on the size of the group. The group
    /// `all` is created with its first package. The state of the group must be signed by the
    /// publisher already.
    pub async fn signed_assign_group(
        &self,
        group: &GroupName,
        package: &PackageRecord,
        force: bool,
        signing: Signing<'_>,
    ) -> Result<GroupChanged, GroupError> {
        let now = signing.now;
        self.retry_on_conflict((), |()| async move {
            let Some(state) = self.group_or_all(group, signing).await? else {
                let group = group.clone();
                return Err(GroupError::NoGroup { group });
            };
            signing.verify_latest_group(&state)?;
            let next = state.assign(package, force, now)?;
            let validity = Validity::following(state.signed_revision().issued, now);
            let next = signing.sign_group(next, validity)?;
            let mut writes = self.replacing(&state, &next);
            let entry = stored::group_with(package.id, group);
            writes.push(write::replace(self.table(), entry));
            // This check must be the last write: a deleted package is recognised by its position.
            writes.push(self.not_deleted(package.id));
            let (commit, consumed_units) = self.commit_metered(writes).await?;
            match commit {
                Commit::Done => {
                    signing.remember(&Assignee::Group(group.clone()), next.held());
                    Ok(ControlFlow::Break(GroupChanged {
                        state: next,
                        consumed_units,
                    }))
                }
                Commit::Refused(failed) if failed.last() == Some(&true) => {
                    let package = package.id;
                    Err(GroupError::Deleted { package })
                }
                Commit::Refused(_) => Ok(ControlFlow::Continue(())),
            }
        })
        .await
    }

    /// Unassigns a package from a group.
    ///
    /// After this returns, the package is not announced to any device because of this group.
    pub async fn signed_unassign_group(
        &self,
        group: &GroupName,
        package: PackageId,
        signing: Signing<'_>,
    ) -> Result<GroupChanged, GroupError> {
        let entry = write::delete(
            self.table(),
            &Key::group_with(package, group),
            PRESENT,
            &Terms::default(),
        );
        let not_assigned = || GroupError::NotAssigned {
            group: group.clone(),
            package,
        };
        self.change_group(group, signing, Some(entry), |state| {
            state
                .unassign(package, signing.now)
                .ok_or_else(not_assigned)
        })
        .await
    }

    /// Sets the location from which a group's devices download first.
    pub async fn signed_prefer(
        &self,
        group: &GroupName,
        location: Option<&LocationName>,
        signing: Signing<'_>,
    ) -> Result<GroupChanged, GroupError> {
        self.group_or_all(group, signing).await?;
        let change = |state: &GroupState| Ok(state.prefer(location.cloned(), signing.now));
        self.change_group(group, signing, None, change).await
    }

    /// Changes the pacing of a group's devices. The group `all` is created if it does not exist.
    pub async fn signed_pace_group(
        &self,
        group: &GroupName,
        change: &PacingChange,
        signing: Signing<'_>,
    ) -> Result<GroupChanged, GroupError> {
        self.group_or_all(group, signing).await?;
        let change = |state: &GroupState| Ok(state.with_pacing(change, signing.now));
        self.change_group(group, signing, None, change).await
    }

    /// Changes a group without assigning a package.
    ///
    /// A state that the publisher has not signed stays without a signature. `beside` is an
    /// additional write for the same transaction.
    async fn change_group(
        &self,
        group: &GroupName,
        signing: Signing<'_>,
        beside: Option<TransactWriteItem>,
        change: impl Fn(&GroupState) -> Result<GroupState, GroupError>,
    ) -> Result<GroupChanged, GroupError> {
        let (beside, change) = (&beside, &change);
        self.retry_on_conflict((), |()| async move {
            let state = match self.group(group).await? {
                Some(state) => state,
                // The group `all` always exists, but has no record before its first package.
                None if group.is_all() => GroupState::new(group.clone(), 0, UnixTime(0)),
                None => {
                    let group = group.clone();
                    return Err(GroupError::NoGroup { group });
                }
            };
            let next = signing.sign_if_verified(&state, change(&state)?)?;
            let mut writes = self.replacing(&state, &next);
            writes.extend(beside.clone());
            let (commit, consumed_units) = self.commit_metered(writes).await?;
            if commit == Commit::Done {
                signing.remember(&Assignee::Group(group.clone()), next.held());
                return Ok(ControlFlow::Break(GroupChanged {
                    state: next,
                    consumed_units,
                }));
            }
            Ok(ControlFlow::Continue(()))
        })
        .await
    }

    async fn group_or_all(
        &self,
        group: &GroupName,
        signing: Signing<'_>,
    ) -> Result<Option<GroupState>, GroupError> {
        let state = self.group(group).await?;
        if state.is_some() || !group.is_all() {
            return Ok(state);
        }
        match self.signed_create_group(group, signing).await {
            Ok(state) => Ok(Some(state)),
            Err(GroupError::Exists { .. }) => Ok(self.group(group).await?),
            Err(error) => Err(error),
        }
    }

    /// The writes that put a group's next state in the place of the one it was decided from.
    pub(super) fn replacing(
        &self,
        state: &GroupState,
        next: &GroupState,
    ) -> Vec<TransactWriteItem> {
        vec![
            write::put(
                self.table(),
                stored::group(next),
                UNCHANGED,
                &unchanged(state.revision),
            ),
            self.moving(
                &state.group,
                Some(state.signed_revision()),
                next.signed_revision(),
                false,
            ),
        ]
    }
}
