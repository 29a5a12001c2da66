//! Two states of a target: the documents that differ.

use std::collections::BTreeSet;

use packcast_protocol::state::LeafName;
use packcast_rollout::state::{StateDifference, StatePart, difference};
use packcast_store::Records;

use super::error::StateError;
use super::trees::Trees;

/// The documents that differ between two states, and the groups that these documents name.
#[derive(Clone, Debug)]
pub struct ComparedStates {
    pub before: StatePart,
    pub after: StatePart,
}

impl ComparedStates {
    /// Loads the documents that differ between two states.
    pub async fn load(
        records: &Records,
        before: &mut Trees,
        after: &mut Trees,
    ) -> Result<Self, StateError> {
        let changes = before.difference(records, after).await?;
        let names: BTreeSet<LeafName> = changes.into_iter().map(|change| change.name).collect();
        Self::of(records, before, after, names).await
    }

    /// Loads these documents of two states.
    pub async fn of(
        records: &Records,
        before: &mut Trees,
        after: &mut Trees,
        names: BTreeSet<LeafName>,
    ) -> Result<Self, StateError> {
        let mut loaded = Self {
            before: before.part(records, names.clone()).await?,
            after: after.part(records, names).await?,
        };
        let mut groups = loaded.before.named_groups();
        groups.extend(loaded.after.named_groups());
        let earlier = before.part(records, groups.clone()).await?;
        loaded.before.extend(earlier);
        loaded.after.extend(after.part(records, groups).await?);
        Ok(loaded)
    }

    /// Returns the differences, in the order in which they can be made.
    pub fn difference(&self) -> Result<Vec<StateDifference>, StateError> {
        Ok(difference(&self.before, &self.after)?)
    }
}
