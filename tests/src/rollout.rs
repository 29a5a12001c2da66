//! Rollouts in the records, as `packcast rollout start` creates them.

use packcast_protocol::UnixTime;
use packcast_protocol::state::{RolloutDocument, RolloutId, Terms};
use packcast_rollout::rollout::{Gate, GateLimits};
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_store::Records;
use packcast_testing::administrator::{commit_only, complete_all};
use packcast_testing::signing::signing_at;

/// Creates the gate of a rollout, signs its calendar and its assignments, and completes the records.
///
/// # Panics
/// The rollout cannot be started.
pub async fn start(
    records: &Records,
    rollout: RolloutId,
    document: RolloutDocument,
    limits: GateLimits,
    at: UnixTime,
) {
    let gate = Gate::new(rollout, records.table().to_owned(), limits, at);
    let created = records.create_gate(document.package, &gate).await;
    assert_eq!(created.expect("a gate can be created"), Some(gate));
    let (package, manifest) = (document.package, document.manifest);
    let groups: Vec<_> = document.groups.as_set().iter().cloned().collect();
    let calendar = StateChange::SetRollout { rollout, document };
    commit_only(records, &calendar, signing_at(at)).await;
    for group in groups {
        let terms = Terms::default().with_rollout(rollout);
        let assignment = NewAssignment {
            package,
            manifest,
            force: false,
            terms: terms.expect("one short term fits"),
        };
        let to = EntryOwner::Group(group);
        let assign = StateChange::Assign { to, assignment };
        commit_only(records, &assign, signing_at(at)).await;
    }
    complete_all(records, at).await;
}
