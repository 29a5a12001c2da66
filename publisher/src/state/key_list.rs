//! Key lists that belong to a commit.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::key_list::{KeyListError, KeyListFields, MAX_KEY_LIST_VALIDITY_S};
use packcast_protocol::state::signed_text::TargetDocument as _;
use packcast_protocol::state::{KeyList, KeyListId, PublisherKey, SignedKeyList, TrustedRoots};
use packcast_protocol::{Sha256Digest, UnixTime};
use packcast_rollout::memory::SignedList;
use packcast_store::records::Sign;

use super::error::StateError;

/// Returns the first key list of a target. The only publisher key is one of its root keys.
pub(super) fn first(
    trust: &TrustedRoots,
    key: &PublicKey,
    now: UnixTime,
) -> Result<KeyList, KeyListError> {
    KeyList::new(KeyListFields {
        target: trust.target(),
        serial: 1,
        from: 0,
        roots: trust.roots().to_vec(),
        publishers: vec![PublisherKey::unrestricted(key.clone())],
        issued: now,
        expires: now.plus(MAX_KEY_LIST_VALIDITY_S),
    })
}

/// Signs a key list.
pub(super) fn sign_list(list: &KeyList, sign: &Sign) -> Result<SignedList, StateError> {
    let text = list.to_text();
    let id = KeyListId {
        serial: list.serial(),
        digest: Sha256Digest::of(text.as_bytes()),
    };
    let signature = sign(&text)?;
    let signed = SignedKeyList::new(text, signature)?;
    Ok(SignedList { id, signed })
}
