//! A device follows commits in one direction, whatever an old memory signs.

use std::collections::BTreeSet;

use packcast_protocol::UnixTime;
use packcast_protocol::state::{Refusal, StateReply, VerifiedCommit, VerifiedState, Waiting};

use super::{OTHER, WIPE, check_refused, content, deliver, follow, followed, offer};
use crate::held::world::{
    DAY, Draft, ListDraft, NOW, accept, begin, device, entry, loaded, new_device, trusted_roots,
};

#[test]
fn m1_a_publisher_with_an_old_memory_brings_nothing_back() {
    let assigned = content().with_group("all", &[entry(WIPE, NOW.0)]);
    let assigned = Draft::first(assigned).sign();
    let withdrawn = Draft::after(&assigned, content()).sign();
    let mut state = followed();
    deliver(&mut state, &assigned);
    assert!(begin(&state, WIPE, NOW).is_ok());
    deliver(&mut state, &withdrawn);
    // The other machine is shown the first commit, and assigns another package.
    let entries = [entry(WIPE, NOW.0), entry(OTHER, NOW.0 + 600)];
    let again = Draft {
        signer: 2,
        number: NOW.0 + 600,
        ..Draft::after(&assigned, content().with_group("all", &entries))
    };
    let refusal = check_refused(&mut state, &again.sign(), WIPE);
    assert!(matches!(refusal, Refusal::LeavesOut { .. }), "{refusal}");
}

#[test]
fn equal_numbers_are_a_fork() {
    let first = Draft::first(content()).sign();
    let left = Draft::after(
        &first,
        content().with_group("all", &[entry(OTHER, NOW.0 + 60)]),
    );
    let right = Draft::after(
        &first,
        content().with_group("all", &[entry(WIPE, NOW.0 + 60)]),
    );
    let mut state = followed();
    deliver(&mut state, &left.sign());
    let right = right.sign();
    let refusal = check_refused(&mut state, &right, WIPE);
    assert!(matches!(refusal, Refusal::Fork { .. }), "{refusal}");
    // A commit that both publishers agree on contains both.
    let mut both = Draft::after(&right, content());
    both.ancestors
        .extend(state.commit().map(VerifiedCommit::id));
    deliver(&mut state, &both.sign());
}

#[test]
fn a_commit_that_leaves_out_the_held_one_needs_adoption() {
    let first = Draft::first(content()).sign();
    // A signed commit that the table lost, and the commit of another machine.
    let dangling = Draft::after(
        &first,
        content().with_group("all", &[entry(OTHER, NOW.0 + 60)]),
    );
    let dangling = dangling.sign();
    let mut next = Draft::after(&first, content());
    next.number += 60;
    next.issued = next.issued.plus(60);
    let next = next.sign();
    let mut state = followed();
    deliver(&mut state, &dangling);
    let refusal = check_refused(&mut state, &next, WIPE);
    let expected = dangling.id;
    assert!(matches!(refusal, Refusal::LeavesOut { held, .. } if held == expected));
    // A reply without the path is not a commit without the ancestor.
    let reply = StateReply {
        ancestors: None,
        ..next.reply_to(&state, &device(1))
    };
    let refused = accept(&mut state, &reply);
    assert!(matches!(refused[..], [Refusal::NotShown { .. }]));
    let mut adopting = Draft::after(&next, content());
    adopting.ancestors.insert(dangling.id);
    deliver(&mut state, &adopting.sign());
}

#[test]
fn an_expired_commit_needs_no_successor_that_contains_it() {
    let first = Draft::first(content().with_group("all", &[entry(OTHER, NOW.0)])).sign();
    let mut state = followed();
    deliver(&mut state, &first);
    let later = NOW.plus(95 * DAY);
    let next = Draft {
        number: later.0,
        issued: later,
        ancestors: BTreeSet::new(),
        ..Draft::after(&first, content().with_group("all", &[entry(WIPE, later.0)]))
    };
    let next = next.sign();
    let before_expiry = NOW.plus(89 * DAY);
    assert!(begin(&state, OTHER, before_expiry).is_ok());
    let waiting = begin(&state, OTHER, later).unwrap_err();
    assert!(
        matches!(waiting, Waiting::CommitExpired { .. }),
        "{waiting}"
    );
    // The clock of the device stands still, so only the new commit shows that time has passed.
    let refused = offer(&mut state, &next);
    assert!(refused.is_empty(), "{refused:?}");
    assert!(begin(&state, WIPE, UnixTime(0)).is_ok());
}

#[test]
fn a_commit_that_is_valid_for_a_day_does_not_end_the_memory_of_the_one_before() {
    let assigned = content().with_group("all", &[entry(WIPE, NOW.0)]);
    let assigned = Draft::first(assigned).sign();
    let withdrawn = Draft::after(&assigned, content()).sign();
    let short = Draft {
        days: 1,
        ..Draft::after(&withdrawn, content())
    };
    let mut state = followed();
    deliver(&mut state, &withdrawn);
    deliver(&mut state, &short.sign());
    let later = NOW.plus(2 * DAY);
    let old_memory = Draft {
        signer: 2,
        number: later.0,
        issued: later,
        ..Draft::after(&assigned, assigned.draft.content.clone())
    };
    let refused = offer(&mut state, &old_memory.sign());
    assert!(matches!(refused[..], [Refusal::LeavesOut { .. }]));
    assert!(begin(&state, WIPE, later).is_err());
}

#[test]
fn lost_state_with_a_clock_of_1970_accepts_nothing_from_before_the_last_action() {
    let assigned = Draft::first(content().with_group("all", &[entry(WIPE, NOW.0)])).sign();
    let acted = content().with_group("all", &[entry(OTHER, NOW.0 + 60)]);
    let acted = Draft::after(&assigned, acted).sign();
    let mut state = followed();
    deliver(&mut state, &acted);
    let begun = begin(&state, OTHER, NOW).unwrap();
    let mut lost = new_device(&device(1), [begun.under]);
    follow(&mut lost, &[ListDraft::default().sign()]);
    let epoch = UnixTime(0);
    assert!(matches!(
        offer(&mut lost, &assigned)[..],
        [Refusal::NotLater { .. }]
    ));
    assert!(begin(&lost, WIPE, epoch).is_err());
    // The same commit as before is accepted, and each commit that contains it.
    assert!(offer(&mut lost.clone(), &acted).is_empty());
    let next = Draft::after(&acted, content()).sign();
    assert!(offer(&mut lost, &next).is_empty());
    // An old file of the state does not count either.
    let mut old = followed();
    deliver(&mut old, &assigned);
    let witness = begin(&state, OTHER, NOW).unwrap().under;
    let (restored, discarded) = loaded(&old, new_device(&device(1), [witness]));
    assert!(matches!(discarded[..], [Refusal::NotLater { .. }]));
    assert!(begin(&restored, WIPE, epoch).is_err());
}

#[test]
fn a_clock_of_1970_does_not_extend_a_commit_beyond_a_later_list() {
    let commit = Draft {
        days: 1,
        ..Draft::first(content().with_group("all", &[entry(OTHER, NOW.0)]))
    };
    let epoch = UnixTime(0);
    let mut state = followed();
    deliver(&mut state, &commit.sign());
    assert!(begin(&state, OTHER, epoch).is_ok());
    let list = ListDraft {
        serial: 2,
        issued: NOW.plus(DAY),
        ..ListDraft::default()
    };
    follow(&mut state, &[list.sign()]);
    let waiting = begin(&state, OTHER, epoch).unwrap_err();
    assert!(
        matches!(waiting, Waiting::CommitExpired { .. }),
        "{waiting}"
    );
}

#[test]
fn a_stored_state_is_verified_again() {
    let content = content()
        .with_member(&["lab"])
        .with_group("lab", &[entry(WIPE, NOW.0)]);
    let commit = Draft::first(content).sign();
    let mut state = followed();
    deliver(&mut state, &commit);
    let text = serde_json::to_string(&state.stored()).unwrap();
    let (same, discarded) = loaded(&state, new_device(&device(1), []));
    assert!(discarded.is_empty(), "{discarded:?}");
    assert_eq!(same, state);
    // With other root keys, the lists and the commit do not count. The numbers stay.
    let other = VerifiedState::new(device(1), trusted_roots(&[3]), NOW, []);
    let (other, discarded) = loaded(&state, other);
    assert_eq!(discarded.len(), 2);
    assert!(begin(&other, WIPE, NOW).is_err());
    let (again, _) = loaded(&other, new_device(&device(1), []));
    let mut again = again;
    follow(&mut again, &[ListDraft::default().sign()]);
    let earlier = Draft {
        number: NOW.0 - 60,
        issued: UnixTime(NOW.0 - 60),
        ..Draft::first(commit.draft.content.clone())
    };
    let refusal = check_refused(&mut again, &earlier.sign(), WIPE);
    assert!(matches!(refusal, Refusal::NotLater { .. }), "{refusal}");
    // Each flipped bit leaves an unreadable file, the same state, or a state that is not whole.
    let bytes = text.into_bytes();
    for at in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 7);
        let Ok(stored) = serde_json::from_slice(&changed) else {
            continue;
        };
        let mut loaded = new_device(&device(1), []);
        let _ = loaded.load(stored, state.documents().cloned());
        if let Ok(begun) = begin(&loaded, WIPE, NOW) {
            let same = begin(&state, WIPE, NOW).unwrap();
            assert_eq!(begun.mandates, same.mandates, "byte {at}");
            assert_eq!(
                begun.under.highest.commit, same.under.highest.commit,
                "byte {at}"
            );
        }
    }
}
