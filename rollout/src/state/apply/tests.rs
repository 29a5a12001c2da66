use packcast_protocol::state::document::{DeviceGroups, MAX_DEVICE_GROUPS};
use packcast_protocol::state::{GroupOrigin, Mandate, PartialTree, RolloutId, Terms, WaveNumber};
use proptest::prelude::*;

use super::*;
use crate::state::samples::{
    Meaning, add_location, any_changes_with_rollouts, any_histories, applied, assign, assignment,
    create, delete, device, devices, empty, end, finish, group, join, leave, of_device, of_group,
    reloaded, rename, root, start, unassign,
};
use crate::state::{AdoptedRemovals, needed, needed_members, needs_all_rollouts};

fn plan(before: &StatePart, changes: &[StateChange], number: u64) -> PlannedState {
    apply(before, changes, number, &AdoptedEntries::default()).unwrap()
}

fn outcome(before: &StatePart, change: &StateChange) -> ChangeOutcome {
    let planned = plan(before, std::slice::from_ref(change), 99);
    planned.outcomes[0].clone()
}

fn errors(before: &StatePart, changes: &[StateChange]) -> String {
    let errors = apply(before, changes, 99, &AdoptedEntries::default()).unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn devices_of_one_group_share_one_document() {
    let state = applied(&empty(), &[create("lab")], 10);
    let planned = plan(&state, &[join("lab", &["web01", "web02", "web03"])], 11);
    assert_eq!(planned.changed_groups().len(), 0);
    assert_eq!(planned.changed_devices().len(), 3);
    let texts: Vec<&str> = planned.new_documents().map(DocumentText::as_str).collect();
    assert_eq!(texts, [r#"{"schema":2,"groups":{"lab":10},"packages":[]}"#]);
    let left = plan(&planned.documents, &[leave("lab", &["web01"])], 12);
    assert_eq!(
        left.changed_devices().into_values().collect::<Vec<_>>(),
        [None]
    );
}

#[test]
fn a_renamed_group_keeps_its_devices_and_its_packages() {
    let setup = [
        create("lab"),
        create("office"),
        assign(of_group("lab"), 1),
        join("lab", &["web01", "web02"]),
        join("office", &["web02"]),
    ];
    let state = applied(&empty(), &setup, 10);
    // The device was in an earlier group of this name.
    let left = [create("hall"), join("hall", &["web03"]), delete("hall")];
    let state = left
        .iter()
        .zip(11..)
        .fold(state, |state, (change, number)| {
            applied(&state, std::slice::from_ref(change), number)
        });
    let planned = plan(&state, &[rename("lab", "hall")], 20);
    assert_eq!(planned.changed_groups().len(), 2);
    let texts: Vec<&str> = planned.new_documents().map(DocumentText::as_str).collect();
    insta::assert_snapshot!(texts.join("\n"), @r#"
    {"schema":2,"groups":{"hall":20},"packages":[]}
    {"schema":2,"created":20,"origin":{"name":"lab","created":10},"revision":20,"packages":[{"package":"1790000001","manifest":"b40711a88c7039756fb8a73827eabe2c0fe5a0346ca7e0a104adc0fc764f528d","seq":10,"assignee":"lab","force":false,"terms":{}}],"prefer":null,"pace":{}}
    {"schema":2,"groups":{"hall":20,"office":10},"packages":[]}
    "#);
    let members = |state: &StatePart, name: &str| {
        let hosts = ["web01", "web02", "web03"].map(device);
        let is_member = |it: &DeviceId| state.groups_of(it).unwrap().contains_key(&group(name));
        hosts.into_iter().filter(is_member).collect::<BTreeSet<_>>()
    };
    let renamed = planned.documents;
    assert_eq!(members(&renamed, "hall"), devices(&["web01", "web02"]));
    assert_eq!(members(&renamed, "office"), devices(&["web02"]));
    // A package that is assigned under the new name has the mandate of this name.
    let again = applied(&renamed, &[assign(of_group("hall"), 1)], 21);
    let entry = again
        .group(&group("hall"))
        .unwrap()
        .unwrap()
        .packages
        .as_slice()[0]
        .clone();
    assert_eq!((entry.seq, entry.assignee), (21, None));

    let back = applied(&renamed, &[rename("hall", "lab")], 22);
    let entries = |state: &StatePart| {
        state
            .group(&group("lab"))
            .unwrap()
            .unwrap()
            .packages
            .clone()
    };
    assert_eq!(entries(&back), entries(&state));
    assert_eq!(members(&back, "lab"), devices(&["web01", "web02"]));
    // A new group under the old name has no members.
    let new = applied(&renamed, &[create("lab"), assign(of_group("lab"), 1)], 23);
    assert_eq!(members(&new, "lab"), BTreeSet::new());
}

#[test]
fn a_rename_that_was_made_already_changes_nothing() {
    let state = applied(&empty(), &[create("lab"), create("office")], 10);
    let renamed = applied(&state, &[rename("lab", "hall")], 11);
    assert_eq!(
        outcome(&renamed, &rename("lab", "hall")),
        ChangeOutcome::AlreadySo
    );
    assert_eq!(
        outcome(&renamed, &rename("hall", "hall")),
        ChangeOutcome::AlreadySo
    );
    let wrong = [
        rename("lab", "office"),
        rename("hall", "office"),
        rename("hall", "all"),
        rename("all", "lab"),
    ];
    insta::assert_snapshot!(errors(&renamed, &wrong), @r"
    group lab does not exist: create it with 'packcast group create lab'
    group office exists already: choose another name, or delete the group first
    group all exists already: choose another name, or delete the group first
    the group all cannot be renamed: every device is in it
    ");
    let names = [group("hall"), group("lab")].map(LeafName::Group);
    let mut part = reloaded(&renamed, names).with_all_rollouts();
    let not_loaded = "the decision needs group/hall, which was not loaded";
    assert_eq!(errors(&part, &[rename("hall", "lab")]), not_loaded);
    part.add_members(group("hall"), StatePart::default());
    applied(&part, &[rename("hall", "lab")], 12);
    let mut without_rollouts =
        reloaded(&renamed, [group("hall"), group("lab")].map(LeafName::Group));
    without_rollouts.add_members(group("hall"), StatePart::default());
    assert_eq!(
        errors(&without_rollouts, &[rename("hall", "lab")]),
        not_loaded
    );
}

#[test]
fn a_group_that_a_rollout_names_keeps_its_name() {
    let base = [create("lab"), create("hall"), assign(of_group("lab"), 1)];
    let state = applied(&empty(), &base, 10);
    let state = applied(&state, &start(1, 1, &["lab"], [Some(100), None]), 20);
    let with_pilot = applied(&state, &[create("office")], 21);
    // The pilot wave is for the group office, which may be absent.
    insta::assert_snapshot!(errors(&state, &[rename("lab", "renamed-1"), rename("hall", "office")]), @"
    group lab cannot be renamed to renamed-1: rollout aeaqcaibaeaqcaibaeaqcaibae names group lab; finish or end the rollout first
    group hall cannot be renamed to office: rollout aeaqcaibaeaqcaibaeaqcaibae names group office; finish or end the rollout first
    ");
    insta::assert_snapshot!(errors(&with_pilot, &[rename("office", "renamed-1")]), @"
    group office cannot be renamed to renamed-1: rollout aeaqcaibaeaqcaibaeaqcaibae names group office; finish or end the rollout first
    ");
    let without_entry = applied(&state, &[unassign(of_group("lab"), 1)], 22);
    assert_eq!(
        errors(&without_entry, &[rename("lab", "renamed-1")]),
        errors(&state, &[rename("lab", "renamed-1")])
    );
    for over in [end(1), finish(1)] {
        let renamed = applied(&state, &[over, rename("lab", "office")], 30);
        let document = renamed.group(&group("office")).unwrap().unwrap();
        assert_eq!(document.created, 30);
    }
}

#[test]
fn a_removed_device_leaves_no_leaf() {
    let setup = [
        create("lab"),
        join("lab", &["web01", "web02"]),
        assign(of_device("web01"), 1),
    ];
    let state = applied(&empty(), &setup, 10);
    let remove = StateChange::RemoveDevices {
        devices: devices(&["web01", "web03"]),
    };
    let planned = plan(&state, std::slice::from_ref(&remove), 11);
    let left = (LeafName::Device(device("web01")), None);
    assert_eq!(planned.changed_devices(), [left].into());
    assert_eq!(
        planned.outcomes,
        [ChangeOutcome::Devices {
            changed: devices(&["web01"]),
            already_so: devices(&["web03"]),
        }]
    );
    assert!(planned.changed_groups().is_empty());
    let again = plan(&planned.documents, &[remove], 12);
    assert!(!again.needs_commit());
}

#[test]
fn a_device_takes_the_place_of_another_one() {
    let setup = [
        create("lab"),
        create("office"),
        create("hall"),
        join("lab", &["web01", "web02"]),
        join("office", &["web01"]),
        join("hall", &["web01"]),
        assign(of_device("web01"), 1),
        assign(of_device("web01"), 2),
        assign(of_device("web02"), 3),
        delete("hall"),
    ];
    let state = applied(&empty(), &setup, 10);
    let replace = [StateChange::ReplaceDevice {
        old: device("web01"),
        new: device("web02"),
        packages: [1, 3].map(|n| assignment(n).package).into(),
    }];
    let loaded = BTreeSet::from(["web01", "web02"].map(|it| LeafName::Device(device(it))));
    assert_eq!(needed(&replace, &StatePart::default()), loaded);
    let planned = plan(&state, &replace, 11);
    let after = &planned.documents;
    assert_eq!(after.device(&device("web01")).unwrap(), None);
    let new = after.device(&device("web02")).unwrap().unwrap();
    let groups: Vec<&GroupName> = new.groups.as_map().keys().collect();
    assert_eq!(groups, [&group("lab"), &group("office")]);
    let entries = new.packages.as_slice().iter();
    let entries: Vec<(PackageId, u64)> = entries.map(|it| (it.package, it.seq)).collect();
    let expected = [(1, 11), (3, 10)].map(|(n, seq)| (assignment(n).package, seq));
    assert_eq!(entries, expected);
    let again = plan(after, &replace, 12);
    assert!(!again.needs_commit());
    assert_eq!(again.outcomes, [ChangeOutcome::AlreadySo]);
}

#[test]
fn a_change_that_is_already_so_needs_no_commit() {
    let setup = [
        create("lab"),
        join("lab", &["web01"]),
        add_location("cdn", "a.example.net"),
    ];
    let state = applied(&empty(), &setup, 10);
    let already_so = ChangeOutcome::AlreadySo;
    for change in [
        create("lab"),
        create("all"),
        delete("office"),
        unassign(of_group("lab"), 1),
        unassign(of_group("all"), 1),
        unassign(of_device("web02"), 1),
        add_location("cdn", "a.example.net"),
        StateChange::RemoveLocation {
            location: "mirror".parse().unwrap(),
        },
    ] {
        assert_eq!(outcome(&state, &change), already_so, "{change:?}");
        assert!(!plan(&state, &[change], 11).needs_commit());
    }
    let joined = ChangeOutcome::Devices {
        changed: devices(&["web02"]),
        already_so: devices(&["web01"]),
    };
    assert_eq!(outcome(&state, &join("lab", &["web01", "web02"])), joined);
    let left = ChangeOutcome::Devices {
        changed: devices(&["web01"]),
        already_so: devices(&["web02"]),
    };
    assert_eq!(outcome(&state, &leave("lab", &["web01", "web02"])), left);

    let renewal = plan(&state, &[StateChange::Renew], 11);
    assert!(renewal.needs_commit());
    assert_eq!(renewal.documents, state);
}

#[test]
fn assigning_again_is_a_new_assignment() {
    let lab = of_group("lab");
    let state = applied(&empty(), &[create("lab"), assign(lab.clone(), 1)], 10);
    let again = ChangeOutcome::Assigned {
        seq: 99,
        replaced: Some(10),
    };
    assert_eq!(outcome(&state, &assign(lab, 1)), again);
    let first = ChangeOutcome::Assigned {
        seq: 99,
        replaced: None,
    };
    assert_eq!(outcome(&state, &assign(of_device("web01"), 1)), first);
    // The group `all` exists without a document.
    assert_eq!(outcome(&empty(), &assign(of_group("all"), 1)), first);
}

#[test]
fn errors_of_all_changes_are_found() {
    let lab = || of_group("lab");
    let all = [
        assign(lab(), 1),
        unassign(lab(), 1),
        join("lab", &["web01"]),
        join("all", &["web01"]),
        delete("all"),
        assign(of_group("site"), 1),
    ];
    insta::assert_snapshot!(errors(&empty(), &all), @r"
    group lab does not exist: create it with 'packcast group create lab'
    the group all contains every device: a device neither joins nor leaves it
    the group all cannot be deleted: unassign its packages instead
    the decision needs group/site, which was not loaded
    ");
}

#[test]
fn an_assignee_has_at_most_1000_packages() {
    let entries = (0..1_000).map(|n| assignment(n).entry(10)).collect();
    let packages = Entries::new(entries).unwrap();
    let mut all = GroupDocument::empty(0, 10);
    all.packages = packages.clone();
    let web01 = DeviceDocument::new(DeviceGroups::default(), packages);
    let mut full = empty();
    full.set_group(GroupName::all(), Some(all));
    full.set_device(device("web01"), Some(share(web01)));

    let owners = [of_group("all"), of_device("web01")];
    let one_more = owners.each_ref().map(|owner| assign(owner.clone(), 1_000));
    insta::assert_snapshot!(errors(&full, &one_more), @r"
    group all has 1000 packages, which is the limit: unassign one, or use another group
    device ocs:web01-2026-03-04-05-06-07 has 1000 packages, which is the limit: unassign one, or use another group
    ");
    for owner in owners {
        let swap = [unassign(owner.clone(), 7), assign(owner, 1_000)];
        assert!(plan(&full, &swap, 11).needs_commit());
    }
}

/// Returns a device with the greatest number of groups, and a change that adds one more.
fn in_many_groups() -> (StatePart, StateChange) {
    let names = |n| format!("g{n}");
    let mut state = empty();
    let leaves = (0..=MAX_DEVICE_GROUPS).map(|n| (LeafName::Group(group(&names(n))), None));
    state.extend(StatePart::read(leaves, &BTreeMap::new()).unwrap());
    let created: Vec<StateChange> = (0..=MAX_DEVICE_GROUPS).map(|n| create(&names(n))).collect();
    let state = applied(&state, &created, 10);
    let joins: Vec<StateChange> = (0..MAX_DEVICE_GROUPS)
        .map(|n| join(&names(n), &["web01"]))
        .collect();
    let one_more = join(&names(MAX_DEVICE_GROUPS), &["web01"]);
    (applied(&state, &joins, 11), one_more)
}

#[test]
fn deleted_groups_do_not_count_for_the_limit_of_a_device() {
    let (state, one_more) = in_many_groups();
    let one_more = [one_more];
    insta::assert_snapshot!(
        errors(&state, &one_more),
        @"ocs:web01-2026-03-04-05-06-07 is in 40 groups, which is the limit: remove it from one with 'packcast group remove'"
    );
    let state = applied(&state, &[delete("g7"), delete("g8"), create("g8")], 12);

    let first = needed(&one_more, &StatePart::default());
    let part = reloaded(&state, first);
    let second = needed(&one_more, &part);
    assert_eq!(second.len(), MAX_DEVICE_GROUPS);
    let mut part = part;
    part.extend(reloaded(&state, second));
    assert!(needed(&one_more, &part).is_empty());
    let after = applied(&part, &one_more, 13);
    let groups = after
        .device(&device("web01"))
        .unwrap()
        .unwrap()
        .groups
        .as_map();
    assert_eq!(groups.len(), MAX_DEVICE_GROUPS - 1);
}

#[test]
fn a_later_group_of_the_same_name_has_no_members() {
    let web01 = device("web01");
    let state = applied(&empty(), &[create("lab"), join("lab", &["web01"])], 10);
    let state = applied(&state, &[delete("lab"), create("lab")], 11);
    assert!(state.groups_of(&web01).unwrap().is_empty());
    let again = applied(&state, &[join("lab", &["web01"])], 12);
    assert_eq!(
        again.groups_of(&web01).unwrap(),
        [(&group("lab"), 11)].into()
    );

    let in_one_commit = [
        create("lab"),
        join("lab", &["web01", "web02"]),
        delete("lab"),
        create("lab"),
        join("lab", &["web02"]),
    ];
    let state = applied(&empty(), &in_one_commit, 10);
    assert!(state.groups_of(&web01).unwrap().is_empty());
    assert_eq!(state.groups_of(&device("web02")).unwrap().len(), 1);
}

#[test]
fn a_repeated_assignment_of_an_adopted_commit_keeps_its_seq() {
    let head = applied(&empty(), &[create("lab")], 10);
    let assign_forced = |terms| StateChange::Assign {
        to: of_group("lab"),
        assignment: NewAssignment {
            force: true,
            terms,
            ..assignment(1)
        },
    };
    let lost = applied(
        &head,
        &[assign_forced(Terms::default()), assign(of_group("lab"), 2)],
        20,
    );
    let mut adopted = AdoptedEntries::default();
    adopted.add(20, &lost);
    let seq = |change| {
        let planned = apply(&head, &[change], 30, &adopted).unwrap();
        match planned.outcomes[0] {
            ChangeOutcome::Assigned { seq, .. } => seq,
            _ => 0,
        }
    };
    assert_eq!(seq(assign_forced(Terms::default())), 20);
    assert_eq!(seq(assign_forced(Terms::allowing_downgrade())), 30);
    assert_eq!(seq(assign(of_group("lab"), 1)), 30);
    assert_eq!(seq(assign(of_group("all"), 2)), 30);
    assert_eq!(seq(assign(of_group("lab"), 2)), 20);
    // After the adopting commit, the same assignment is a new one.
    let after = apply(&head, &[assign(of_group("lab"), 2)], 30, &adopted).unwrap();
    let again = outcome(&after.documents, &assign(of_group("lab"), 2));
    let replaced = Some(20);
    assert_eq!(again, ChangeOutcome::Assigned { seq: 99, replaced });
}

#[test]
fn a_repeated_assignment_follows_its_group_to_another_name() {
    let base = applied(&empty(), &[create("lab")], 10);
    let lost = applied(&base, &[assign(of_group("lab"), 1)], 20);
    let mandate = |state: &StatePart, group: &str| {
        let group = group.parse().unwrap();
        let document = state.group(&group).unwrap().unwrap();
        document.packages.as_slice()[0].group_mandate(&group)
    };
    let repeated = |head: &StatePart, lost: &StatePart, group: &str| {
        let mut adopted = AdoptedEntries::default();
        adopted.add(20, lost);
        let change = assign(of_group(group), 1);
        let after = apply(head, &[change], 30, &adopted).unwrap().documents;
        mandate(&after, group)
    };
    let head = applied(&base, &[rename("lab", "hall")], 21);
    assert_eq!(repeated(&head, &lost, "hall"), mandate(&lost, "lab"));
    // Another group has the earlier name.
    let head_with_both = applied(&head, &[create("lab")], 22);
    assert_eq!(repeated(&head_with_both, &lost, "lab").seq, 30);
    // Both names were changed: the lost commit has given the group another one.
    let renamed = applied(
        &base,
        &[assign(of_group("lab"), 1), rename("lab", "office")],
        20,
    );
    assert_eq!(
        repeated(&head, &renamed, "hall"),
        mandate(&renamed, "office")
    );
    // The lost commit has created the group, and the head has created it again.
    let created = [create("office"), assign(of_group("office"), 1)];
    let lost = applied(&base, &created, 20);
    let head = applied(&base, &[create("office")], 21);
    assert_eq!(repeated(&head, &lost, "office"), mandate(&lost, "office"));
}

/// Returns the removals of one lost commit.
fn removals(before: &StatePart, lost: &StatePart, head: &StatePart) -> Vec<StateChange> {
    let mut removals = AdoptedRemovals::default();
    removals.add(before, lost, head).unwrap();
    removals.changes()
}

#[test]
fn removals_of_a_lost_commit_are_repeated() {
    let setup = [
        create("lab"),
        create("office"),
        assign(of_group("lab"), 1),
        assign(of_group("lab"), 2),
        assign(of_device("web01"), 3),
        join("lab", &["web01", "web02"]),
        add_location("cdn", "a.example.net"),
    ];
    let before = applied(&empty(), &setup, 10);
    let remove_location = StateChange::RemoveLocation {
        location: "cdn".parse().unwrap(),
    };
    let removed = [
        delete("office"),
        unassign(of_group("lab"), 1),
        unassign(of_device("web01"), 3),
        leave("lab", &["web01"]),
        remove_location,
    ];
    let additions = [assign(of_group("lab"), 4), join("lab", &["web03"])];
    let lost = applied(&applied(&before, &removed, 20), &additions, 20);
    // The head has an unrelated change.
    let head = applied(&before, &[assign(of_group("all"), 5)], 30);

    let mut repeated = removals(&before, &lost, &head);
    assert_eq!(repeated.len(), removed.len());
    repeated.retain(|change| !removed.contains(change));
    assert_eq!(repeated, []);
    let repeated = removals(&before, &lost, &head);
    let adopted = applied(&head, &repeated, 40);
    assert_eq!(removals(&before, &lost, &adopted), []);

    // Later decisions stay: a package that was assigned again, a group that was created again.
    let later = [
        assign(of_group("lab"), 1),
        delete("office"),
        create("office"),
        leave("lab", &["web01"]),
        add_location("cdn", "b.example.net"),
    ];
    let later = applied(&head, &later, 31);
    let repeated = removals(&before, &lost, &later);
    assert_eq!(repeated, [unassign(of_device("web01"), 3)]);
    // The devices of a deleted group need no change, and the change would fail.
    let deleted = applied(&head, &[delete("lab"), delete("office")], 31);
    let repeated = removals(&before, &lost, &deleted);
    assert!(apply(&deleted, &repeated, 40, &AdoptedEntries::default()).is_ok());
}

/// The package was assigned again, for example to retry its failures, before it was withdrawn.
#[test]
fn a_withdrawn_package_does_not_come_back_with_an_earlier_assignment() {
    for owner in [of_group("lab"), of_device("web01")] {
        let head = applied(&empty(), &[create("lab"), assign(owner.clone(), 1)], 10);
        let again = applied(&head, &[assign(owner.clone(), 1)], 20);
        let withdrawn = applied(&again, &[unassign(owner.clone(), 1)], 30);
        let mut removals = AdoptedRemovals::default();
        removals.add(&head, &again, &head).unwrap();
        removals.add(&again, &withdrawn, &head).unwrap();
        assert_eq!(removals.changes(), [unassign(owner.clone(), 1)]);
        // An assignment after the removed one stays.
        let later = applied(&head, &[assign(owner, 1)], 25);
        let mut removals = AdoptedRemovals::default();
        removals.add(&again, &withdrawn, &later).unwrap();
        assert_eq!(removals.changes(), []);
    }
}

/// The address of the location was changed before the location was removed.
#[test]
fn a_removed_location_does_not_come_back_with_an_earlier_address() {
    let remove = StateChange::RemoveLocation {
        location: "cdn".parse().unwrap(),
    };
    let head = applied(&empty(), &[add_location("cdn", "a.example.net")], 10);
    let moved = applied(&head, &[add_location("cdn", "b.example.net")], 20);
    let removed = applied(&moved, std::slice::from_ref(&remove), 30);
    let all_removals = |head: &StatePart| {
        let mut removals = AdoptedRemovals::default();
        removals.add(&moved, &removed, head).unwrap();
        removals.add(&empty(), &moved, head).unwrap();
        removals.changes()
    };
    assert_eq!(all_removals(&moved), [remove]);
    assert_eq!(all_removals(&removed), []);
    let later = applied(&head, &[add_location("cdn", "c.example.net")], 40);
    assert_eq!(all_removals(&later), []);
}

proptest! {
    #[test]
    fn one_call_and_many_calls_make_the_same_state(
        [setup, changes, _] in any_histories([8, 6, 0]),
    ) {
        let none = AdoptedEntries::default();
        let before = crate::state::samples::after_commits(&empty(), &setup, 1);
        let (mut state, mut made, mut outcomes) = (before.clone(), Vec::new(), Vec::new());
        let mut tree = crate::state::samples::tree(&before);
        for change in &changes {
            if let Ok(planned) = apply(&state, std::slice::from_ref(change), 50, &none) {
                let mut leaves = planned.changed_groups();
                leaves.extend(planned.changed_devices());
                tree = tree.update(&leaves).unwrap();
                state = planned.documents;
                outcomes.extend(planned.outcomes);
                made.push(change.clone());
            }
        }
        let at_once = apply(&before, &made, 50, &none).unwrap();
        prop_assert_eq!(&at_once.documents, &state);
        prop_assert_eq!(&at_once.outcomes, &outcomes);
        prop_assert_eq!(root(&at_once.documents), tree.root());
        let again = apply(&before, &made, 50, &none).unwrap();
        prop_assert_eq!(at_once, again);
    }

    #[test]
    fn needed_leaves_are_enough(
        [setup, changes, _] in any_histories([8, 3, 0]),
    ) {
        let none = AdoptedEntries::default();
        let before = crate::state::samples::after_commits(&empty(), &setup, 1);
        let mut part = StatePart::default();
        if needs_all_rollouts(&changes) {
            let names = before.leaves().into_keys();
            let rollouts = names.filter(|name| matches!(name, LeafName::Rollout(_)));
            part = reloaded(&before, rollouts).with_all_rollouts();
        }
        for _ in 0..2 {
            part.extend(reloaded(&before, needed(&changes, &part)));
            for group in needed_members(&changes, &part) {
                let members = before.clone().naming(&group);
                part.add_members(group, members);
            }
        }
        prop_assert!(needed(&changes, &part).is_empty());
        prop_assert!(needed_members(&changes, &part).is_empty());
        let (whole, of_part) = (apply(&before, &changes, 50, &none), apply(&part, &changes, 50, &none));
        match (whole, of_part) {
            (Ok(whole), Ok(of_part)) => {
                prop_assert_eq!(&whole.outcomes, &of_part.outcomes);
                for (name, digest) in of_part.documents.leaves() {
                    prop_assert_eq!(whole.documents.leaves()[&name], digest);
                }
                let tree = crate::state::samples::tree(&before);
                let mut leaves = of_part.changed_groups();
                leaves.extend(of_part.changed_devices());
                let updated: PartialTree = tree.update(&leaves).unwrap();
                prop_assert_eq!(updated.root(), root(&whole.documents));
            }
            (whole, of_part) => prop_assert_eq!(whole.unwrap_err(), of_part.unwrap_err()),
        }
    }

    /// An agent acts once under each mandate, so it acts on nothing because of a new name. It does not
    /// come into another wave of a rollout either.
    #[test]
    fn a_new_name_changes_no_mandate_and_no_wave([changes, more, _] in any_histories([12, 6, 0])) {
        let before = crate::state::samples::after_commits(&empty(), &changes, 1);
        let mut state = crate::state::samples::after_commits(&before, &more, 20);
        for (name, to) in [("lab", "office"), ("office", "hall"), ("hall", "lab"), ("lab", "hall")] {
            let renamed = crate::state::samples::after_commits(&state, &[rename(name, to)], 50);
            prop_assert_eq!(mandates(&renamed), mandates(&state));
            prop_assert_eq!(waves(&renamed), waves(&state));
            state = renamed;
        }
    }

    /// The commits after a head are lost, and their removals are made again on the head: the state
    /// has nothing that the last commit has not.
    #[test]
    fn nothing_that_lost_commits_have_removed_comes_back(
        setup in any_changes_with_rollouts(8),
        lost in proptest::collection::vec(proptest::sample::select(repeated_changes()), 0..=8),
        newest_first in any::<bool>(),
    ) {
        // The setup has used up the first ids.
        let started = start(70, 1, &["lab"], [None, None]);
        let setup = [repeated_changes(), setup, started].concat();
        let head = crate::state::samples::after_commits(&empty(), &setup, 1);
        let (mut last, mut commits) = (head.clone(), Vec::new());
        for (change, number) in lost.iter().zip(50..) {
            let after = crate::state::samples::after_commits(&last, std::slice::from_ref(change), number);
            commits.push((last, after.clone()));
            last = after;
        }
        if newest_first {
            commits.reverse();
        }
        let mut removals = AdoptedRemovals::default();
        for (before, after) in &commits {
            removals.add(before, after, &head).unwrap();
        }
        let adopted = applied(&head, &removals.changes(), 99);
        // The lost commits may have renamed a group.
        let (groups, known) = (packages_of_groups(&adopted), packages_of_groups(&last));
        for (origin, packages) in &groups {
            prop_assert!(known.get(origin).is_some_and(|known| packages.is_subset(known)));
        }
        prop_assert!(members(&adopted).is_subset(&members(&last)));
        let (adopted, last) = (Meaning::of(&adopted), Meaning::of(&last));
        prop_assert!(adopted.locations.keys().all(|name| last.locations.contains_key(name)));
        // A finished rollout goes on.
        let is_finished = lost.contains(&finish(70));
        prop_assert!(is_finished || adopted.rollouts.keys().all(|id| last.rollouts.contains_key(id)));
        for (device, entries) in &adopted.direct {
            let known = last.direct.get(device).into_iter().flatten();
            prop_assert!(packages(entries).is_subset(&packages(known)));
        }
    }
}

fn packages_of_groups(state: &StatePart) -> BTreeMap<GroupOrigin, BTreeSet<PackageId>> {
    let groups = state.by_origin().into_iter();
    let packages = groups.map(|(origin, group)| {
        let document = state.group(group).unwrap();
        let entries = document.map_or(&[][..], |document| document.packages.as_slice());
        (origin, entries.iter().map(|entry| entry.package).collect())
    });
    packages.collect()
}

fn members(state: &StatePart) -> BTreeSet<(DeviceId, GroupOrigin)> {
    let devices = state.devices();
    let members = devices.flat_map(|(device, _)| {
        let groups = state.origins_of(device).unwrap().into_keys();
        groups.map(|origin| (device.clone(), origin))
    });
    members.collect()
}

/// Returns the mandates of each device for each package.
fn mandates(state: &StatePart) -> BTreeSet<(DeviceId, PackageId, Mandate)> {
    let mut found = BTreeSet::new();
    for (device, _) in state.devices() {
        for group in state.groups_of(device).unwrap().into_keys() {
            let document = state.group(group).unwrap().unwrap();
            for entry in document.packages.as_slice() {
                let mandate = entry.group_mandate(group);
                let is_new = found.insert((device.clone(), entry.package, mandate));
                assert!(is_new, "two groups give the same mandate");
            }
        }
    }
    found
}

/// Returns the wave of each device in each rollout.
fn waves(state: &StatePart) -> BTreeMap<(DeviceId, RolloutId), Option<WaveNumber>> {
    let mut waves = BTreeMap::new();
    for (device, _) in state.devices() {
        let groups = state.groups_of(device).unwrap().into_keys().cloned();
        let groups = groups.chain([GroupName::all()]).collect();
        for (rollout, document) in state.rollouts() {
            if let Some(document) = document {
                let wave = document.wave_of(device, &groups);
                waves.insert((device.clone(), rollout), wave);
            }
        }
    }
    waves
}

/// Returns a few changes, so that random ones repeat and undo each other.
fn repeated_changes() -> Vec<StateChange> {
    vec![
        create("lab"),
        unassign(of_group("lab"), 1),
        assign(of_group("lab"), 1),
        unassign(of_device("web01"), 1),
        assign(of_device("web01"), 1),
        leave("lab", &["web01"]),
        join("lab", &["web01"]),
        rename("lab", "hall"),
        rename("hall", "lab"),
        unassign(of_group("hall"), 1),
        delete("hall"),
        end(70),
        finish(70),
        StateChange::RemoveLocation {
            location: "cdn".parse().unwrap(),
        },
        add_location("cdn", "a.example.net"),
        add_location("cdn", "b.example.net"),
        add_location("cdn", "a.example.net"),
    ]
}

fn packages<'a>(
    entries: impl IntoIterator<Item = &'a NewAssignment>,
) -> BTreeSet<packcast_protocol::PackageId> {
    entries.into_iter().map(|entry| entry.package).collect()
}
