//! The lists of trusted keys of a target, and how one is added.

use packcast_protocol::keys::{KeyList, SignedKeyList};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Document as _, Signed};
use packcast_rollout::keys::{KeyChangeError, KeyLists};
use packcast_store::records::NumberedKeyList;

use super::key::SigningKey;
use super::trust_state::Memory;
use crate::failure::{Failure, Kind};
use crate::target::Target;

/// What every signature over a list of keys says of itself.
const COMMENT: &str = "packcast keys";

/// The lists as they are on record, and as they read for the key that signs.
#[derive(Debug)]
pub struct Published {
    recorded: Vec<NumberedKeyList>,
    pub lists: KeyLists,
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

/// Returns the keys that agents trust, as the first of a publisher's own knows the lists; where
/// another key has signed the newest of them, his own.
pub async fn trusted_with_own(
    target: &Target,
    own: &[PublicKey],
) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = own.to_vec();
    if let Some(first) = own.first() {
        keys.extend(trusted(target, first).await?);
    }
    Ok(keys)
}

/// Returns the keys that agents trust; none if another key has signed the newest list.
async fn trusted(target: &Target, own: &PublicKey) -> Result<Vec<PublicKey>, Failure> {
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
    pub async fn read(target: &Target, own: &PublicKey) -> Result<Self, Failure> {
        let recorded = target.records.key_lists().await?;
        let lists = read(own, &recorded)?;
        let known = Memory::load(&target.memory_file, &target.warnings)?.keys();
        let newest = lists.serial();
        if newest < known {
            return Err(Failure::conflict(RolledBack { newest, known }).hint(
                "only the key that signed the list could make it again: go on as if the key were lost, as docs/operate.md says",
            ));
        }
        Ok(Self { recorded, lists })
    }

    /// Publishes lists that follow.
    pub async fn add(&self, target: &Target, added: &[NumberedKeyList]) -> Result<(), Failure> {
        if target.records.add_key_lists(&self.recorded, added).await? {
            let newest = added.last().map_or(0, |newest| newest.serial);
            Memory::load(&target.memory_file, &target.warnings)?.follow_keys(newest);
            return Ok(());
        }
        let why = "another list of keys was published meanwhile";
        Err(Failure::new(Kind::TryLater, why).hint("run the same command again"))
    }
}

/// Signs a list.
pub fn signed(list: &KeyList, key: &SigningKey) -> Result<NumberedKeyList, Failure> {
    let document = list.to_document();
    let signature = key.sign(document.as_bytes(), COMMENT)?;
    Ok(NumberedKeyList {
        serial: list.serial(),
        signed: Signed::new(document, signature).map_err(Failure::failed)?,
    })
}

impl From<KeyChangeError> for Failure {
    fn from(error: KeyChangeError) -> Self {
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
        Self::conflict(error).hint(hint)
    }
}
