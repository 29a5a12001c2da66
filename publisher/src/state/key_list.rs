//! Key lists that belong to a commit.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::key_list::{KeyListError, KeyListFields, MAX_KEY_LIST_VALIDITY_S};
use packcast_protocol::state::signed_text::TargetDocument as _;
use packcast_protocol::state::{KeyList, KeyListId, PublisherKey, SignedKeyList, TrustedRoots};
use packcast_protocol::{Sha256Digest, UnixTime};
use packcast_rollout::memory::SignedList;
use packcast_store::records::Sign;

use super::error::StateError;

/// Remaining validity below which a commit renews the key list, in seconds: 60 days.
const RENEWED_BEFORE_S: u64 = 60 * 86_400;

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

/// Returns true if a key list must be renewed with the next commit.
pub(super) fn is_due(list: &KeyList, now: UnixTime) -> bool {
    list.expires().since(now) < RENEWED_BEFORE_S
}

/// Returns the list that renews another one: the same keys, for another 100 days.
pub(super) fn renewed(list: &KeyList, now: UnixTime) -> Result<KeyList, KeyListError> {
    KeyList::new(KeyListFields {
        target: list.target(),
        serial: list.serial() + 1,
        from: list.from(),
        roots: list.roots().to_vec(),
        publishers: list.publishers().to_vec(),
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

#[cfg(test)]
mod tests {
    use packcast_protocol::state::TargetId;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn a_list_is_renewed_when_it_expires_within_60_days() {
        let key: PublicKey = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8"
            .parse()
            .unwrap();
        let trust = TrustedRoots::new(TargetId::from_bytes([7; 16]), vec![key.clone()]).unwrap();
        let list = first(&trust, &key, NOW).unwrap();
        let due = NOW.plus(40 * 86_400);
        assert!(!is_due(&list, due));
        assert!(is_due(&list, due.plus(1)));
        assert!(is_due(&list, list.expires().plus(1)));
        let next = renewed(&list, due).unwrap();
        assert_eq!((next.serial(), next.from()), (2, 0));
        assert_eq!(next.expires(), due.plus(MAX_KEY_LIST_VALIDITY_S));
        assert_eq!(
            (next.roots(), next.publishers()),
            (list.roots(), list.publishers())
        );
    }
}
