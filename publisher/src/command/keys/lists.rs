//! The lists of trusted keys of a target, and how one is added.

use packcast_protocol::keys::{KeyList, SignedKeyList};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Document as _, Signed};
use packcast_rollout::keys::{KeyChangeError, KeyLists};
use packcast_store::records::NumberedKeyList;

use crate::failure::{Failure, Kind};
use crate::keys::SigningKey;
use crate::known::Memory;
use crate::output;
use crate::target::Target;

/// What every signature over a list of keys says of itself.
const COMMENT: &str = "packcast keys";

/// The lists as they are on record, and as they read for the key that signs.
pub(super) struct Published {
    recorded: Vec<NumberedKeyList>,
    pub(super) lists: KeyLists,
}

/// Lists that were published are gone from the records.
#[derive(Debug, thiserror::Error)]
#[error(
    "the newest list of trusted keys on record is number {newest}, and number {known} was published from here: somebody, or a table that was restored, has put the earlier one back"
)]
struct RolledBack {
    newest: u64,
    known: u64,
}

/// Returns the keys that agents trust; none if another key has signed the newest list.
pub(super) async fn trusted(target: &Target, own: &PublicKey) -> Result<Vec<PublicKey>, Failure> {
    let recorded = target.records.key_lists().await?;
    let lists = read(own, &recorded);
    Ok(lists.map_or_else(|_| Vec::new(), |lists| lists.keys().to_vec()))
}

fn read(own: &PublicKey, recorded: &[NumberedKeyList]) -> Result<KeyLists, KeyChangeError> {
    let newest = recorded.last().map_or(0, |newest| newest.serial);
    let signed: Vec<SignedKeyList> = recorded.iter().map(|list| list.signed.clone()).collect();
    KeyLists::read(own, &signed, newest)
}

impl Published {
    /// Reads the lists, which nothing is added to if later ones are known here.
    pub(super) async fn read(target: &Target, own: &PublicKey) -> Result<Self, Failure> {
        let recorded = target.records.key_lists().await?;
        let lists = read(own, &recorded).map_err(failure)?;
        let known = Memory::load(&target.memory_file)?.keys();
        let newest = lists.serial();
        if newest < known {
            return Err(Failure::conflict(RolledBack { newest, known }).hint(
                "only the key that signed the list could make it again: go on as if the key were lost, as docs/operate.md says",
            ));
        }
        Ok(Self { recorded, lists })
    }

    /// Publishes lists that follow.
    pub(super) async fn add(
        &self,
        target: &Target,
        added: &[NumberedKeyList],
    ) -> Result<(), Failure> {
        if target.records.add_key_lists(&self.recorded, added).await? {
            let newest = added.last().map_or(0, |newest| newest.serial);
            Memory::load(&target.memory_file)?.follow_keys(newest);
            return Ok(());
        }
        let why = "another list of keys was published meanwhile";
        Err(Failure::new(Kind::TryLater, why).hint("run the same command again"))
    }
}

/// Says that the first list takes the place of what agents are configured with.
pub(super) fn warn_of_the_first(before: &KeyLists) {
    if before.serial() == 0 {
        output::note(
            "from now on agents trust the keys of this list alone: if their configurations name another publisher's too, 'packcast keys trust' adds it",
        );
    }
}

/// Signs a list.
pub(super) fn signed(list: &KeyList, key: &SigningKey) -> Result<NumberedKeyList, Failure> {
    let document = list.to_document();
    let signature = key
        .sign(document.as_bytes(), COMMENT)
        .map_err(super::failure)?;
    Ok(NumberedKeyList {
        serial: list.serial(),
        signed: Signed::new(document, signature).map_err(Failure::failed)?,
    })
}

/// Says what to do about keys that cannot be changed so.
pub(super) fn failure(error: KeyChangeError) -> Failure {
    let hint = match &error {
        KeyChangeError::NotOurs => {
            "name the key that has signed it with --key; 'packcast keys show' shows yours"
        }
        KeyChangeError::Signing { .. } => {
            "'packcast keys rotate' lets a new one sign; revoke this one after that"
        }
        KeyChangeError::NotTrusted { .. } | KeyChangeError::Trusted { .. } => {
            "'packcast keys list' shows those that are trusted"
        }
        KeyChangeError::TooMany { .. } => {
            "give every agent the key that signs now, in trusted_keys of its configuration, and set up a new target"
        }
        KeyChangeError::List(_) => {
            "'packcast keys revoke' takes one away that is not used any more"
        }
    };
    Failure::conflict(error).hint(hint)
}
