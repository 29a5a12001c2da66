//! The calendar of a rollout: a device begins in its wave, and never before.

use std::collections::BTreeSet;

use packcast_protocol::state::document::{RolloutGroups, WaveDevices, Waves};
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::state::{
    Document, DocumentText, LeafName, PartialTree, Refusal, RolloutDocument, RolloutId,
    RolloutSeed, Slot, StateEntry, StateReply, VerifiedState, Waiting, Wave,
};
use packcast_protocol::{DeviceId, Sha256Digest, UnixTime};

use super::{OTHER, WIPE, check_refused, content, deliver, followed};
use crate::held::world::{
    Content, DAY, Draft, NOW, TestCommit, accept, begin, begin_after, device, entry, group, loaded,
    manifest, new_device,
};

const ROLLOUT: RolloutId = RolloutId::from_bytes([1; 16]);

fn named(names: &[&str]) -> RolloutGroups {
    let names = names.iter().map(|name| group(name));
    RolloutGroups::new(names.collect()).expect("a few groups")
}

/// Returns a rollout of the package `WIPE` to the group `lab`: a pilot group, then half of the
/// devices, then all.
fn rollout(from: [Option<u64>; 3]) -> RolloutDocument {
    let wave = |devices, from: Option<u64>| Wave {
        devices,
        from: from.map(UnixTime),
    };
    let [pilot, half, all] = from;
    let waves = vec![
        wave(WaveDevices::Groups(named(&["pilot"])), pilot),
        wave(WaveDevices::UpTo(5_000), half),
        wave(WaveDevices::UpTo(10_000), all),
    ];
    let manifest = manifest(WIPE);
    RolloutDocument::new(
        manifest.id,
        manifest.manifest,
        named(&["lab"]),
        seed(false),
        Waves::new(waves).expect("the waves are in order"),
    )
}

/// Returns a seed by which device 1 is in the first half, or not.
fn seed(in_first_half: bool) -> RolloutSeed {
    let own = DeviceId::Agent(device(1));
    let seeds = (0..=u8::MAX).map(|n| RolloutSeed::from_bytes([n; 16]));
    let mut seeds = seeds.filter(|seed| (Slot::of(*seed, &own).get() < 5_000) == in_first_half);
    seeds.next().expect("half of the seeds")
}

/// Returns an entry of the rollout for the package `WIPE`.
fn in_rollout(seq: u64) -> StateEntry {
    let plain = entry(WIPE, seq);
    let terms = plain.terms.with_rollout(ROLLOUT);
    StateEntry {
        terms: terms.expect("the terms fit"),
        ..plain
    }
}

/// Returns content in which device 1 is in these groups, and its group `lab` has the rollout.
/// Another package is assigned plainly.
fn with_rollout(groups: &[&str], document: RolloutDocument) -> Content {
    let entries = [in_rollout(NOW.0), entry(OTHER, NOW.0)];
    let mut content = content()
        .with_group("pilot", &[])
        .with_group("lab", &entries)
        .with_member(groups);
    content.rollouts.insert(ROLLOUT, document);
    content
}

/// Returns device 1 with this state.
fn holding(content: Content) -> (VerifiedState, TestCommit) {
    let commit = Draft::first(content).sign();
    let mut state = followed();
    deliver(&mut state, &commit);
    (state, commit)
}

/// Checks that only the package of the rollout waits, and returns the reason.
fn waits(state: &VerifiedState, clock: UnixTime) -> Waiting {
    assert!(begin(state, OTHER, clock).is_ok());
    begin(state, WIPE, clock).expect_err("the package waits")
}

#[test]
fn a_device_begins_when_its_wave_is_open() {
    let opens = NOW.0 + DAY;
    let calendar = rollout([Some(NOW.0), Some(NOW.0 + 60), Some(opens)]);
    let (state, _) = holding(with_rollout(&["lab"], calendar.clone()));
    let waiting = waits(&state, UnixTime(opens - 1));
    assert_eq!(waiting.until(), Some(UnixTime(opens)));
    assert_eq!(waiting.word(), WaitWord::WaveNotOpen);
    assert!(begin(&state, WIPE, UnixTime(opens)).is_ok());
    // The pilot group is in the first wave, and the first half in the second.
    let (pilot, _) = holding(with_rollout(&["lab", "pilot"], calendar.clone()));
    assert!(begin(&pilot, WIPE, NOW).is_ok());
    let mut calendar = calendar;
    calendar.seed = seed(true);
    let (half, _) = holding(with_rollout(&["lab"], calendar));
    let waiting = waits(&half, UnixTime(NOW.0 + 59));
    assert_eq!(waiting.until(), Some(UnixTime(NOW.0 + 60)));
    assert!(begin(&half, WIPE, UnixTime(NOW.0 + 60)).is_ok());
    // The state is the same after the next start of the agent.
    let (half, discarded) = loaded(&half, new_device(&device(1), []));
    assert!(discarded.is_empty());
    assert!(begin(&half, WIPE, UnixTime(NOW.0 + 60)).is_ok());
}

#[test]
fn a_closed_wave_opens_only_by_a_later_commit() {
    let (mut state, closed) = holding(with_rollout(&["lab"], rollout([Some(NOW.0), None, None])));
    for clock in [NOW, UnixTime(NOW.0 + 80 * DAY)] {
        let waiting = waits(&state, clock);
        assert!(matches!(waiting, Waiting::WaveClosed { .. }), "{waiting}");
        assert_eq!(
            (waiting.until(), waiting.word()),
            (None, WaitWord::WaveClosed)
        );
    }
    let mut content = closed.draft.content.clone();
    let document = content.rollouts.get_mut(&ROLLOUT).unwrap();
    for wave in [2, 3].map(|wave| wave.try_into().unwrap()) {
        document.waves = document.waves.opening(wave, UnixTime(NOW.0 + 60)).unwrap();
    }
    let opened = Draft::after(&closed, content).sign();
    deliver(&mut state, &opened);
    assert!(begin(&state, WIPE, UnixTime(NOW.0 + 60)).is_ok());
}

#[test]
fn a_calendar_of_an_older_state_counts_no_more() {
    // The publisher has put off a rollout that would be open now.
    let (mut state, early) = holding(with_rollout(&["lab"], rollout([Some(NOW.0); 3])));
    assert!(begin(&state, WIPE, NOW).is_ok());
    let mut content = early.draft.content.clone();
    content.rollouts.insert(ROLLOUT, rollout([None; 3]));
    let late = Draft::after(&early, content).sign();
    // The attacker sends the new commit with the old calendar.
    let mut reply = late.reply_to(&state, &device(1));
    reply.documents = early.documents.values().cloned().collect();
    accept(&mut state, &reply);
    let waiting = waits(&state, NOW);
    assert!(matches!(waiting, Waiting::Lacks { .. }), "{waiting}");
    let lacks = state.completeness(&BTreeSet::new()).lacks;
    assert_eq!(lacks, [LeafName::Rollout(ROLLOUT)].into());
    // The path to the old calendar is of another tree.
    let reply = StateReply {
        of: Some(late.id),
        groups: Some(early.groups.clone()),
        documents: early.documents.values().cloned().collect(),
        ..StateReply::default()
    };
    let refused = accept(&mut state, &reply);
    assert!(matches!(refused[..], [Refusal::OtherState { .. }]));
    let waiting = waits(&state, NOW);
    assert!(matches!(waiting, Waiting::Lacks { .. }), "{waiting}");
    deliver(&mut state, &late);
    let waiting = waits(&state, NOW);
    assert!(matches!(waiting, Waiting::WaveClosed { .. }), "{waiting}");
    let refusal = check_refused(&mut state, &early, WIPE);
    assert!(matches!(refusal, Refusal::NotLater { .. }), "{refusal}");
}

#[test]
fn a_forged_calendar_is_never_held() {
    let honest = rollout([Some(NOW.0), Some(NOW.0), None]);
    let commit = Draft::first(with_rollout(&["lab"], honest.clone())).sign();
    let mut other_seed = honest.clone();
    other_seed.seed = seed(true);
    let mut no_pilot = honest;
    no_pilot.waves = rollout([Some(NOW.0); 3]).waves;
    for forged in [other_seed, no_pilot] {
        let digest = Document::new(forged.clone()).digest();
        let text = Document::new(forged).text().clone();
        let honest = Document::new(commit.draft.content.rollouts[&ROLLOUT].clone()).digest();
        let mut state = followed();
        let mut reply = commit.reply_to(&state, &device(1));
        reply.documents.retain(|text| text.digest() != honest);
        reply.documents.push(text.clone());
        assert!(accept(&mut state, &reply).is_empty());
        let waiting = waits(&state, NOW);
        assert!(matches!(waiting, Waiting::Lacks { .. }), "{waiting}");
        assert!(state.documents().all(|text| text.digest() != digest));
        // A tree with the forged leaf has another root.
        let leaves = commit.groups.leaves();
        let leaves = leaves.map(|(name, found)| {
            let is_rollout = *name == LeafName::Rollout(ROLLOUT);
            (name.clone(), if is_rollout { digest } else { found })
        });
        let reply = StateReply {
            of: Some(commit.id),
            groups: Some(PartialTree::from_leaves(leaves)),
            documents: vec![text],
            ..StateReply::default()
        };
        let refused = accept(&mut state, &reply);
        assert!(matches!(refused[..], [Refusal::OtherState { .. }]));
        assert!(begin(&state, WIPE, NOW).is_err());
    }
}

#[test]
fn a_calendar_for_another_assignment_does_not_count() {
    let open = || rollout([Some(NOW.0); 3]);
    let mut other_package = open();
    other_package.package = manifest(OTHER).id;
    let mut other_manifest = open();
    other_manifest.manifest = Sha256Digest::of(b"other");
    let mut other_group = open();
    other_group.groups = named(&["pilot"]);
    for document in [other_package, other_manifest, other_group] {
        let (state, _) = holding(with_rollout(&["lab", "pilot"], document));
        let waiting = waits(&state, NOW);
        assert!(matches!(waiting, Waiting::OtherRollout { .. }), "{waiting}");
        assert_eq!(waiting.word(), WaitWord::NoRollout);
    }
    // An entry of the device itself belongs to no rollout.
    let own = [in_rollout(NOW.0 + 1)];
    let content = with_rollout(&["lab"], open()).with_own(&own);
    let content = content.with_group("lab", &[entry(OTHER, NOW.0)]);
    let (state, _) = holding(content);
    assert!(begin(&state, WIPE, NOW).is_err());
}

#[test]
fn a_device_outside_the_pilot_cannot_be_put_into_it() {
    let pilot_only = || rollout([Some(NOW.0), None, None]);
    let outside = Draft::first(with_rollout(&["lab"], pilot_only())).sign();
    let inside = Draft::after(&outside, with_rollout(&["lab", "pilot"], pilot_only())).sign();
    let mut state = followed();
    // The document of a later commit, in which the device is in the pilot group.
    let mut reply = outside.reply_to(&state, &device(1));
    reply.documents.extend(inside.documents.values().cloned());
    assert!(accept(&mut state, &reply).is_empty());
    let waiting = waits(&state, NOW);
    assert!(matches!(waiting, Waiting::WaveClosed { .. }), "{waiting}");
    // A membership of an earlier group of the same name.
    let mut again = inside.draft.content.clone();
    again.groups.get_mut(&group("pilot")).unwrap().created = NOW.0;
    let (state, _) = holding(again);
    let waiting = waits(&state, NOW);
    assert!(matches!(waiting, Waiting::WaveClosed { .. }), "{waiting}");
    // A device that has left the pilot group is in the wave of its slot.
    let (mut state, inside) = holding(inside.draft.content);
    assert!(begin(&state, WIPE, NOW).is_ok());
    let left = Draft::after(&inside, with_rollout(&["lab"], pilot_only())).sign();
    deliver(&mut state, &left);
    assert!(begin(&state, WIPE, NOW).is_err());
    let refusal = check_refused(&mut state, &inside, WIPE);
    assert!(matches!(refusal, Refusal::NotLater { .. }), "{refusal}");
}

#[test]
fn an_entry_without_a_readable_calendar_waits_alone() {
    let mut content = with_rollout(&["lab"], rollout([Some(NOW.0); 3]));
    content.rollouts.clear();
    let (mut state, commit) = holding(content);
    let part = commit.groups.prove([&LeafName::Rollout(ROLLOUT)]).unwrap();
    let reply = StateReply {
        of: Some(commit.id),
        groups: Some(part),
        ..StateReply::default()
    };
    assert!(accept(&mut state, &reply).is_empty());
    let waiting = waits(&state, NOW);
    assert!(matches!(waiting, Waiting::NoRollout { .. }), "{waiting}");
    assert!(state.completeness(&BTreeSet::new()).is_complete());
    // A document of a later version.
    let open = || with_rollout(&["lab"], rollout([Some(NOW.0); 3]));
    let text = DocumentText::new(r#"{"schema":3}"#.to_owned()).unwrap();
    let later = Draft::first(open()).sign_with(LeafName::Rollout(ROLLOUT), text);
    let mut state = followed();
    deliver(&mut state, &later);
    let waiting = waits(&state, NOW);
    assert!(
        matches!(waiting, Waiting::UnreadableRollout { .. }),
        "{waiting}"
    );
    // A withheld document: the device asks for it.
    let commit = Draft::first(open()).sign();
    let names = ["lab", "all"].map(|name| LeafName::Group(group(name)));
    let mut state = followed();
    let mut reply = commit.reply_to(&state, &device(1));
    reply.groups = Some(commit.groups.prove(&names).unwrap());
    assert!(accept(&mut state, &reply).is_empty());
    let waiting = waits(&state, NOW);
    assert!(matches!(waiting, Waiting::Lacks { .. }), "{waiting}");
    let asked = state.summary(&BTreeSet::new()).lacks;
    assert_eq!(asked, [LeafName::Rollout(ROLLOUT)].into());
    let part = commit.groups.prove([&LeafName::Rollout(ROLLOUT)]).unwrap();
    let reply = StateReply {
        of: Some(commit.id),
        groups: Some(part),
        documents: commit.documents.values().cloned().collect(),
        ..StateReply::default()
    };
    assert!(accept(&mut state, &reply).is_empty());
    assert!(begin(&state, WIPE, NOW).is_ok());
}

#[test]
fn a_plain_entry_is_acted_on_at_once_and_a_finished_rollout_repeats_nothing() {
    let closed = with_rollout(&["lab"], rollout([None; 3]));
    let plain = closed.clone().with_group("all", &[entry(WIPE, NOW.0 + 1)]);
    let (mut state, both) = holding(plain);
    let used = begin(&state, WIPE, NOW).unwrap().mandates;
    assert_eq!(used.len(), 2);
    // The rollout is finished: its entry loses the term, and keeps its number.
    let mut finished = closed.with_group("lab", &[entry(WIPE, NOW.0), entry(OTHER, NOW.0)]);
    finished.rollouts.clear();
    let finished = Draft::after(&both, finished).sign();
    deliver(&mut state, &finished);
    let waiting = begin_after(&state, WIPE, &used, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::Used), "{waiting}");
    assert!(begin(&state, WIPE, NOW).is_ok());
}

#[test]
fn a_device_with_too_many_rollouts_acts_on_its_other_packages() {
    let mut content = content().with_member(&["lab"]);
    let mut entries = vec![entry(OTHER, NOW.0)];
    for n in 0..200_u8 {
        let id = RolloutId::from_bytes([n; 16]);
        let number = 10 + u32::from(n);
        let mut document = rollout([Some(NOW.0); 3]);
        let announced = manifest(number);
        (document.package, document.manifest) = (announced.id, announced.manifest);
        content.rollouts.insert(id, document);
        let plain = entry(number, NOW.0);
        let terms = plain.terms.with_rollout(id).unwrap();
        entries.push(StateEntry { terms, ..plain });
    }
    let (state, _) = holding(content.with_group("lab", &entries));
    assert!(begin(&state, OTHER, NOW).is_ok());
    assert!(begin(&state, 10, NOW).is_ok());
    let waiting = begin(&state, 209, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::Lacks { .. }), "{waiting}");
    assert!(state.completeness(&BTreeSet::new()).is_complete());
}
