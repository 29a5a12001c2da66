use packcast_protocol::state::Terms;
use packcast_protocol::{DeviceId, PackageId};
use proptest::prelude::*;

use super::*;
use crate::state::samples::{
    Meaning, add_location, after_commits, any_histories, applied, assign, assignment, create,
    delete, device, empty, end, finish, group, join, leave, of_device, of_group, open_wave, rename,
    start, unassign,
};
use crate::state::{AdoptedEntries, apply};

struct Names;

impl StateNames for Names {
    fn package(&self, package: PackageId) -> String {
        format!(
            "tool@{}",
            package.to_string().trim_start_matches("179000000")
        )
    }

    fn device(&self, device: &DeviceId) -> String {
        match device {
            DeviceId::Ocs(device) => device.host_name().to_owned(),
            DeviceId::Agent(agent) => agent.to_string(),
        }
    }
}

fn states() -> (StatePart, StatePart) {
    let setup = [
        create("office"),
        create("lab"),
        assign(of_group("office"), 1),
        assign(of_group("lab"), 2),
        assign(of_group("lab"), 3),
        join("lab", &["web01"]),
        join("office", &["web02"]),
        add_location("cdn", "a.example.net"),
        add_location("mirror", "m.example.net"),
    ];
    let before = applied(&empty(), &setup, 10);
    let changes = [
        delete("office"),
        assign(of_group("lab"), 2),
        unassign(of_group("lab"), 3),
        leave("lab", &["web01"]),
        join("lab", &["web02", "web03"]),
        StateChange::Assign {
            to: of_device("web01"),
            assignment: NewAssignment {
                force: true,
                terms: Terms::allowing_downgrade(),
                ..assignment(4)
            },
        },
        StateChange::Prefer {
            group: group("lab"),
            location: Some("cdn".parse().unwrap()),
        },
        StateChange::Pace {
            group: group("lab"),
            pacing: PacingChange::Set(PacingOverride {
                cycle_pause_s: Some(5.try_into().unwrap()),
                strict: Some(true),
                ..PacingOverride::default()
            }),
        },
        add_location("cdn", "b.example.net"),
        StateChange::RemoveLocation {
            location: "mirror".parse().unwrap(),
        },
    ];
    (before.clone(), applied(&before, &changes, 11))
}

fn lines(before: &StatePart, after: &StatePart) -> String {
    let differences = difference(before, after).unwrap();
    let lines: Vec<String> = differences.iter().map(|it| it.line(&Names)).collect();
    lines.join("\n")
}

#[test]
fn lines_of_each_difference() {
    let (before, after) = states();
    insta::assert_snapshot!(lines(&before, &after), @r"
    location cdn: address changed from a.example.net to b.example.net
    group office: unassigned tool@1
    group office: deleted
    group lab: unassigned tool@3
    group lab: assigned tool@2 again
    group lab: prefers location cdn
    group lab: pacing cycle pause 5 s, strict true
    group lab: web01 left
    group lab: web02, web03 joined
    device web01: assigned tool@4 (force, downgrade)
    location mirror: removed, address m.example.net
    ");
    insta::assert_snapshot!(lines(&after, &before), @r"
    location cdn: address changed from b.example.net to a.example.net
    location mirror: added, address m.example.net
    group lab: assigned tool@2 again
    group lab: assigned tool@3
    group lab: prefers no location
    group lab: pacing of the target
    group office: created
    group office: assigned tool@1
    group lab: web02, web03 left
    group lab: web01 joined
    group office: web02 joined
    device web01: unassigned tool@4
    ");
    assert_eq!(lines(&after, &after), "");
}

#[test]
fn lines_of_rollouts() {
    let setup = [create("lab"), create("office"), assign(of_group("lab"), 1)];
    let before = applied(&empty(), &setup, 10);
    let changes = start(1, 1, &["lab", "office"], [Some(1_795_000_000), None]);
    let started = applied(&before, &changes, 20);
    let promoted = applied(&started, &[open_wave(1, 2, 1_795_086_400)], 30);
    let finished = applied(&promoted, &[finish(1)], 40);
    let ended = applied(&promoted, &[end(1)], 40);
    insta::assert_snapshot!(lines(&before, &started), @"
    rollout aeaqcaibaeaqcaibaeaqcaibae: started for tool@1, wave 1 opens 2026-11-18 11:06:40 UTC, wave 2 closed
    group lab: assigned tool@1 again (rollout)
    group office: assigned tool@1 (rollout)
    ");
    insta::assert_snapshot!(lines(&started, &promoted), @"rollout aeaqcaibaeaqcaibaeaqcaibae: new times for tool@1, wave 1 opens 2026-11-18 11:06:40 UTC, wave 2 opens 2026-11-19 11:06:40 UTC");
    insta::assert_snapshot!(lines(&promoted, &finished), @"
    rollout aeaqcaibaeaqcaibaeaqcaibae: removed, of tool@1
    group lab: tool@1 assigned without its rollout
    group office: tool@1 assigned without its rollout
    ");
    insta::assert_snapshot!(lines(&promoted, &ended), @"
    rollout aeaqcaibaeaqcaibaeaqcaibae: removed, of tool@1
    group lab: unassigned tool@1
    group office: unassigned tool@1
    ");
    // The differences of a finished rollout keep the mandates in another state, too.
    let differences = difference(&promoted, &finished).unwrap();
    let made = applied(&started, &changes_of(&differences), 50);
    let lab = made.group(&group("lab")).unwrap().unwrap();
    let entry = &lab.packages.as_slice()[0];
    assert_eq!((entry.seq, entry.terms.rollout()), (20, None));
}

#[test]
fn a_group_that_was_created_again_is_a_new_group() {
    let setup = [
        create("lab"),
        assign(of_group("lab"), 1),
        join("lab", &["web01", "web02"]),
    ];
    let before = applied(&empty(), &setup, 10);
    let again = [
        delete("lab"),
        create("lab"),
        join("lab", &["web02", "web03"]),
    ];
    let after = applied(&before, &again, 11);
    insta::assert_snapshot!(lines(&before, &after), @r"
    group lab: unassigned tool@1
    group lab: deleted
    group lab: created
    group lab: web02, web03 joined
    ");
}

#[test]
fn a_line_names_only_some_of_many_devices() {
    let line = |count: usize| {
        let devices = (0..count).map(|n| format!("ocs:web{n:02}-2026-03-04-05-06-07"));
        let joined = StateDifference::Joined {
            group: group("lab"),
            devices: devices.map(|device| device.parse().unwrap()).collect(),
        };
        joined.line(&Names)
    };
    insta::assert_snapshot!([5, 6, 20].map(line).join("\n"), @r"
    group lab: web00, web01, web02, web03, web04 joined
    group lab: web00, web01, web02, web03, web04 and 1 other device joined
    group lab: web00, web01, web02, web03, web04 and 15 other devices joined
    ");
}

#[test]
fn a_renamed_group_is_one_difference() {
    let setup = [
        create("lab"),
        create("office"),
        assign(of_group("lab"), 1),
        assign(of_group("lab"), 2),
        join("lab", &["web01", "web02"]),
    ];
    let before = applied(&empty(), &setup, 10);
    let renamed = applied(&before, &[rename("lab", "hall")], 11);
    insta::assert_snapshot!(lines(&before, &renamed), @"group lab: renamed to hall");
    insta::assert_snapshot!(lines(&renamed, &before), @"group hall: renamed to lab");
    let changes = [
        assign(of_group("hall"), 3),
        unassign(of_group("hall"), 2),
        leave("hall", &["web02"]),
        join("hall", &["web03"]),
        create("lab"),
        join("lab", &["web01"]),
        delete("office"),
        rename("lab", "office"),
    ];
    let later = applied(&renamed, &changes, 12);
    insta::assert_snapshot!(lines(&before, &later), @r"
    group office: deleted
    group lab: renamed to hall
    group hall: unassigned tool@2
    group hall: assigned tool@3
    group office: created
    group hall: web02 left
    group hall: web03 joined
    group office: web01 joined
    ");
    let differences = difference(&before, &renamed).unwrap();
    let json = serde_json::to_string(&differences).unwrap();
    insta::assert_snapshot!(json, @r#"[{"change":"group-renamed","group":"lab","new_name":"hall"}]"#);
}

#[test]
fn a_difference_is_an_object_for_scripts() {
    let (before, after) = states();
    let differences = difference(&before, &after).unwrap();
    let json = |index: usize| serde_json::to_string(&differences[index]).unwrap();
    insta::assert_snapshot!([json(0), json(7), json(9)].join("\n"), @r#"
    {"change":"location-set","location":"cdn","url":"b.example.net","before":"a.example.net"}
    {"change":"left","group":"lab","devices":["ocs:web01-2026-03-04-05-06-07"]}
    {"change":"assigned","to":{"device":"ocs:web01-2026-03-04-05-06-07"},"entry":{"package":"1790000004","manifest":"1bc5d0e3df0ea12c4d0078668d14924f95106bbe173e196de50fe13a900b0937","seq":11,"force":true,"terms":{"downgrade":true}},"replaced":null}
    "#);
}

#[test]
fn both_parts_must_have_the_same_leaves() {
    let (before, after) = states();
    for (one, other) in [
        (&before, &StatePart::default()),
        (&StatePart::default(), &after),
    ] {
        assert!(difference(one, other).is_err());
    }
}

#[test]
fn a_commit_of_another_machine_is_adopted_with_its_seq() {
    let parent = applied(&empty(), &[create("lab")], 10);
    let changes = [
        assign(of_group("lab"), 1),
        assign(of_device("web01"), 2),
        join("lab", &["web01"]),
    ];
    let lost = applied(&parent, &changes, 20);
    let head = applied(&parent, &[assign(of_group("lab"), 3)], 21);
    let mut adopted = AdoptedEntries::default();
    adopted.add(20, &lost);
    let changes = changes_of(&difference(&parent, &lost).unwrap());
    let after = apply(&head, &changes, 30, &adopted).unwrap().documents;
    insta::assert_snapshot!(lines(&head, &after), @r"
    group lab: assigned tool@1
    group lab: web01 joined
    device web01: assigned tool@2
    ");
    let seqs = |entries: &Entries| -> Vec<u64> {
        entries.as_slice().iter().map(|entry| entry.seq).collect()
    };
    let lab = after.group(&group("lab")).unwrap().unwrap();
    assert_eq!((seqs(&lab.packages), lab.revision), (vec![20, 21], 30));
    let web01 = after.device(&device("web01")).unwrap().unwrap();
    assert_eq!(seqs(&web01.packages), [20]);
}

/// A rollout names its groups by their names at that time.
#[test]
fn rollouts_end_before_a_group_is_renamed_and_begin_afterwards() {
    let before = applied(&empty(), &[create("lab")], 10);
    let before = applied(&before, &start(1, 1, &["lab"], [None, None]), 20);
    for over in [end(1), finish(1)] {
        let renamed = applied(&before, &[over, rename("lab", "hall")], 30);
        let after = applied(&renamed, &start(2, 2, &["hall"], [None, None]), 31);
        let changes = changes_of(&difference(&before, &after).unwrap());
        let made = applied(&before, &changes, 40);
        assert_eq!(Meaning::of(&made), Meaning::of(&after));
    }
}

proptest! {
    #[test]
    fn differences_lead_from_any_state_to_any_other(
        [first, second, _] in any_histories([8, 8, 0]),
    ) {
        let one = after_commits(&empty(), &first, 1);
        let descendant = after_commits(&one, &second, 20);
        let unrelated = after_commits(&empty(), &second, 20);
        for (before, after) in [
            (&one, &descendant),
            (&descendant, &one),
            (&one, &unrelated),
        ] {
            // Groups that have exchanged their names need a third name.
            let renames = renames(before, after).unwrap();
            let is_taken = |n: usize| renames[n..].iter().any(|(from, _)| *from == renames[n].1);
            prop_assume!(!(0..renames.len()).any(is_taken));
            let changes = changes_of(&difference(before, after).unwrap());
            let made = apply(before, &changes, 50, &AdoptedEntries::default());
            prop_assert!(made.is_ok(), "{made:?}");
            prop_assert_eq!(Meaning::of(&made.unwrap().documents), Meaning::of(after));
        }
    }
}
