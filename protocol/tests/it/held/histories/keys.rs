//! Key lists, leaked keys and keys of other targets.

use std::collections::BTreeSet;

use packcast_protocol::state::{
    LeafName, Refusal, StateReply, VerifiedCommit, VerifiedState, Waiting,
};

use super::{OTHER, WIPE, check_refused, content, deliver, follow, followed, offer};
use crate::held::world::{
    DAY, Draft, ListDraft, NOW, OTHER_TARGET, accept, begin, device, entry, loaded, new_device,
    trusted_roots,
};

#[test]
fn h4_a_publisher_cannot_change_the_key_list() {
    let mut state = followed();
    let takeover = ListDraft {
        serial: 2,
        publishers: &[2],
        signer: 2,
        ..ListDraft::default()
    };
    let reply = StateReply {
        lists: vec![takeover.sign()],
        ..StateReply::default()
    };
    let before = state.stored();
    let refused = accept(&mut state, &reply);
    assert!(matches!(refused[..], [Refusal::KeyList(_)]));
    assert_eq!(state.stored(), before);
    deliver(&mut state, &Draft::first(content()).sign());
}

#[test]
fn h4_a_root_key_of_lower_rank_cannot_exclude_a_higher_one() {
    let agent = device(1);
    let mut state = VerifiedState::new(agent, trusted_roots(&[0, 3]), NOW, []);
    let takeover = ListDraft {
        serial: 1_000,
        roots: &[3],
        publishers: &[4],
        signer: 3,
        ..ListDraft::default()
    };
    follow(&mut state, &[takeover.sign()]);
    let thief = Draft {
        signer: 4,
        keys: 1_000,
        ..Draft::first(content().with_group("all", &[entry(WIPE, NOW.0)]))
    };
    deliver(&mut state, &thief.sign());
    let list = ListDraft {
        serial: 2,
        ..ListDraft::default()
    };
    assert!(begin(&state, WIPE, NOW).is_ok());
    follow(&mut state, &[list.sign()]);
    assert!(begin(&state, WIPE, NOW).is_err());
    assert_eq!(state.chain().serial(), 2);
    // The serial number of the thief's list does not lock the device out.
    let honest = Draft {
        keys: 2,
        ..Draft::first(content())
    };
    deliver(&mut state, &honest.sign());
}

#[test]
fn m2_another_target_of_the_same_keys_does_not_count() {
    let content = content().with_group("all", &[entry(WIPE, NOW.0)]);
    let other = Draft::first(content).sign_for(OTHER_TARGET);
    let mut state = followed();
    let refusal = check_refused(&mut state, &other, WIPE);
    assert!(matches!(refusal, Refusal::Commit { .. }), "{refusal}");
    let mut state = new_device(&device(1), []);
    let reply = StateReply {
        lists: vec![ListDraft::default().sign_for(OTHER_TARGET)],
        ..StateReply::default()
    };
    assert_eq!(accept(&mut state, &reply).len(), 1);
    assert_eq!(state.chain().serial(), 0);
}

#[test]
fn poisoned_numbers_and_times_end_with_the_thief_s_key() {
    let first = Draft::first(content()).sign();
    let mut state = followed();
    deliver(&mut state, &first);
    let far = NOW.plus(90 * DAY);
    let poisoned = Draft {
        number: far.0 + DAY,
        issued: far,
        ..Draft::after(&first, content().with_group("all", &[entry(WIPE, far.0)]))
    };
    let poisoned = poisoned.sign();
    deliver(&mut state, &poisoned);
    let witness = begin(&state, WIPE, NOW).unwrap().under;
    assert_eq!(state.time(NOW), far);
    let honest = Draft {
        signer: 2,
        keys: 2,
        ..Draft::after(
            &first,
            content().with_group("all", &[entry(OTHER, NOW.0 + 60)]),
        )
    };
    let honest = honest.sign();
    let refused = offer(&mut state, &honest);
    assert!(!refused.is_empty());
    let revoked = ListDraft {
        serial: 2,
        publishers: &[2],
        ..ListDraft::default()
    };
    // A device that has lost its state, and has acted under the thief's commit, is not lost.
    let mut lost = new_device(&device(1), [witness]);
    for state in [&mut state, &mut lost] {
        follow(state, &[revoked.sign()]);
        assert_eq!(state.time(NOW), NOW);
        assert!(begin(state, WIPE, NOW).is_err());
        assert!(!offer(state, &poisoned).is_empty());
        deliver(state, &honest);
        assert!(begin(state, OTHER, NOW).is_ok());
    }
    // The numbers do not count again if a later list names the key again.
    let named_again = ListDraft {
        serial: 3,
        ..ListDraft::default()
    };
    follow(&mut state, &[named_again.sign()]);
    let next = Draft {
        signer: 1,
        keys: 3,
        ..Draft::after(&honest, content())
    };
    deliver(&mut state, &next.sign());
}

#[test]
fn a_list_without_its_commit_brings_no_replaced_commit_back() {
    // Key 2 assigns a package, key 1 withdraws it. Then key 1 is replaced by key 3.
    let first = Draft::first(content()).sign();
    let assigned = Draft {
        signer: 2,
        ..Draft::after(
            &first,
            content().with_group("all", &[entry(WIPE, NOW.0 + 60)]),
        )
    };
    let assigned = assigned.sign();
    let withdrawn = Draft {
        signer: 1,
        ..Draft::after(&assigned, content())
    };
    let withdrawn = withdrawn.sign();
    let next = Draft {
        signer: 3,
        keys: 2,
        ..Draft::after(&withdrawn, content())
    };
    let next = next.sign();
    let rotated = ListDraft {
        serial: 2,
        from: next.id.number,
        publishers: &[2, 3],
        ..ListDraft::default()
    };
    let mut state = followed();
    deliver(&mut state, &withdrawn);
    follow(&mut state, &[rotated.sign()]);
    let mut state = restarted(&state);
    let waiting = begin(&state, WIPE, NOW).unwrap_err();
    assert!(
        matches!(waiting, Waiting::NoCommit { list: 2 }),
        "{waiting}"
    );
    let refusal = check_refused(&mut state, &assigned, WIPE);
    assert!(matches!(refusal, Refusal::BeforeList { .. }), "{refusal}");
    deliver(&mut state, &next);
}

#[test]
fn a_removed_key_leaves_the_highest_commit_of_the_others() {
    let first = Draft {
        signer: 2,
        ..Draft::first(content())
    };
    let first = first.sign();
    let stolen = Draft {
        signer: 1,
        ..Draft::after(
            &first,
            content().with_group("all", &[entry(WIPE, NOW.0 + 60)]),
        )
    };
    let mut state = followed();
    deliver(&mut state, &first);
    deliver(&mut state, &stolen.sign());
    let revoked = ListDraft {
        serial: 2,
        publishers: &[2],
        ..ListDraft::default()
    };
    follow(&mut state, &[revoked.sign()]);
    let mut state = restarted(&state);
    let summary = state.summary(&BTreeSet::new());
    assert!(summary.lacks.contains(&LeafName::Commit(first.id.name())));
    let leaves_out = Draft {
        signer: 2,
        keys: 2,
        number: NOW.0 + 60,
        ..Draft::first(content())
    };
    let refusal = check_refused(&mut state, &leaves_out.sign(), WIPE);
    assert!(matches!(refusal, Refusal::LeavesOut { .. }), "{refusal}");
    let next = Draft {
        keys: 2,
        ..Draft::after(&first, content())
    };
    deliver(&mut state, &next.sign());
}

#[test]
fn a_list_discards_a_commit_that_it_does_not_accept() {
    let first = Draft {
        signer: 2,
        ..Draft::first(content().with_group("all", &[entry(WIPE, NOW.0)]))
    };
    let first = first.sign();
    let next = Draft {
        keys: 2,
        ..Draft::after(&first, content())
    };
    let next = next.sign();
    let list = ListDraft {
        serial: 2,
        from: next.id.number,
        ..ListDraft::default()
    };
    let mut state = followed();
    deliver(&mut state, &first);
    follow(&mut state, &[list.sign()]);
    assert!(begin(&state, WIPE, NOW).is_err());
    assert_eq!(state.commit(), None);
    // The key is still named, so the next commit must contain the discarded one.
    let summary = state.summary(&BTreeSet::new());
    assert!(summary.lacks.contains(&LeafName::Commit(first.id.name())));
    let leaves_out = Draft {
        keys: 2,
        number: next.id.number,
        ..Draft::first(content())
    };
    let refusal = check_refused(&mut state, &leaves_out.sign(), WIPE);
    assert!(matches!(refusal, Refusal::LeavesOut { .. }), "{refusal}");
    deliver(&mut state, &next);
}

#[test]
fn m1_a_rotation_on_an_old_head_forgets_no_withdrawal() {
    let old = Draft::first(content().with_group("all", &[entry(WIPE, NOW.0)])).sign();
    let withdrawn = Draft::after(&old, content()).sign();
    let mut state = followed();
    deliver(&mut state, &old);
    assert!(begin(&state, WIPE, NOW).is_ok());
    deliver(&mut state, &withdrawn);
    // A machine that has lost its memory is shown the old head, and rotates key 1.
    let list = ListDraft {
        serial: 2,
        publishers: &[2, 3],
        retired: &[1],
        ..ListDraft::default()
    };
    follow(&mut state, &[list.sign()]);
    assert_eq!(state.commit().map(VerifiedCommit::id), Some(withdrawn.id));
    let mut rotated = Draft {
        signer: 3,
        keys: 2,
        ..Draft::after(&old, old.draft.content.clone())
    };
    rotated.number += 60;
    let mut restarted = restarted(&state);
    for state in [&mut state, &mut restarted] {
        let refusal = check_refused(state, &rotated.clone().sign(), WIPE);
        let held = matches!(refusal, Refusal::LeavesOut { held, .. } if held == withdrawn.id);
        assert!(held, "{refusal}");
    }
    // The new key adopts the withdrawal.
    let mut adopting = Draft {
        content: content(),
        ..rotated.clone()
    };
    adopting.number += 60;
    adopting.ancestors.insert(withdrawn.id);
    deliver(&mut state, &adopting.sign());
}

#[test]
fn a_retired_key_signs_no_further_commit() {
    let first = Draft::first(content()).sign();
    let next = Draft::after(&first, content().with_group("all", &[entry(WIPE, NOW.0)]));
    let list = ListDraft {
        serial: 2,
        publishers: &[2],
        retired: &[1],
        ..ListDraft::default()
    };
    let mut state = followed();
    deliver(&mut state, &first);
    follow(&mut state, &[list.sign()]);
    let refusal = check_refused(&mut state, &next.clone().sign(), WIPE);
    assert!(matches!(refusal, Refusal::Commit { .. }), "{refusal}");
    let other = Draft { signer: 2, ..next };
    deliver(&mut state, &other.sign());
    assert!(begin(&state, WIPE, NOW).is_ok());
}

#[test]
fn lost_state_accepts_no_key_list_from_before_the_last_action() {
    // Key 1 leaks after list 1, and list 2 removes it.
    let revoked = ListDraft {
        serial: 2,
        publishers: &[2],
        ..ListDraft::default()
    };
    let honest = Draft {
        signer: 2,
        keys: 2,
        ..Draft::first(content().with_group("all", &[entry(OTHER, NOW.0)]))
    };
    let mut state = followed();
    follow(&mut state, &[revoked.sign()]);
    let honest = honest.sign();
    deliver(&mut state, &honest);
    let begun = begin(&state, OTHER, NOW).unwrap();
    let mut lost = new_device(&device(1), [begun.under]);
    follow(&mut lost, &[ListDraft::default().sign()]);
    let waiting = begin(&lost, WIPE, NOW).unwrap_err();
    assert!(
        matches!(waiting, Waiting::OldKeyList { held: 1, acted: 2 }),
        "{waiting}"
    );
    let stolen = Draft {
        number: NOW.0 + 60,
        ..Draft::first(content().with_group("all", &[entry(WIPE, NOW.0)]))
    };
    let refusal = check_refused(&mut lost, &stolen.sign(), WIPE);
    assert!(matches!(refusal, Refusal::OldKeyList { .. }), "{refusal}");
    follow(&mut lost, &[revoked.sign()]);
    deliver(&mut lost, &honest);
    assert!(begin(&lost, OTHER, NOW).is_ok());
}

/// Returns the state as the agent reads it again at its start.
fn restarted(state: &VerifiedState) -> VerifiedState {
    let (loaded, discarded) = loaded(state, new_device(&device(1), []));
    assert!(discarded.is_empty(), "{discarded:?}");
    loaded
}

#[test]
fn lists_come_before_the_commits_that_name_them() {
    let list = ListDraft {
        serial: 2,
        publishers: &[3],
        ..ListDraft::default()
    };
    let commit = Draft {
        signer: 1,
        keys: 2,
        ..Draft::first(content())
    };
    let mut state = followed();
    let refusal = check_refused(&mut state, &commit.sign(), WIPE);
    assert!(
        matches!(
            refusal,
            Refusal::ListNotHeld {
                keys: 2,
                held: 1,
                ..
            }
        ),
        "{refusal}"
    );
    let by_new_key = Draft {
        signer: 3,
        keys: 2,
        ..Draft::first(content())
    };
    let by_new_key = by_new_key.sign();
    let reply = StateReply {
        lists: vec![list.sign()],
        ..by_new_key.reply_to(&state, &device(1))
    };
    assert!(accept(&mut state, &reply).is_empty());
    assert_eq!(state.commit().map(VerifiedCommit::id), Some(by_new_key.id));
}

#[test]
fn an_expired_list_begins_nothing_and_still_leads_to_the_next_list() {
    let commit = Draft {
        issued: NOW.plus(20 * DAY),
        number: NOW.plus(20 * DAY).0,
        ..Draft::first(content().with_group("all", &[entry(OTHER, NOW.0)]))
    };
    let mut state = followed();
    deliver(&mut state, &commit.sign());
    let later = NOW.plus(100 * DAY);
    assert!(begin(&state, OTHER, NOW.plus(100 * DAY - 1)).is_ok());
    let waiting = begin(&state, OTHER, later).unwrap_err();
    assert!(
        matches!(waiting, Waiting::KeyListExpired { .. }),
        "{waiting}"
    );
    let renewed = ListDraft {
        serial: 2,
        issued: later,
        ..ListDraft::default()
    };
    follow(&mut state, &[renewed.sign()]);
    assert!(begin(&state, OTHER, later).is_ok());
}
