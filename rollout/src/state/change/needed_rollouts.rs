//! The leaves that changes of rollouts need.

use std::collections::BTreeSet;

use packcast_protocol::PackageId;
use packcast_protocol::state::{LeafName, RolloutId};

use super::StateChange;
use crate::state::part::StatePart;

/// Returns true if the changes need every rollout of the state, because one of them may be of the
/// same package, or may name a group that gets another name.
pub fn needs_all_rollouts(changes: &[StateChange]) -> bool {
    let needs_all = |change: &StateChange| {
        matches!(
            change,
            StateChange::SetRollout { .. } | StateChange::RenameGroup { .. }
        )
    };
    changes.iter().any(needs_all)
}

/// Returns the rollouts that the changes concern, with the groups whose entries may name them.
pub(super) fn leaves_of_rollouts(
    changes: &[StateChange],
    loaded: &StatePart,
) -> BTreeSet<LeafName> {
    let mut rollouts: BTreeSet<RolloutId> = BTreeSet::new();
    // Rollouts whose entries matter: those that are removed, and others of the same package.
    let mut removed: BTreeSet<RolloutId> = BTreeSet::new();
    let mut packages: BTreeSet<PackageId> = BTreeSet::new();
    for change in changes {
        match change {
            StateChange::SetRollout { rollout, document } => {
                rollouts.insert(*rollout);
                packages.insert(document.package);
            }
            StateChange::OpenWave { rollout, .. } => {
                rollouts.insert(*rollout);
            }
            StateChange::EndRollout { rollout } | StateChange::FinishRollout { rollout } => {
                removed.insert(*rollout);
            }
            StateChange::Assign { assignment, .. } => rollouts.extend(assignment.terms.rollout()),
            _ => {}
        }
    }
    let documents = loaded.rollouts();
    let documents = documents.filter_map(|(rollout, document)| Some((rollout, document?)));
    let may_be_removed = documents.filter(|(rollout, document)| {
        removed.contains(rollout) || packages.contains(&document.package)
    });
    let mut groups: BTreeSet<_> = may_be_removed
        .flat_map(|(_, document)| document.groups.as_set())
        .cloned()
        .collect();
    // A rollout that the changes add may be removed by them, too.
    for change in changes {
        if let StateChange::SetRollout { document, .. } = change {
            groups.extend(document.groups.as_set().iter().cloned());
        }
    }
    rollouts.append(&mut removed);
    let rollouts = rollouts.into_iter().map(LeafName::Rollout);
    rollouts
        .chain(groups.into_iter().map(LeafName::Group))
        .collect()
}
