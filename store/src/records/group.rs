//! Groups: creating, reading and deleting them.

use std::ops::ControlFlow;

use packcast_protocol::assignments::Assignee;
use packcast_protocol::{GroupName, PackageId};
use packcast_rollout::GroupState;
use packcast_rollout::group::{GroupAssignError, GroupRevision};
use packcast_rollout::validity::next_revision;

use super::commit::Commit;
use super::item;
use super::key::{Key, Range};
use super::revision::{UNCHANGED, unchanged};
use super::signing::{AssignError, Signing, SigningError};
use super::stored::{self, CataloguedGroup, RevisionItem};
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

/// Errors from changing a group.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    #[error("group {group} does not exist")]
    NoGroup { group: GroupName },
    #[error("group {group} already exists")]
    Exists { group: GroupName },
    #[error("group {group} does not have package {package}")]
    NotAssigned {
        group: GroupName,
        package: PackageId,
    },
    #[error("package {package} was deleted")]
    Deleted { package: PackageId },
    #[error(transparent)]
    Assign(#[from] GroupAssignError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Records {
    /// Creates a group without members and without packages.
    pub async fn signed_create_group(
        &self,
        group: &GroupName,
        signing: Signing<'_>,
    ) -> Result<GroupState, GroupError> {
        let revision: Option<RevisionItem> = self.get(&Key::group_revision(group)).await?;
        if revision.as_ref().is_some_and(|revision| !revision.deleted) {
            let group = group.clone();
            return Err(GroupError::Exists { group });
        }
        let before = revision.as_ref().map(RevisionItem::group_revision);
        let latest = before.map_or(0, |before| before.revision);
        let next = next_revision(latest, signing.now);
        let state = GroupState::new(group.clone(), next, signing.now);
        let recipient = Assignee::Group(group.clone());
        let issued = before.and_then(|before| before.issued);
        let validity = signing.validity_after_unsigned(&recipient, issued);
        let state = signing.sign_group(state, validity)?;
        let writes = vec![
            write::create(self.table(), stored::group(&state)),
            self.moving(group, before, state.signed_revision(), false),
            write::create(self.table(), stored::catalogued_group(group)),
        ];
        match self.commit(writes).await? {
            Commit::Done => {
                signing.remember(&recipient, state.held());
                Ok(state)
            }
            Commit::Refused(_) => {
                let group = group.clone();
                Err(GroupError::Exists { group })
            }
        }
    }

    pub async fn group(&self, group: &GroupName) -> Result<Option<GroupState>, RecordsError> {
        let found = self.get_item(&Key::group_state(group)).await?;
        found.map(state).transpose()
    }

    /// Returns every group, in the order of their names.
    pub async fn groups(&self) -> Result<Vec<GroupState>, RecordsError> {
        let entries: Vec<CataloguedGroup> = self.all(&Range::catalogued_groups()).await?;
        let names: Vec<GroupName> = entries.into_iter().map(|entry| entry.group).collect();
        self.group_states(&names).await
    }

    /// Returns the states of these groups that exist, in the order of their names.
    pub async fn group_states(
        &self,
        groups: &[GroupName],
    ) -> Result<Vec<GroupState>, RecordsError> {
        let keys: Vec<Key> = groups.iter().map(Key::group_state).collect();
        let mut states: Vec<GroupState> = self
            .batch(&keys)
            .await?
            .into_iter()
            .map(state)
            .collect::<Result<_, _>>()?;
        states.sort_by(|one, other| one.group.cmp(&other.group));
        Ok(states)
    }

    /// Returns the groups that have a package, in the order of their names.
    pub async fn groups_with(&self, package: PackageId) -> Result<Vec<GroupName>, RecordsError> {
        let entries: Vec<CataloguedGroup> = self.all(&Range::groups_with(package)).await?;
        Ok(entries.into_iter().map(|entry| entry.group).collect())
    }

    /// Deletes a group. Returns false, without deleting, if it has packages or members.
    pub async fn signed_delete_group(&self, group: &GroupName) -> Result<bool, GroupError> {
        self.retry_on_conflict((), |()| async move {
            let Some(state) = self.group(group).await? else {
                let group = group.clone();
                return Err(GroupError::NoGroup { group });
            };
            if !state.assignments.is_empty() || self.size(group).await? > 0 {
                return Ok(ControlFlow::Break(false));
            }
            Ok(if self.remove_group(&state).await? {
                ControlFlow::Break(true)
            } else {
                ControlFlow::Continue(())
            })
        })
        .await
    }

    /// Removes a group that has neither members nor packages, and keeps its revision.
    ///
    /// Returns false, without removing, if the group was changed or got a member in the meantime.
    async fn remove_group(&self, state: &GroupState) -> Result<bool, RecordsError> {
        // The revision stays on record and grows, so that a group of the same name continues from
        // it and no device mistakes the new assignments for old ones.
        let next = GroupRevision {
            revision: state.revision.saturating_add(1),
            ..state.signed_revision()
        };
        let mut writes = vec![
            write::delete(
                self.table(),
                &Key::group_state(&state.group),
                UNCHANGED,
                &unchanged(state.revision),
            ),
            self.moving(&state.group, Some(state.signed_revision()), next, true),
            write::delete(
                self.table(),
                &Key::catalogued_group(&state.group),
                PRESENT,
                &Terms::default(),
            ),
        ];
        writes.extend(self.without_members(&state.group));
        Ok(self.commit(writes).await? == Commit::Done)
    }
}

fn state(item: item::Item) -> Result<GroupState, RecordsError> {
    item::read_at(item, |state: &GroupState| Key::group_state(&state.group))
}

impl From<AssignError> for GroupError {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::Signing(error) => Self::Signing(error),
            AssignError::Records(error) => Self::Records(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn messages() {
        let group = || "lab".parse().expect("it is a group");
        let package = "1795327754".parse().expect("it is a package id");
        let errors = [
            GroupError::NoGroup { group: group() },
            GroupError::Exists { group: group() },
            GroupError::NotAssigned {
                group: group(),
                package,
            },
            GroupError::Deleted { package },
        ];
        let lines = errors.map(|error| error.to_string());
        assert_snapshot!(lines.join("\n"), @r"
        group lab does not exist
        group lab already exists
        group lab does not have package 1795327754
        package 1795327754 was deleted
        ");
    }
}
