//! The one update of a device's record in a transaction.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::ReconcileCount;

use super::super::Records;
use super::super::exclusion::{NOT_REMOVED, not_removed};
use super::super::item;
use super::super::key::Key;
use super::super::leaf::unchanged_leaf;
use super::super::names::{DIGEST, GROUPS, ROUND};
use super::super::stored::RecordedLeaf;
use super::super::write::{self, PRESENT, Terms};

/// Changes of a device's record. At least one of them is present.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceUpdate<'a> {
    pub(super) device: &'a DeviceId,
    /// The leaf on record. Nothing is written if it has changed.
    pub(super) read: RecordedLeaf,
    pub(super) joined: &'a [GroupName],
    pub(super) left: &'a [GroupName],
    /// Groups whose observed revision is forgotten, each with the revision on record.
    pub(super) forgotten: &'a [(GroupName, u64)],
    /// The device gets a task. Nothing is written if the device was removed.
    pub(super) opens: bool,
    /// The count of reconciliations, unless only groups change. Nothing is written if it has
    /// changed.
    pub(super) count: Option<ReconcileCount>,
    /// The leaf from which all records follow after this update.
    pub(super) leaf: Option<RecordedLeaf>,
}

impl Records {
    pub(super) fn updating_device(&self, update: &DeviceUpdate<'_>) -> TransactWriteItem {
        let (same_leaf, mut terms) = unchanged_leaf(update.read.order, Terms::default());
        let mut conditions = vec![PRESENT.to_owned(), same_leaf.to_owned()];
        if update.read.order > 0 {
            // The digest, too: the order may be forged, and the next head may have the same.
            terms = terms.name(DIGEST);
            conditions.push(match update.read.digest {
                None => "attribute_not_exists(#leaf.#digest)".to_owned(),
                Some(digest) => {
                    terms = terms.value("leaf_digest", item::attribute(&digest));
                    "#leaf.#digest = :leaf_digest".to_owned()
                }
            });
        }
        let (mut sets, mut removes) = (Vec::new(), Vec::new());
        if let Some(leaf) = &update.leaf {
            terms = terms.value("leaf", item::attribute(leaf));
            sets.push("#leaf = :leaf".to_owned());
        }
        let changes_groups = !update.joined.is_empty() || !update.left.is_empty();
        if changes_groups || !update.forgotten.is_empty() {
            terms = terms.name(GROUPS);
        }
        let is_joined = |(group, _): &(GroupName, u64)| !group.is_all();
        if !update.joined.is_empty() || update.forgotten.iter().any(is_joined) {
            terms = terms.value("none", item::number(&0));
        }
        for (n, group) in update.joined.iter().enumerate() {
            terms = terms.named(&format!("j{n}"), group.as_str());
            sets.push(format!("#groups.#j{n} = :none"));
            conditions.push(format!("attribute_not_exists(#groups.#j{n})"));
        }
        for (n, group) in update.left.iter().enumerate() {
            terms = terms.named(&format!("l{n}"), group.as_str());
            removes.push(format!("#groups.#l{n}"));
            conditions.push(format!("attribute_exists(#groups.#l{n})"));
        }
        for (n, (group, observed)) in update.forgotten.iter().enumerate() {
            terms = terms
                .named(&format!("f{n}"), group.as_str())
                .value(&format!("f{n}"), item::number(observed));
            // Without a revision, a device is in the group `all` only.
            if group.is_all() {
                removes.push(format!("#groups.#f{n}"));
            } else {
                sets.push(format!("#groups.#f{n} = :none"));
            }
            conditions.push(format!("#groups.#f{n} = :f{n}"));
        }
        if update.opens || !update.joined.is_empty() {
            terms = not_removed(terms);
            conditions.push(NOT_REMOVED.to_owned());
        }
        if let Some(count) = update.count {
            terms = terms.name(ROUND).value("next", item::number(&count.next()));
            sets.push("#round = :next".to_owned());
            if count == ReconcileCount::FIRST {
                conditions.push("attribute_not_exists(#round)".to_owned());
            } else {
                terms = terms.value("round", item::number(&count));
                conditions.push("#round = :round".to_owned());
            }
        }
        let clause = |word: &str, parts: &[String]| {
            let parts = parts.join(", ");
            (!parts.is_empty()).then(|| format!("{word} {parts}"))
        };
        let clauses = [clause("SET", &sets), clause("REMOVE", &removes)];
        let expression: Vec<String> = clauses.into_iter().flatten().collect();
        write::update(
            self.table(),
            &Key::device(update.device),
            &expression.join(" "),
            Some(&conditions.join(" AND ")),
            &terms,
        )
    }
}
