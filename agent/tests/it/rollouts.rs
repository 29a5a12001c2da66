//! The calendar of a rollout on a device.
#![cfg(unix)]

use packcast_protocol::UnixTime;
use packcast_protocol::state::document::{RolloutGroups, WaveDevices, Waves};
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::state::{
    DocumentText, LeafName, RolloutDocument, RolloutId, RolloutSeed, StateEntry, StateReply, Wave,
};

use crate::lab::Lab;
use crate::publisher::{Content, unix_now};
use crate::rounds::{
    check_ins, commit, content, counting, entry, expect, round, runs, set, status,
};

const ROLLOUT: RolloutId = RolloutId::from_bytes([1; 16]);

/// Returns a content in which the first package has a rollout with one wave, and the second is
/// assigned plainly.
fn in_rollout(lab: &Lab, entries: &[StateEntry; 2], from: Option<u64>) -> Content {
    let [first, second] = entries.clone();
    let terms = first.terms.with_rollout(ROLLOUT).unwrap();
    let groups = RolloutGroups::new(["all".parse().unwrap()].into()).unwrap();
    let wave = Wave {
        devices: WaveDevices::UpTo(10_000),
        from: from.map(UnixTime),
    };
    let rollout = RolloutDocument::new(
        first.package,
        first.manifest,
        groups,
        RolloutSeed::from_bytes([7; 16]),
        Waves::new(vec![wave]).unwrap(),
    );
    let mut content = content(lab).with("all", &[StateEntry { terms, ..first }, second]);
    content.rollouts.insert(ROLLOUT, rollout);
    content
}

fn two_packages(lab: &Lab) -> [StateEntry; 2] {
    [1, 2].map(|n| {
        let id = counting(lab, n);
        entry(lab, id, n.into())
    })
}

#[test]
fn a_package_waits_for_its_wave_and_holds_up_no_other() {
    let lab = Lab::with_commits();
    let entries = two_packages(&lab);
    commit(&lab, in_rollout(&lab, &entries, None));
    let closed = round(&lab);
    assert_eq!(closed.codes, ["EXIT_CODE_3"], "{}", closed.stderr);
    assert_eq!(closed.waits, [WaitWord::WaveClosed]);
    assert_eq!(runs(&lab), ["2"]);
    lab.world().tasks.pop();
    let text = status(&lab);
    let reason = format!("wave 1 of rollout {ROLLOUT}, which stays closed");
    assert!(text.contains(&reason), "{text}");
    let opens = unix_now() + 86_400;
    commit(&lab, in_rollout(&lab, &entries, Some(opens)));
    assert_eq!(round(&lab).waits, [WaitWord::WaveNotOpen]);
    check_ins(&lab);
    assert_eq!(round(&lab).waits, [WaitWord::WaveNotOpen]);
    assert_eq!(check_ins(&lab), 1);
    // The next check-in names the time.
    let until = lab
        .world()
        .waits
        .clone()
        .into_iter()
        .map(|waiting| waiting.until);
    assert_eq!(until.collect::<Vec<_>>(), [Some(UnixTime(opens))]);
    commit(&lab, in_rollout(&lab, &entries, Some(unix_now())));
    expect(&lab, &["EXIT_CODE_3"]);
    assert_eq!(runs(&lab), ["2", "1"]);
}

#[test]
fn a_withheld_calendar_makes_only_its_package_wait() {
    let lab = Lab::with_commits();
    let entries = two_packages(&lab);
    commit(&lab, in_rollout(&lab, &entries, Some(unix_now())));
    let without_calendar = |reply: &mut StateReply| {
        let is_other = |text: &&DocumentText| !text.as_str().contains("\"waves\"");
        reply.documents = reply.documents.iter().filter(is_other).cloned().collect();
    };
    set(&lab, |target| target.change = Some(without_calendar));
    let withheld = round(&lab);
    assert_eq!(withheld.codes, ["EXIT_CODE_3"], "{}", withheld.stderr);
    assert_eq!(withheld.waits, [WaitWord::Incomplete]);
    assert_eq!(runs(&lab), ["2"]);
    lab.world().tasks.pop();
    let lacks = {
        let mut world = lab.world();
        let target = world.target.as_mut().unwrap();
        target.held.last().unwrap().lacks.clone()
    };
    assert_eq!(lacks, [LeafName::Rollout(ROLLOUT)].into());
    assert_eq!(
        check_ins(&lab),
        3,
        "the same question would get the same answer"
    );
    set(&lab, |target| target.change = None);
    expect(&lab, &["EXIT_CODE_3"]);
    assert_eq!(runs(&lab), ["2", "1"]);
}
