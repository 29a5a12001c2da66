//! Groups whose records may be incomplete: devices get and lose nothing because of them.

use packcast_protocol::state::{Commit, LeafName, Lookup, PagedTree};
use packcast_protocol::{GroupName, UnixTime};
use packcast_rollout::GroupState;
use packcast_rollout::group::follows_leaf;
use packcast_store::{Records, RecordsError};

use super::StateCache;
use super::cache::{CachedHead, PageAllowance};

impl StateCache {
    /// Returns those of these groups whose recorded state does not follow from the head.
    ///
    /// A command changes the signed state first, and the records afterwards. A group on record that
    /// does not follow from the head is incomplete, or the cached head is old. So the head is read
    /// again if a group on record is later than the cached head, and otherwise at most once a second.
    ///
    /// A group that is later than the head itself was forged, or the table was changed back after the
    /// function had cached the group.
    pub(crate) async fn paused(
        &self,
        records: &Records,
        groups: &[GroupName],
        recorded: &[GroupState],
        now: UnixTime,
    ) -> Result<Vec<GroupName>, RecordsError> {
        let mut head = self.head(records, now).await?;
        if recorded.iter().any(|state| state.revision > head.order()) {
            head = self.head_within(records, 0, now).await?;
        }
        let paused = self.not_following(records, &head, groups, recorded).await?;
        if paused.is_empty() {
            return Ok(paused);
        }
        let latest = self.head_within(records, 1, now).await?;
        if latest.order() == head.order() {
            return Ok(paused);
        }
        self.not_following(records, &latest, groups, recorded).await
    }

    async fn not_following(
        &self,
        records: &Records,
        head: &CachedHead,
        groups: &[GroupName],
        recorded: &[GroupState],
    ) -> Result<Vec<GroupName>, RecordsError> {
        let tree = match &head.head {
            None => None,
            Some(head) => {
                let text = head.commit.signed.text();
                let commit: Commit =
                    serde_json::from_str(text).map_err(|source| RecordsError::Corrupt {
                        key: format!("COMMIT {}", head.commit.id),
                        source: source.into(),
                    })?;
                let mut tree = PagedTree::new(commit.groups);
                let names: Vec<LeafName> = groups.iter().cloned().map(LeafName::Group).collect();
                let mut allowance = PageAllowance::unlimited();
                self.load(records, &mut tree, &names, &mut allowance)
                    .await?;
                Some(tree)
            }
        };
        let follows = |group: &GroupName| {
            let state = recorded.iter().find(|state| state.group == *group);
            if state.is_some_and(|state| state.revision > head.order()) {
                return false;
            }
            let name = LeafName::Group(group.clone());
            match tree.as_ref().map(|tree| tree.tree().lookup(&name)) {
                None | Some(Lookup::Absent) => follows_leaf(state, None),
                Some(Lookup::Present(digest)) => follows_leaf(state, Some(digest)),
                Some(Lookup::Hidden(_)) => false,
            }
        };
        let paused = groups.iter().filter(|group| !follows(group));
        Ok(paused.cloned().collect())
    }
}
