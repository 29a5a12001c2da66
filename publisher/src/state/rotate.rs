//! Changes of the keys of a target: the key list, and a commit that belongs to it.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{PublisherKey, TrustedRoots};

use super::changer::StateChanger;
use super::error::StateError;
use super::key_list::{KeyChange, ListChange, StateKey};
use super::reader::TargetState;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::Target;

/// Replaces a publisher key by a new key. Returns a trust line with the present root keys, for new
/// devices. `root` signs the key list: the old key itself, or the offline root key.
///
/// If the old key is a root key, two commits have a list each. The old key signs the first list, for
/// devices whose trust line has the old key; the new key signs the second, for devices with the new
/// trust line. The key lists on record tell how far an interrupted rotation came, so the same call
/// completes it.
///
/// The memory of this machine keeps its trust line, as the function does: from the new line on, the
/// chain of key lists would leave out the list that leads devices from the old key to the new one.
pub(crate) async fn rotate(
    target: &Target,
    root: StateKey<'_>,
    old: StateKey<'_>,
    new: StateKey<'_>,
) -> Result<TrustedRoots, Failure> {
    const COMMAND: &str = "packcast keys rotate";
    let trust = target.trust()?;
    let state = TargetState::read(&target.records, &trust).await?;
    let named = PublisherKey::unrestricted(new.public.clone());
    let newest = state.chain.newest();
    if !newest.is_some_and(|list| list.publishers().contains(&named)) {
        if state.head.is_none() {
            change_list(target, root, old, KeyChange::Renew, COMMAND).await?;
        } else {
            // The old key completes its unfinished commit.
            let mut by_old = StateChanger::open(target, old.public, old.sign, false).await?;
            let changed = by_old.change(&[], COMMAND).await?;
            changed.complete(&Progress::none()).await?;
        }
        let keys = KeyChange::Rotate {
            old: old.public,
            new: new.public,
        };
        change_list(target, root, new, keys, COMMAND).await?;
    }
    let state = TargetState::read(&target.records, &trust).await?;
    let newest = state.chain.newest().ok_or(StateError::NoKeyList)?;
    if state.chain.roots().contains(new.public) && newest.signer() != new.public {
        change_list(target, new, new, KeyChange::Confirm, COMMAND).await?;
    }
    let roots = state.chain.roots().to_vec();
    TrustedRoots::new(trust.target(), roots).map_err(Failure::failed)
}

/// Lets another publisher sign commits, unless the newest list names its key already.
pub(crate) async fn add_publisher(
    target: &Target,
    root: StateKey<'_>,
    own: StateKey<'_>,
    publisher: &PublicKey,
) -> Result<(), Failure> {
    const COMMAND: &str = "packcast keys trust";
    let state = TargetState::read(&target.records, &target.trust()?).await?;
    if state.chain.signing().contains(publisher) {
        return Ok(());
    }
    if state.head.is_none() {
        change_list(target, root, own, KeyChange::Renew, COMMAND).await?;
    }
    change_list(target, root, own, KeyChange::Add(publisher), COMMAND).await
}

/// Lets a publisher sign no further commits. Without effect if the newest list does not name the
/// key, or names it as retired.
pub(crate) async fn retire_publisher(
    target: &Target,
    root: StateKey<'_>,
    own: StateKey<'_>,
    publisher: &PublicKey,
) -> Result<(), Failure> {
    let state = TargetState::read(&target.records, &target.trust()?).await?;
    if !state.chain.signing().contains(publisher) {
        return Ok(());
    }
    let keys = KeyChange::Retire(publisher);
    change_list(target, root, own, keys, "packcast keys revoke").await
}

/// Stores a key list that `root` signs, with a commit by `publisher`.
async fn change_list(
    target: &Target,
    root: StateKey<'_>,
    publisher: StateKey<'_>,
    keys: KeyChange<'_>,
    command: &str,
) -> Result<(), Failure> {
    let change = ListChange { root, keys };
    let mut changer = StateChanger::open(target, publisher.public, publisher.sign, false).await?;
    changer.change_list(&change, command).await
}
