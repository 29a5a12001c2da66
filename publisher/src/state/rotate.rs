//! Changes of the keys of a target: the key list, and a commit that belongs to it.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{PublisherKey, TrustedRoots};
use packcast_rollout::state::StateChange;
use packcast_store::records::Sign;

use super::changer::StateChanger;
use super::key_list::{KeyChange, ListChange};
use super::reader::TargetState;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::Target;

/// A key, and the function that signs states with it.
#[derive(Clone, Copy)]
pub(crate) struct StateKey<'a> {
    pub(crate) public: &'a PublicKey,
    pub(crate) sign: &'a Sign,
}

/// Replaces a root key, which is a publisher key, too, by a new key. Returns a trust line with the
/// present root keys, for new devices.
///
/// Two commits have a list each. The old key signs the first list, for devices whose trust line has
/// the old key; the new key signs the second, for devices with the new trust line. The key lists on
/// record tell how far an interrupted rotation came, so the same call completes it.
///
/// The memory of this machine keeps its trust line, as the function does: from the new line on, the
/// chain of key lists would leave out the list that leads devices from the old key to the new one.
pub(crate) async fn rotate(
    target: &Target,
    old: StateKey<'_>,
    new: StateKey<'_>,
) -> Result<TrustedRoots, Failure> {
    const COMMAND: &str = "packcast keys rotate";
    let trust = target.trust()?;
    let state = TargetState::read(&target.records, &trust).await?;
    let named = PublisherKey::unrestricted(new.public.clone());
    let newest = state.chain.newest();
    if !newest.is_some_and(|list| list.publishers().contains(&named)) {
        // The old key completes its unfinished commit, or signs the first key list.
        let renew = [StateChange::Renew];
        let first = if state.head.is_none() {
            &renew[..]
        } else {
            &[]
        };
        let mut by_old = StateChanger::open(target, old.public, old.sign, false).await?;
        let changed = by_old.change(first, COMMAND).await?;
        changed.complete(&Progress::none()).await?;
        let keys = KeyChange::Rotate {
            old: old.public,
            new: new.public,
        };
        change_list(target, old, new, keys, COMMAND).await?;
    }
    if !newest.is_some_and(|list| list.signer() == new.public) {
        change_list(target, new, new, KeyChange::Confirm, COMMAND).await?;
    }
    let state = TargetState::read(&target.records, &trust).await?;
    let roots = state.chain.roots().to_vec();
    TrustedRoots::new(trust.target(), roots).map_err(Failure::failed)
}

/// Lets another publisher sign commits, unless the newest list names its key already.
pub(crate) async fn add_publisher(
    target: &Target,
    own: StateKey<'_>,
    publisher: &PublicKey,
) -> Result<(), Failure> {
    const COMMAND: &str = "packcast keys trust";
    let state = TargetState::read(&target.records, &target.trust()?).await?;
    if state.chain.signing().contains(publisher) {
        return Ok(());
    }
    if state.head.is_none() {
        let mut first = StateChanger::open(target, own.public, own.sign, false).await?;
        let changed = first.change(&[StateChange::Renew], COMMAND).await?;
        changed.complete(&Progress::none()).await?;
    }
    change_list(target, own, own, KeyChange::Add(publisher), COMMAND).await
}

/// Lets a publisher sign no further commits. Without effect if the newest list does not name the
/// key, or names it as retired.
pub(crate) async fn retire_publisher(
    target: &Target,
    own: StateKey<'_>,
    publisher: &PublicKey,
) -> Result<(), Failure> {
    let state = TargetState::read(&target.records, &target.trust()?).await?;
    if !state.chain.signing().contains(publisher) {
        return Ok(());
    }
    let keys = KeyChange::Retire(publisher);
    change_list(target, own, own, keys, "packcast keys revoke").await
}

/// Stores a key list that `root` signs, with a commit by `publisher`.
async fn change_list(
    target: &Target,
    root: StateKey<'_>,
    publisher: StateKey<'_>,
    keys: KeyChange<'_>,
    command: &str,
) -> Result<(), Failure> {
    let change = ListChange {
        root: root.public,
        sign: root.sign,
        keys,
    };
    let mut changer = StateChanger::open(target, publisher.public, publisher.sign, false).await?;
    changer.change_list(&change, command).await
}
