//! Groups: reading them.

use packcast_protocol::{GroupName, PackageId};
use packcast_rollout::GroupState;

use super::item;
use super::key::{Key, Range};
use super::stored::CataloguedGroup;
use super::{Records, RecordsError};

impl Records {
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

    /// Returns the names of the first `most` groups, without their states.
    pub async fn group_names(&self, most: usize) -> Result<Vec<GroupName>, RecordsError> {
        let range = Range::catalogued_groups();
        let entries: Vec<CataloguedGroup> = self.first(&range, most).await?;
        Ok(entries.into_iter().map(|entry| entry.group).collect())
    }

    /// Returns the states of these groups that exist, in the order of their names.
    pub async fn group_states(
        &self,
        groups: &[GroupName],
    ) -> Result<Vec<GroupState>, RecordsError> {
        let keys: Vec<Key> = groups.iter().map(Key::group_state).collect();
        let mut states: Vec<GroupState> = self
            .listed_batch(&keys)
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
}

fn state(item: item::Item) -> Result<GroupState, RecordsError> {
    item::read_at(item, |state: &GroupState| Key::group_state(&state.group))
}
