//! Rollouts in the signed state of a table, and in the records that follow from it.

use packcast_protocol::state::document::{RolloutGroups, WaveDevices, Waves};
use packcast_protocol::state::{RolloutDocument, RolloutId, RolloutSeed, Wave};

use super::*;
use crate::test_target::TestTarget;

const FIRST: RolloutId = RolloutId::from_bytes([1; 16]);

/// Returns the changes that start a rollout of a package to the group `lab`.
fn start(rollout: RolloutId, package: PackageId) -> [StateChange; 2] {
    let manifest = Sha256Digest::of(b"manifest");
    let groups = RolloutGroups::new([lab()].into()).unwrap();
    let wave = Wave {
        devices: WaveDevices::UpTo(10_000),
        from: None,
    };
    let seed = RolloutSeed::from_bytes([7; 16]);
    let waves = Waves::new(vec![wave]).unwrap();
    let document = RolloutDocument::new(package, manifest, groups, seed, waves);
    let assignment = NewAssignment {
        package,
        manifest,
        force: false,
        terms: Terms::default().with_rollout(rollout).unwrap(),
    };
    let to = in_lab();
    [
        StateChange::SetRollout { rollout, document },
        StateChange::Assign { to, assignment },
    ]
}

#[tokio::test]
async fn a_rollout_is_on_record_with_its_group_until_its_end() {
    let target = TestTarget::start(370).await;
    let package = target.table.package("vlc", 5).await.id;
    target.change_all(&[create_lab()]).await;
    let started = target.change_all(&start(FIRST, package)).await;
    let recorded = async || {
        let state = target.table.records.group(&lab()).await.unwrap().unwrap();
        let assignment = state.assignment(package).cloned();
        (state.revision, assignment)
    };
    let (revision, assignment) = recorded().await;
    let assignment = assignment.unwrap();
    assert_eq!(assignment.rollout, Some(FIRST));
    assert_eq!(assignment.mandate, Some(started.number));

    // Another rollout of the package, found among all rollouts of the state.
    let second = start(RolloutId::from_bytes([2; 16]), package);
    let refused = target.try_change(&second, "packcast").await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("at most one rollout at a time"), "{text}");

    // A wave opens without a change of the group's records.
    let open = StateChange::OpenWave {
        rollout: FIRST,
        wave: 1.try_into().unwrap(),
        from: NOW,
    };
    target.change_all(&[open]).await;
    assert_eq!(recorded().await, (revision, Some(assignment.clone())));

    // Devices that have observed the assignment are not told of it again.
    target
        .change_all(&[StateChange::FinishRollout { rollout: FIRST }])
        .await;
    let finished = recorded().await.1.unwrap();
    assert_eq!(finished.rollout, None);
    assert_eq!(
        (finished.seq, finished.mandate),
        (assignment.seq, assignment.mandate)
    );
    target.change_all(&second).await;
    target
        .change_all(&[StateChange::EndRollout {
            rollout: RolloutId::from_bytes([2; 16]),
        }])
        .await;
    assert_eq!(recorded().await.1, None);
}
