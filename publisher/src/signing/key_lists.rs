//! The lists of trusted keys of a target.

use packcast_protocol::keys::{KeyList, SignedKeyList};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Signed, SignedDocument as _};
use packcast_rollout::keys::{KeyChangeError, KeyLists};
use packcast_store::records::NumberedKeyList;

use super::key::SigningKey;
use super::trust_state::Memory;
use crate::failure::{Failure, Kind};
use crate::target::Target;

/// The comment of each signature over a key list.
const COMMENT: &str = "packcast keys";

/// The published key lists of a target: the records, and the verified lists.
#[derive(Debug)]
pub struct PublishedKeyLists {
    recorded: Vec<NumberedKeyList>,
    /// The lists, verified from the own key on.
    pub lists: KeyLists,
}

/// An error: the records miss key lists that this machine has published.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot use the key lists on record: the newest has number {newest}, but this machine has published number {known}: the table was restored, or someone put the earlier list back"
)]
struct RolledBack {
    newest: u64,
    known: u64,
}

/// Returns the keys that agents trust, together with the publisher's own keys.
///
/// If a key other than the first own key has signed the newest list, the function returns the own
/// keys only.
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

/// Returns the keys that agents trust; no keys if another key has signed the newest list.
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

impl PublishedKeyLists {
    /// Reads the key lists.
    ///
    /// # Errors
    /// Lists that are older than the newest list in the memory of this machine are a conflict.
    pub async fn read(target: &Target, own: &PublicKey) -> Result<Self, Failure> {
        let recorded = target.records.key_lists().await?;
        let lists = read(own, &recorded)?;
        let known = Memory::load(&target.memory_file, &target.warnings)?.keys();
        let newest = lists.serial();
        if newest < known {
            return Err(RolledBack { newest, known }.into());
        }
        Ok(Self { recorded, lists })
    }

    /// Publishes the next lists.
    pub async fn add(&self, target: &Target, added: &[NumberedKeyList]) -> Result<(), Failure> {
        if target.records.add_key_lists(&self.recorded, added).await? {
            let newest = added.last().map_or(0, |newest| newest.serial);
            Memory::load(&target.memory_file, &target.warnings)?.follow_keys(newest);
            return Ok(());
        }
        Err(conflict())
    }
}

fn conflict() -> Failure {
    let why = "cannot publish the key list: another list was published meanwhile";
    Failure::new(Kind::TryLater, why).hint("run the same command again")
}

impl From<RolledBack> for Failure {
    fn from(error: RolledBack) -> Self {
        Self::conflict(error).hint(
            "follow 'Recover from a lost key' in docs/operate.md: only the key that signed the missing list can sign it again",
        )
    }
}

/// Signs a key list.
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
                "pass the key that has signed the list with --key; run 'packcast keys show' to see your key"
            }
            KeyChangeError::Signing { .. } => {
                "run 'packcast keys rotate' to sign with a new key, then revoke this key"
            }
            KeyChangeError::NotTrusted { .. } | KeyChangeError::Trusted { .. } => {
                "run 'packcast keys list' to see the trusted keys"
            }
            KeyChangeError::TooMany { .. } => {
                "add the current signing key to trusted_keys in the configuration of each agent, and set up a new target"
            }
            KeyChangeError::List(_) => {
                "run 'packcast keys revoke KEY' to remove a key that is no longer used"
            }
        };
        Self::conflict(error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::{failures, next_steps};

    #[test]
    fn errors_of_key_lists_have_next_steps() {
        let key = |key: u8| -> PublicKey {
            let bytes = [&b"Ed"[..], &[key; 40]].concat();
            data_encoding::BASE64.encode(&bytes).parse().unwrap()
        };
        let errors = [
            KeyChangeError::NotOurs,
            KeyChangeError::TooMany { count: 9 },
            KeyChangeError::Signing { key: key(1) },
            KeyChangeError::NotTrusted { key: key(1) },
            KeyChangeError::Trusted { key: key(1) },
            KeyChangeError::List(packcast_protocol::keys::KeyListError::Serial),
        ];
        insta::assert_snapshot!(next_steps(errors), @r"
        NotOurs: Conflict
          hint: pass the key that has signed the list with --key; run 'packcast keys show' to see your key
        TooMany: Conflict
          hint: add the current signing key to trusted_keys in the configuration of each agent, and set up a new target
        Signing: Conflict
          hint: run 'packcast keys rotate' to sign with a new key, then revoke this key
        NotTrusted: Conflict
          hint: run 'packcast keys list' to see the trusted keys
        Trusted: Conflict
          hint: run 'packcast keys list' to see the trusted keys
        List Serial: Conflict
          hint: run 'packcast keys revoke KEY' to remove a key that is no longer used
        ");
        let rolled_back = RolledBack {
            newest: 2,
            known: 3,
        };
        insta::assert_snapshot!(failures([rolled_back.into(), conflict()]), @r"
        Conflict: cannot use the key lists on record: the newest has number 2, but this machine has published number 3: the table was restored, or someone put the earlier list back
        hint: follow 'Recover from a lost key' in docs/operate.md: only the key that signed the missing list can sign it again
        TryLater: cannot publish the key list: another list was published meanwhile
        hint: run the same command again
        ");
    }
}
