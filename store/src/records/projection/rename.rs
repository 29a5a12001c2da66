//! The records of a renamed group, and its members, under its present name.
//!
//! 1. One transaction writes the state of the group under its present name, and gives the state
//!    under the earlier name another revision. From then on no package is announced to a member
//!    under the earlier name, because that name is not in the head. The function pauses the group
//!    for these members, so they lose nothing.
//! 2. The copies of the revision under the present name are written, so that announcements to moved
//!    members are not refused.
//! 3. Each member moves with the revision of the group that it has observed: the assignments under
//!    the present name have the revisions of the earlier name. So the device has the same tasks.
//! 4. The earlier name is deleted on record, which requires that no member is left.
//!
//! Each part may be repeated, so an interrupted command is completed by the next one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures_util::future::try_join_all;
use packcast_protocol::state::{Document, GroupDocument, GroupOrigin};
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::GroupState;
use packcast_rollout::state::project_group;

use super::super::commit::Commit;
use super::super::item;
use super::super::key::{Key, MEMBER_SHARDS};
use super::super::names::{GROUPS, ROUND};
use super::super::stored::{self, RevisionItem};
use super::super::write::{self, PRESENT, Terms};
use super::super::{Records, RecordsError};
use super::group::{GroupTarget, MAX_WRITES, RecordedGroup, Revisions, deleted_revision};

/// Number of members in one transaction: three writes each, two counts, and the checks of both
/// names.
const BATCH: usize = 32;

/// Outcome of moving the records of a renamed group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupMoved {
    /// The group and all its members are on record under the present name only.
    Done,
    /// The group on record follows from a later head.
    Superseded,
}

/// The records of a renamed group under both names.
struct BothNames {
    from: RecordedGroup,
    to: RecordedGroup,
}

impl BothNames {
    fn revisions(&self) -> [Revisions; 2] {
        [self.from.revisions(), self.to.revisions()]
    }

    /// Returns true if the first transaction was made for the head of this target.
    fn is_begun(&self, target: &GroupTarget<'_>) -> bool {
        let is_moving = is_moving(&self.from) && self.from.order() == target.order;
        let is_written = self.to.order() == target.order && !self.to.is_other_than(target);
        is_moving && is_written
    }

    /// Returns the records from which the next state under the present name follows.
    ///
    /// Both names are on record if the command was interrupted, or if the group gets back the name
    /// from which its members are still moving. Then the records of the name whose members do not
    /// move are the latest.
    fn latest(&self, origin: &GroupOrigin) -> &RecordedGroup {
        let rank = |recorded: &RecordedGroup| (!is_moving(recorded), recorded.order());
        let is_later = has_origin(&self.to, origin) && rank(&self.to) >= rank(&self.from);
        if is_later { &self.to } else { &self.from }
    }
}

fn has_origin(recorded: &RecordedGroup, origin: &GroupOrigin) -> bool {
    let state = recorded.state.as_ref();
    state.and_then(GroupState::origin).as_ref() == Some(origin)
}

fn is_moving(recorded: &RecordedGroup) -> bool {
    recorded
        .revision
        .as_ref()
        .is_some_and(RevisionItem::is_moving)
}

impl Records {
    /// Returns those of these groups that exist on record, each with its origin. An unreadable
    /// record counts as absent.
    pub async fn recorded_origins(
        &self,
        groups: &[GroupName],
    ) -> Result<BTreeMap<GroupName, GroupOrigin>, RecordsError> {
        let keys: Vec<Key> = groups.iter().map(Key::group_revision).collect();
        let found = self.batch(&keys).await?.into_iter();
        let revisions = found.filter_map(|found| item::read::<RevisionItem>(found).ok());
        let origins = revisions.filter_map(|revision| {
            let origin = revision.origin()?;
            Some((revision.group, origin))
        });
        Ok(origins.collect())
    }

    /// Moves the records of a renamed group to its present name, so that they follow from a head.
    /// The head does not have the group under the name `from`.
    ///
    /// The call may be repeated. If somebody has changed one of the records by hand, nothing is
    /// moved: the group is then written as a new one.
    pub async fn move_group(
        &self,
        from: &GroupName,
        target: &GroupTarget<'_>,
    ) -> Result<GroupMoved, RecordsError> {
        let Some(document) = target.document else {
            return Ok(GroupMoved::Done);
        };
        let origin = &document.origin(target.group);
        self.retry_on_conflict(None, |before: Option<[Revisions; 2]>| async move {
            let names = BothNames {
                from: self.recorded_group(from).await?,
                to: self.recorded_group(target.group).await?,
            };
            let is_consistent = names.from.is_consistent() && names.to.is_consistent();
            if !is_consistent && before != Some(names.revisions()) {
                return Ok(ControlFlow::Continue(Some(names.revisions())));
            }
            for order in [names.from.order(), names.to.order()] {
                if order > target.order && self.has_reached(order).await? {
                    return Ok(ControlFlow::Break(GroupMoved::Superseded));
                }
            }
            if !is_consistent || !has_origin(&names.from, origin) {
                return Ok(ControlFlow::Break(GroupMoved::Done));
            }
            if names.to.state.is_some() && !has_origin(&names.to, origin) {
                // The present name was that of a group which was deleted, or renamed, too.
                let deleted = self.delete_projected(target, &names.to, false).await?;
                if deleted.is_break() {
                    self.remove_members(target.group, target.order).await?;
                }
                return Ok(ControlFlow::Continue(None));
            }
            if !names.is_begun(target) {
                self.begin_moving(from, target, document, &names).await?;
                return Ok(ControlFlow::Continue(None));
            }
            // The copies come before the members. Without a copy under the present name, an
            // announcement to a member that has moved is refused.
            self.copy_revision(target.group, target.order).await?;
            if self.move_members(from, target.group, target.order).await?
                && self.end_moving(from, target.order, &names.from).await?
            {
                return Ok(ControlFlow::Break(GroupMoved::Done));
            }
            Ok(ControlFlow::Continue(None))
        })
        .await
    }

    /// Writes the state under the present name, and gives the earlier name the order of the head.
    async fn begin_moving(
        &self,
        from: &GroupName,
        target: &GroupTarget<'_>,
        document: &Document<GroupDocument>,
        names: &BothNames,
    ) -> Result<(), RecordsError> {
        let (order, origin) = (target.order, document.origin(target.group));
        let latest = names.latest(&origin);
        let priorities = self.new_priorities(document, latest).await?;
        let priority = |package| priorities.get(&package).copied();
        let state = project_group(
            target.group,
            document,
            latest.state.as_ref(),
            priority,
            order,
        );
        let Some(earlier) = names.from.state.clone() else {
            return Ok(());
        };
        let earlier = GroupState {
            revision: order,
            ..earlier
        };
        let present = RevisionItem {
            deleted: false,
            created: state.created,
            origin: state.origin.clone(),
            document: state.document,
            ..deleted_revision(target.group, order)
        };
        // Without the number, no device joins the group under this name. The document is not in the
        // head, so the function pauses the group for the members that are left.
        let moving = RevisionItem {
            deleted: false,
            origin: Some(origin),
            document: earlier.document,
            ..deleted_revision(from, order)
        };
        let mut writes = vec![
            self.replacing_revision(&names.to, &present),
            self.replacing_revision(&names.from, &moving),
            write::replace(self.table(), stored::group(&state)),
            write::replace(self.table(), stored::group(&earlier)),
            write::replace(self.table(), stored::catalogued_group(target.group)),
            write::remove(self.table(), &Key::catalogued_group(from)),
        ];
        if names.to.state.is_some() {
            self.commit(writes).await?;
            return Ok(());
        }
        let checks = writes.len();
        let begin = writes.clone();
        writes.extend(self.without_members(target.group));
        if let Commit::Refused(failed) = self.commit(writes).await?
            && failed[checks..].contains(&true)
        {
            if self.lists_no_member(target.group).await? {
                // No device is in the group under this name, and none can join: the counts are
                // wrong.
                let writes = begin.into_iter().chain(self.without_counts(target.group));
                self.commit(writes.collect()).await?;
            } else {
                // Members of an earlier group of the present name are left.
                self.remove_members(target.group, names.to.order()).await?;
            }
        }
        Ok(())
    }

    /// Deletes the earlier name on record. Returns false if a member is left, or if the record has
    /// changed.
    async fn end_moving(
        &self,
        from: &GroupName,
        order: u64,
        recorded: &RecordedGroup,
    ) -> Result<bool, RecordsError> {
        let end = [
            self.replacing_revision(recorded, &deleted_revision(from, order)),
            write::remove(self.table(), &Key::group_state(from)),
        ];
        let writes = end.iter().cloned().chain(self.without_members(from));
        match self.commit(writes.collect()).await? {
            Commit::Done => Ok(true),
            Commit::Refused(failed) if !failed[0] && self.lists_no_member(from).await? => {
                // All members have moved, and none can join: the counts are wrong.
                let writes = end.into_iter().chain(self.without_counts(from));
                Ok(self.commit(writes.collect()).await? == Commit::Done)
            }
            Commit::Refused(_) => Ok(false),
        }
    }

    /// Moves all members of a group to another name. Returns false if one of the names follows from
    /// another head.
    async fn move_members(
        &self,
        from: &GroupName,
        to: &GroupName,
        order: u64,
    ) -> Result<bool, RecordsError> {
        let shards = (0..MEMBER_SHARDS).map(|shard| self.move_shard(from, to, shard, order));
        Ok(!try_join_all(shards).await?.contains(&false))
    }

    async fn move_shard(
        &self,
        from: &GroupName,
        to: &GroupName,
        shard: u16,
        order: u64,
    ) -> Result<bool, RecordsError> {
        // After a refused batch, each member alone: the record of one may lack the group.
        self.retry_on_conflict(BATCH, |batch| async move {
            // An entry of the list may be unreadable: it is written again under the other name.
            let members: Vec<DeviceId> = self
                .listed_members(from, shard)
                .await?
                .into_iter()
                .collect();
            for members in members.chunks(batch) {
                let mut writes: Vec<TransactWriteItem> = members
                    .iter()
                    .flat_map(|member| self.moving_member(from, to, member))
                    .collect();
                let count = i8::try_from(members.len()).expect("a batch is small");
                writes.push(self.counting_at(&Key::member_count(from, shard), -count));
                writes.push(self.counting_at(&Key::member_count(to, shard), count));
                let checks = writes.len();
                writes.extend([from, to].map(|group| self.at_revision(group, order)));
                match self.commit(writes).await? {
                    Commit::Done => {}
                    Commit::Refused(failed) if failed[checks..].contains(&true) => {
                        return Ok(ControlFlow::Break(false));
                    }
                    Commit::Refused(failed) if batch == 1 && failed[0] => {
                        self.correct_member(from, to, &members[0], order).await?;
                    }
                    Commit::Refused(_) => return Ok(ControlFlow::Continue(1)),
                }
            }
            Ok(ControlFlow::Break(true))
        })
        .await
    }

    fn moving_member(
        &self,
        from: &GroupName,
        to: &GroupName,
        device: &DeviceId,
    ) -> [TransactWriteItem; 3] {
        let terms = Terms::default()
            .name(GROUPS)
            .name(ROUND)
            .named("from", from.as_str())
            .named("to", to.as_str())
            .value("one", item::number(&1));
        // A check-in that has read the device before decides on its tasks again.
        let moved = "SET #groups.#to = #groups.#from REMOVE #groups.#from ADD #round :one";
        let condition = "attribute_exists(#groups.#from) AND attribute_not_exists(#groups.#to)";
        [
            write::update(
                self.table(),
                &Key::device(device),
                moved,
                Some(condition),
                &terms,
            ),
            self.leaving(from, device),
            write::replace(self.table(), stored::member(to, device)),
        ]
    }

    /// Removes a member from the list of the earlier name if the record of the device lacks this
    /// name, or has both names, so that somebody has changed it.
    async fn correct_member(
        &self,
        from: &GroupName,
        to: &GroupName,
        device: &DeviceId,
        order: u64,
    ) -> Result<(), RecordsError> {
        let names = || {
            let terms = Terms::default().name(GROUPS);
            terms.named("from", from.as_str())
        };
        let without = write::check(
            self.table(),
            &Key::device(device),
            "attribute_not_exists(#groups.#from)",
            &names(),
        );
        let both = write::update(
            self.table(),
            &Key::device(device),
            "REMOVE #groups.#from ADD #round :one",
            Some("attribute_exists(#groups.#from) AND attribute_exists(#groups.#to)"),
            &names()
                .name(ROUND)
                .named("to", to.as_str())
                .value("one", item::number(&1)),
        );
        for of_device in [without, both] {
            let writes = vec![
                of_device,
                write::delete(
                    self.table(),
                    &Key::member(from, device),
                    PRESENT,
                    &Terms::default(),
                ),
                self.counting_members(from, device, -1),
                self.at_revision(from, order),
            ];
            // If both are refused, another command has moved the member.
            if self.commit(writes).await? == Commit::Done {
                break;
            }
        }
        Ok(())
    }
}

// All members of a transaction fit, and so do the counts of both names.
const _: () = assert!(3 * BATCH + 4 <= MAX_WRITES && 6 + (MEMBER_SHARDS as usize) < MAX_WRITES);
