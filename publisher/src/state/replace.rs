//! Replacement of a key that has leaked, with the records that follow from it.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{Commit, CommitId, TrustedRoots};

use super::changed::complete_after_change;
use super::changer::StateChanger;
use super::complete::Scope;
use super::key_list::{KeyChange, ListChange, StateKey};
use super::reader::TargetState;
use super::removal::Removal;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::Target;

const COMMAND: &str = "packcast keys replace --compromised";

/// The replacement of a key that has leaked.
pub(crate) struct Replacement<'a> {
    pub(crate) lost: &'a PublicKey,
    /// The root key that signs the key list.
    pub(crate) root: StateKey<'a>,
    /// The key that signs the commit. It takes the place of the lost key, unless it is the root
    /// key.
    pub(crate) publisher: StateKey<'a>,
    /// The commit whose state stays.
    pub(crate) good: &'a Commit,
}

/// The result of a replacement.
pub(crate) struct ReplacedKey {
    /// The commit that has taken the place of the head.
    pub(crate) commit: CommitId,
    /// The target and its present root keys.
    pub(crate) trust: TrustedRoots,
}

/// Replaces a key that has leaked, and completes the records. The same call completes an
/// interrupted replacement.
///
/// A new root key signs a list of its own, as after a rotation, for devices with the new trust
/// line.
pub(crate) async fn replace(
    target: &Target,
    replacement: &Replacement<'_>,
    progress: &Progress,
) -> Result<ReplacedKey, Failure> {
    let publisher = replacement.publisher;
    let mut changer = StateChanger::open(target, publisher.public, publisher.sign, false).await?;
    let removal = Removal {
        lost: replacement.lost,
        root: replacement.root,
        good: replacement.good,
    };
    let head = changer.remove_key(&removal, COMMAND).await?;
    complete_after_change(target, Scope::Changed, progress).await?;
    let trust = target.trust()?;
    let chain = TargetState::read(&target.records, &trust).await?.chain;
    let is_new_root = chain.roots().contains(publisher.public)
        && chain
            .newest()
            .is_some_and(|list| list.signer() == replacement.lost);
    if is_new_root {
        let confirm = ListChange {
            root: publisher,
            keys: KeyChange::Confirm,
        };
        changer.change_list(&confirm, COMMAND).await?;
    }
    let roots = chain.roots().to_vec();
    Ok(ReplacedKey {
        commit: head.commit.id,
        trust: TrustedRoots::new(trust.target(), roots).map_err(Failure::failed)?,
    })
}
