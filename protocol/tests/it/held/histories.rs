//! The histories of hostile tables that once broke the promise, each by its id.

mod keys;
mod mandates;
mod order;
mod rollouts;
mod whole_state;

use std::collections::BTreeSet;

use packcast_protocol::DeviceId;
use packcast_protocol::state::{
    LeafName, Refusal, SignedKeyList, StateReply, VerifiedCommit, VerifiedState,
};

use super::world::{Content, ListDraft, NOW, TestCommit, accept, begin, device, group, new_device};

pub(super) const WIPE: u32 = 1;

pub(super) const OTHER: u32 = 2;

/// Returns device 1 after it has followed key list 1, which names keys 1 and 2.
pub(super) fn followed() -> VerifiedState {
    let mut state = new_device(&device(1), []);
    follow(&mut state, &[ListDraft::default().sign()]);
    state
}

/// Delivers lists, which the device follows. A removed key is no error.
pub(super) fn follow(state: &mut VerifiedState, lists: &[SignedKeyList]) {
    let reply = StateReply {
        lists: lists.to_vec(),
        ..StateReply::default()
    };
    for refusal in accept(state, &reply) {
        let is_discarded = matches!(
            refusal,
            Refusal::KeyRemoved { .. } | Refusal::Discarded { .. }
        );
        assert!(is_discarded, "{refusal}");
    }
}

/// Delivers a whole state, which the device accepts.
pub(super) fn deliver(state: &mut VerifiedState, commit: &TestCommit) {
    let refused = offer(state, commit);
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(state.commit().map(VerifiedCommit::id), Some(commit.id));
}

/// Offers a whole state, and returns the refusals.
pub(super) fn offer(state: &mut VerifiedState, commit: &TestCommit) -> Vec<Refusal> {
    let reply = commit.reply_to(state, &device(1));
    accept(state, &reply)
}

/// Checks that a device refuses a commit, keeps its own state, and still waits with a package.
pub(super) fn check_refused(
    state: &mut VerifiedState,
    commit: &TestCommit,
    package: u32,
) -> Refusal {
    let before = state.stored();
    let mut refused = offer(state, commit);
    assert_eq!(state.stored(), before);
    assert!(begin(state, package, NOW).is_err());
    assert_eq!(refused.len(), 1, "{refused:?}");
    let reported = state.summary(&BTreeSet::new()).refused;
    assert_eq!(reported.and_then(|refused| refused.commit), Some(commit.id));
    refused.remove(0)
}

/// Returns content with the groups `all` and `lab`, and other leaves that a proof hides.
pub(super) fn content() -> Content {
    let mut content = Content::default()
        .with_group("all", &[])
        .with_group("lab", &[]);
    for number in 0..20 {
        content = content.with_group(&format!("other-{number}"), &[]);
        content.devices.entry(device(100 + number)).or_default();
    }
    content
}

pub(super) fn own_name() -> LeafName {
    LeafName::Device(DeviceId::Agent(device(1)))
}

pub(super) fn lab_name() -> LeafName {
    LeafName::Group(group("lab"))
}
