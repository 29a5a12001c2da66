use std::collections::BTreeMap;

use packcast_protocol::state::{GroupDocument, RolloutSeed};
use proptest::prelude::*;

use super::*;
use crate::record::tests::id;
use crate::state::samples::{
    after_commits, any_changes_with_rollouts, applied, assign, assign_by, create, delete, empty,
    end, finish, group, of_device, of_group, open_wave, rename, rollout, rollout_id, set_rollout,
    start, unassign,
};
use crate::state::{
    AdoptedEntries, AdoptedRemovals, ChangeOutcome, NewAssignment, StateChange, StatePart, apply,
};

fn errors(before: &StatePart, changes: &[StateChange]) -> String {
    let errors = apply(before, changes, 99, &AdoptedEntries::default()).unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Returns the `seq` of each group's entry of package 1, with its rollout.
fn entries(state: &StatePart) -> BTreeMap<String, (u64, Option<RolloutId>)> {
    let groups = state.groups().filter_map(|(name, document)| {
        let entry = document?.packages.of(id(1))?;
        Some((name.to_string(), (entry.seq, entry.terms.rollout())))
    });
    groups.collect()
}

fn revision(state: &StatePart, name: &str) -> u64 {
    let document: Option<&GroupDocument> = state.group(&group(name)).unwrap();
    document.unwrap().revision
}

/// Returns a state with rollout 1 of package 1 to two groups, started in commit 20.
fn started() -> StatePart {
    let state = applied(&empty(), &[create("lab"), create("office")], 10);
    let changes = start(1, 1, &["lab", "office"], [Some(100), None]);
    applied(&state, &changes, 20)
}

fn both(seq: u64, rollout: Option<RolloutId>) -> BTreeMap<String, (u64, Option<RolloutId>)> {
    ["lab", "office"]
        .map(|name| (name.to_owned(), (seq, rollout)))
        .into()
}

#[test]
fn a_rollout_is_started_and_finished_without_a_second_mandate() {
    let state = started();
    assert_eq!(entries(&state), both(20, Some(rollout_id(1))));
    let document = state.rollout(rollout_id(1)).unwrap();
    let expected = rollout(1, &["lab", "office"], [Some(100), None]);
    assert_eq!(document, Some(&expected));
    let finished = applied(&state, &[finish(1)], 30);
    assert_eq!(entries(&finished), both(20, None));
    assert_eq!(finished.rollout(rollout_id(1)).unwrap(), None);
    assert_eq!(revision(&finished, "lab"), 30);
    let again = apply(
        &finished,
        &[finish(1), end(1)],
        40,
        &AdoptedEntries::default(),
    );
    assert!(!again.unwrap().needs_commit());
}

#[test]
fn the_end_of_a_rollout_withdraws_its_package() {
    // A plain assignment of the same package stays.
    let state = applied(&started(), &[assign(of_group("all"), 1)], 25);
    let ended = applied(&state, &[end(1)], 30);
    assert_eq!(entries(&ended), [("all".to_owned(), (25, None))].into());
    assert_eq!(ended.rollout(rollout_id(1)).unwrap(), None);
    // A deleted group, and one whose package was unassigned before.
    let state = started();
    let changes = [delete("lab"), unassign(of_group("office"), 1), end(1)];
    let ended = applied(&state, &changes, 30);
    assert!(entries(&ended).is_empty());
}

#[test]
fn waves_open_in_their_order() {
    let state = started();
    let opened = applied(&state, &[open_wave(1, 2, 150)], 30);
    let document = opened.rollout(rollout_id(1)).unwrap().unwrap();
    assert_eq!(document.opens(document.waves.last()), Some(UnixTime(150)));
    // The entries and the groups stay as they are.
    assert_eq!(revision(&opened, "lab"), 20);
    let outcome = |change: StateChange| {
        let planned = apply(&opened, &[change], 40, &AdoptedEntries::default());
        planned.unwrap().outcomes.remove(0)
    };
    assert_eq!(outcome(open_wave(1, 2, 150)), ChangeOutcome::AlreadySo);
    assert_eq!(outcome(open_wave(1, 2, 160)), ChangeOutcome::Changed);
    let refused = [
        open_wave(1, 2, 99),
        open_wave(1, 3, 200),
        open_wave(2, 1, 5),
    ];
    insta::assert_snapshot!(errors(&opened, &refused), @"
    cannot open the wave of rollout aeaqcaibaeaqcaibaeaqcaibae
    rollout aibaeaqcaibaeaqcaibaeaqcai does not exist: it was ended or finished
    ");
}

#[test]
fn a_package_has_one_rollout_at_a_time() {
    let state = started();
    let second = || start(2, 1, &["all"], [None, None]);
    insta::assert_snapshot!(errors(&state, &second()), @"
    package 1790000001 has rollout aeaqcaibaeaqcaibaeaqcaibae already: a package has at most one rollout at a time
    rollout aibaeaqcaibaeaqcaibaeaqcai does not exist: it was ended or finished
    ");
    // Another package, and the same one after the end of the first rollout.
    applied(&state, &start(2, 2, &["lab"], [None, None]), 30);
    for ended in [
        vec![end(1)],
        vec![finish(1)],
        vec![
            unassign(of_group("lab"), 1),
            unassign(of_group("office"), 1),
        ],
        vec![delete("lab"), delete("office")],
    ] {
        let ended = applied(&state, &ended, 30);
        let state = applied(&ended, &second(), 40);
        assert_eq!(state.rollout(rollout_id(1)).unwrap(), None);
    }
    // The part does not have all rollouts of the state.
    let part = crate::state::samples::reloaded(&empty(), empty().leaves().into_keys());
    let text = errors(&part, &[set_rollout(1, rollout(1, &["all"], [None, None]))]);
    insta::assert_snapshot!(text, @"the decision needs rollout/aeaqcaibaeaqcaibaeaqcaibae, which was not loaded");
}

#[test]
fn a_rollout_stays_the_same_but_for_its_times() {
    let state = started();
    let document = || rollout(1, &["lab", "office"], [Some(100), Some(200)]);
    applied(&state, &[set_rollout(1, document())], 30);
    let mut seed = document();
    seed.seed = RolloutSeed::from_bytes([8; 16]);
    let others = [
        seed,
        rollout(2, &["lab", "office"], [Some(100), None]),
        rollout(1, &["lab"], [Some(100), None]),
    ];
    for other in others {
        let text = errors(&state, &[set_rollout(1, other)]);
        assert!(
            text.ends_with("exists already, for another package or other groups"),
            "{text}"
        );
    }
}

#[test]
fn an_entry_is_of_its_rollout_alone() {
    let state = started();
    let replaced = [assign(of_group("lab"), 1)];
    insta::assert_snapshot!(errors(&state, &replaced), @"group lab has package 1790000001 by rollout aeaqcaibaeaqcaibaeaqcaibae: finish or end the rollout first");
    let by_rollout = |to: EntryOwner, n: u32| {
        let StateChange::Assign { assignment, .. } = assign_by(1, "lab", n) else {
            panic!("an assignment");
        };
        StateChange::Assign { to, assignment }
    };
    let StateChange::Assign { assignment, .. } = assign_by(1, "lab", 1) else {
        panic!("an assignment");
    };
    let other_manifest = StateChange::Assign {
        to: of_group("lab"),
        assignment: NewAssignment {
            manifest: packcast_protocol::Sha256Digest::of(b"other"),
            ..assignment
        },
    };
    let others = [
        by_rollout(of_group("all"), 1),
        by_rollout(of_group("lab"), 2),
        by_rollout(of_device("web01"), 1),
        other_manifest,
    ];
    insta::assert_snapshot!(errors(&state, &others), @"
    rollout aeaqcaibaeaqcaibaeaqcaibae is not for package 1790000001 of group all
    rollout aeaqcaibaeaqcaibaeaqcaibae is not for package 1790000002 of group lab
    rollout aeaqcaibaeaqcaibaeaqcaibae is not for package 1790000001 of device ocs:web01-2026-03-04-05-06-07
    rollout aeaqcaibaeaqcaibaeaqcaibae is not for package 1790000001 of group lab
    ");
    // The same rollout again is a new assignment.
    let again = applied(&state, &[assign_by(1, "lab", 1)], 30);
    let expected = (30, Some(rollout_id(1)));
    assert_eq!(entries(&again)["lab"], expected);
}

#[test]
fn a_target_has_a_limited_number_of_rollouts() {
    let leaves = (0..=200).map(|n| (LeafName::Rollout(rollout_id(n)), None));
    let mut state = StatePart::read(leaves, &BTreeMap::new()).unwrap();
    state.extend(empty());
    for n in 0..64 {
        let document = rollout(n.into(), &["all"], [None, None]);
        state = applied(&state, &[set_rollout(n, document)], 10);
    }
    let full = || set_rollout(200, rollout(200, &["all"], [None, None]));
    insta::assert_snapshot!(errors(&state, &[full()]), @"the target has 64 rollouts, which is the limit: finish or end one");
    applied(&state, &[end(5), full()], 20);
}

#[test]
fn a_rollout_that_a_lost_commit_has_ended_ends() {
    let state = started();
    let removals = |lost: &StatePart| {
        let mut removals = AdoptedRemovals::default();
        removals.add(&state, lost, &state).unwrap();
        removals.changes()
    };
    let ended = removals(&applied(&state, &[end(1)], 30));
    let expected = [
        unassign(of_group("lab"), 1),
        unassign(of_group("office"), 1),
        end(1),
    ];
    assert_eq!(ended, expected);
    let adopted = applied(&state, &ended, 40);
    assert_eq!(adopted.rollout(rollout_id(1)).unwrap(), None);
    assert!(entries(&adopted).is_empty());
    // A finished one goes on: devices that began at once do not act again.
    assert_eq!(removals(&applied(&state, &[finish(1)], 30)), []);
    // Also if the commit has renamed a group.
    let names = [("lab", "hall"), ("office", "lab")].map(|(name, to)| rename(name, to));
    let changes = [&[finish(1)], &names[..]].concat();
    assert_eq!(removals(&applied(&state, &changes, 30)), []);
}

proptest! {
    /// Holds for every state that changes can reach: no entry lets a device begin by a calendar of
    /// another assignment, and no rollout loses its entries' terms but by its end.
    #[test]
    fn every_entry_names_a_rollout_of_its_own(changes in any_changes_with_rollouts(12)) {
        let state = after_commits(&empty(), &changes, 1);
        for (name, document) in state.groups() {
            let entries = document.map(|document| document.packages.as_slice());
            for entry in entries.unwrap_or_default() {
                let Some(rollout) = entry.terms.rollout() else { continue };
                let document = state.rollout(rollout).unwrap();
                prop_assert!(document.is_some());
                let document = document.unwrap();
                prop_assert_eq!(document.package, entry.package);
                prop_assert_eq!(document.manifest, entry.manifest);
                prop_assert!(document.groups.as_set().contains(name));
            }
        }
    }

    /// A finished rollout leaves no entry of a rollout, and no entry gets another `seq`.
    #[test]
    fn a_finish_keeps_every_mandate(changes in any_changes_with_rollouts(12)) {
        let state = after_commits(&empty(), &changes, 1);
        let mut rollouts = state.rollouts();
        let is_of_package = |(_, document): &(_, Option<&RolloutDocument>)| {
            document.is_some_and(|document| document.package == id(1))
        };
        let present = rollouts.find(is_of_package).map(|(rollout, _)| rollout);
        let ending = present.unwrap_or(rollout_id(1));
        let finished = applied(&state, &[StateChange::FinishRollout { rollout: ending }], 90);
        let before = entries(&state);
        let after = entries(&finished);
        prop_assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (name, (seq, rollout)) in before {
            let expected = rollout.filter(|rollout| *rollout != ending);
            prop_assert_eq!(after[&name], (seq, expected));
        }
    }
}
