use proptest::prelude::*;

use super::*;
use crate::state::samples::{
    Meaning, after_commits, any_changes, any_histories, applied, assign, assignment, create,
    delete, devices, empty, end, finish, group, join, leave, of_group, open_wave, rename,
    rollout_id, start, unassign,
};
use crate::state::{AdoptedEntries, apply};

const WHOLE: RevertOptions = RevertOptions {
    force: true,
    members: true,
};

fn reverted(current: &StatePart, earlier: &StatePart, options: RevertOptions) -> StatePart {
    let changes = revert(current, earlier, options).unwrap().changes;
    applied(current, &changes, 90)
}

#[test]
fn restored_packages_have_a_new_seq_and_no_force() {
    let forced = StateChange::Assign {
        to: of_group("lab"),
        assignment: NewAssignment {
            force: true,
            ..assignment(1)
        },
    };
    let earlier = applied(&empty(), &[create("lab"), forced], 10);
    let current = applied(&earlier, &[unassign(of_group("lab"), 1)], 11);
    let entry = |options| {
        let state = reverted(&current, &earlier, options);
        let document = state.group(&group("lab")).unwrap().unwrap();
        let entry = &document.packages.as_slice()[0];
        (entry.seq, entry.force)
    };
    assert_eq!(entry(RevertOptions::default()), (90, false));
    assert_eq!(entry(WHOLE), (90, true));
}

#[test]
fn packages_that_were_assigned_again_since_stay() {
    let earlier = applied(&empty(), &[create("lab"), assign(of_group("lab"), 1)], 10);
    let current = applied(&earlier, &[assign(of_group("lab"), 1)], 11);
    assert_eq!(
        revert(&current, &earlier, WHOLE).unwrap(),
        Reverted::default()
    );
}

#[test]
fn devices_of_a_deleted_group_return_only_with_the_option() {
    let setup = [create("lab"), create("office"), join("lab", &["web01"])];
    let earlier = applied(&empty(), &setup, 10);
    let changes = [join("office", &["web01", "web02"]), delete("lab")];
    let deleted = applied(&earlier, &changes, 11);
    let again = applied(&deleted, &[create("lab"), join("lab", &["web02"])], 12);

    let left_out = BTreeMap::from([(group("lab"), devices(&["web01"]))]);
    let of_deleted = revert(&deleted, &earlier, RevertOptions::default()).unwrap();
    assert_eq!(of_deleted.left_out, left_out);
    let leave_office = leave("office", &["web01", "web02"]);
    assert_eq!(of_deleted.changes, [create("lab"), leave_office.clone()]);

    let of_again = revert(&again, &earlier, RevertOptions::default()).unwrap();
    assert_eq!(of_again.left_out, left_out);
    let leave_lab = leave("lab", &["web02"]);
    assert_eq!(of_again.changes, [leave_lab.clone(), leave_office.clone()]);
    let of_again = revert(&again, &earlier, WHOLE).unwrap();
    let join_lab = join("lab", &["web01"]);
    assert_eq!(of_again.changes, [leave_lab, leave_office, join_lab]);
    assert!(of_again.left_out.is_empty());
}

#[test]
fn a_revert_gives_groups_their_earlier_names() {
    let setup = [
        create("lab"),
        create("office"),
        assign(of_group("lab"), 1),
        join("lab", &["web01"]),
    ];
    let earlier = applied(&empty(), &setup, 10);
    let renamed = applied(&earlier, &[rename("lab", "hall")], 11);
    let changes = revert(&renamed, &earlier, RevertOptions::default()).unwrap();
    assert_eq!(changes.changes, [rename("hall", "lab")]);
    assert!(changes.left_out.is_empty());
    let state = applied(&renamed, &changes.changes, 90);
    assert_eq!(
        revert(&state, &earlier, RevertOptions::default()).unwrap(),
        Reverted::default()
    );
    // A device does not act on the package again.
    let entries = |state: &StatePart| {
        state
            .group(&group("lab"))
            .unwrap()
            .unwrap()
            .packages
            .clone()
    };
    assert_eq!(entries(&state), entries(&earlier));

    let taken = applied(&renamed, &[create("lab"), join("lab", &["web02"])], 12);
    let changes = revert(&taken, &earlier, RevertOptions::default()).unwrap();
    assert_eq!(changes.changes, [delete("lab"), rename("hall", "lab")]);

    let exchanged = [
        rename("lab", "hall"),
        rename("office", "lab"),
        rename("hall", "office"),
    ];
    let exchanged = applied(&earlier, &exchanged, 13);
    let state = reverted(&exchanged, &earlier, RevertOptions::default());
    assert_eq!(Meaning::of(&state), Meaning::of(&earlier));
    assert_eq!(entries(&state), entries(&earlier));
}

/// A rollout names groups by their names at that time, so it ends before a group gets its earlier name.
#[test]
fn a_rollout_that_has_begun_since_ends_before_groups_are_renamed() {
    let setup = [
        create("lab"),
        assign(of_group("lab"), 1),
        join("lab", &["web01"]),
    ];
    let earlier = applied(&empty(), &setup, 10);
    let renamed = applied(&earlier, &[rename("lab", "hall")], 20);
    for package in [1, 2] {
        let current = applied(&renamed, &start(1, package, &["hall"], [None, None]), 30);
        let changes = revert(&current, &earlier, WHOLE).unwrap().changes;
        assert_eq!(changes[..2], [end(1), rename("hall", "lab")]);
        let back = applied(&current, &changes, 90);
        assert_eq!(Meaning::of(&back), Meaning::of(&earlier));
    }
    // A rollout that both states have is of another group.
    let rolling = applied(&earlier, &[create("office")], 11);
    let rolling = applied(&rolling, &start(2, 2, &["office"], [None, None]), 12);
    let opened = applied(&rolling, &[rename("lab", "hall"), open_wave(2, 1, 40)], 20);
    assert_eq!(
        Meaning::of(&reverted(&opened, &rolling, WHOLE)),
        Meaning::of(&rolling)
    );
}

#[test]
fn a_rollout_that_was_removed_since_does_not_begin_again() {
    let created = applied(&empty(), &[create("lab")], 10);
    let earlier = applied(&created, &start(1, 1, &["lab"], [Some(100), None]), 20);
    for change in [end(1), finish(1)] {
        let current = applied(&earlier, &[change], 30);
        let back = revert(&current, &earlier, WHOLE).unwrap();
        assert_eq!(back.changes, []);
        assert_eq!(back.ended_rollouts, [rollout_id(1)].into());
    }
    // A rollout of both states gets its earlier times, and a later one ends.
    let opened = applied(&earlier, &[open_wave(1, 2, 150)], 30);
    assert_eq!(reverted(&opened, &earlier, WHOLE), earlier);
    let plain = applied(&created, &[assign(of_group("lab"), 1)], 15);
    let later = applied(&plain, &start(1, 1, &["lab"], [None, None]), 30);
    let back = reverted(&later, &plain, WHOLE);
    assert_eq!(Meaning::of(&back), Meaning::of(&plain));
    let left = [unassign(of_group("lab"), 1), assign(of_group("lab"), 1)];
    let replaced = applied(&earlier, &left, 30);
    let back = reverted(&replaced, &earlier, WHOLE);
    assert_eq!(Meaning::of(&back), Meaning::of(&earlier));
    assert_eq!(
        reverted(&earlier, &replaced, WHOLE),
        applied(&earlier, &left, 90)
    );
}

proptest! {
    #[test]
    fn a_revert_restores_the_state(first in any_changes(10), second in any_changes(10)) {
        let earlier = after_commits(&empty(), &first, 1);
        let current = after_commits(&earlier, &second, 20);

        let changes = revert(&current, &earlier, WHOLE).unwrap().changes;
        let whole = apply(&current, &changes, 90, &AdoptedEntries::default());
        prop_assert!(whole.is_ok(), "{whole:?}");
        let whole = whole.unwrap().documents;
        prop_assert_eq!(Meaning::of(&whole), Meaning::of(&earlier));
        prop_assert_eq!(revert(&whole, &earlier, WHOLE).unwrap(), Reverted::default());

        let options = RevertOptions::default();
        let part = revert(&current, &earlier, options).unwrap();
        let state = applied(&current, &part.changes, 90);
        let mut expected = Meaning::of(&earlier).without_force();
        for (group, devices) in &part.left_out {
            for device in devices {
                prop_assert!(expected.members.remove(&(device.clone(), group.clone())));
            }
        }
        prop_assert_eq!(Meaning::of(&state).without_force(), expected);
        let again = revert(&state, &earlier, options).unwrap();
        prop_assert_eq!(again.changes, vec![]);
        prop_assert_eq!(again.left_out, part.left_out);
    }

    /// All of the earlier state comes back, except for rollouts that were removed since, with the
    /// packages of their entries.
    #[test]
    fn a_revert_restores_all_but_removed_rollouts([first, second, _] in any_histories([8, 8, 0])) {
        let earlier = after_commits(&empty(), &first, 1);
        let current = after_commits(&earlier, &second, 20);
        let Reverted { changes, ended_rollouts, .. } = revert(&current, &earlier, WHOLE).unwrap();
        let made = apply(&current, &changes, 90, &AdoptedEntries::default());
        prop_assert!(made.is_ok(), "{made:?}");
        let made = made.unwrap().documents;
        let mut left_out = BTreeSet::new();
        for (group, document) in earlier.groups() {
            let entries = document.map(|document| document.packages.as_slice());
            let ended = entries.unwrap_or_default().iter().filter(|entry| {
                let rollout = entry.terms.rollout();
                rollout.is_some_and(|rollout| ended_rollouts.contains(&rollout))
            });
            left_out.extend(ended.map(|entry| (group.clone(), entry.package)));
        }
        let [made, expected] = [&made, &earlier].map(|state| {
            let mut meaning = Meaning::of(state);
            for (group, (packages, ..)) in &mut meaning.groups {
                packages.retain(|it| !left_out.contains(&(group.clone(), it.package)));
            }
            meaning.groups.retain(|group, meaning| !group.is_all() || *meaning != Default::default());
            meaning.rollouts.retain(|rollout, _| !ended_rollouts.contains(rollout));
            meaning
        });
        prop_assert_eq!(made, expected);
    }
}
