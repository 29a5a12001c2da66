//! The lists of trusted keys of a target, and how one is added.

use packcast_protocol::keys::{KeyList, SignedKeyList};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Document as _, Signed};
use packcast_rollout::keys::{KeyChangeError, KeyLists};
use packcast_store::records::NumberedKeyList;

use crate::failure::{Failure, Kind};
use crate::keys::SigningKey;
use crate::target::Target;

/// What every signature over a list of keys says of itself.
const COMMENT: &str = "packcast keys";

/// The lists as they are on record, and as they read for the key that signs.
pub(super) struct Published {
    recorded: Vec<NumberedKeyList>,
    pub(super) lists: KeyLists,
}

impl Published {
    pub(super) async fn read(target: &Target, own: &PublicKey) -> Result<Self, Failure> {
        let recorded = target.records.key_lists().await?;
        let newest = recorded.last().map_or(0, |newest| newest.serial);
        let signed: Vec<SignedKeyList> = recorded.iter().map(|list| list.signed.clone()).collect();
        let lists = KeyLists::read(own, &signed, newest).map_err(failure)?;
        Ok(Self { recorded, lists })
    }

    /// Publishes lists that follow.
    pub(super) async fn add(
        &self,
        target: &Target,
        added: &[NumberedKeyList],
    ) -> Result<(), Failure> {
        if target.records.add_key_lists(&self.recorded, added).await? {
            return Ok(());
        }
        let why = "another list of keys was published meanwhile";
        Err(Failure::new(Kind::TryLater, why).hint("run the same command again"))
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
        KeyChangeError::NotTrusted { .. } => "'packcast keys list' shows those that are trusted",
        KeyChangeError::TooMany { .. } => {
            "give every agent the key that signs now, in trusted_keys of its configuration, and set up a new target"
        }
        KeyChangeError::List(_) => {
            "'packcast keys revoke' takes one away that is not used any more"
        }
    };
    Failure::conflict(error).hint(hint)
}
