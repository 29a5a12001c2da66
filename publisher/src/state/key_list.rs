//! Key lists that belong to a commit.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::key_list::{KeyListError, KeyListFields, MAX_KEY_LIST_VALIDITY_S};
use packcast_protocol::state::signed_text::TargetDocument as _;
use packcast_protocol::state::{
    KeyList, KeyListId, PublisherKey, SignedKeyList, TrustedRoots, VerifiedKeyList,
};
use packcast_protocol::{Sha256Digest, UnixTime};
use packcast_rollout::memory::{MAX_ANCESTOR_AGE_S, SignedList};
use packcast_store::records::Sign;

use super::error::StateError;
use super::reader::TargetState;
use crate::text::time;

/// Remaining validity below which a commit renews the key list, in seconds: 60 days.
const RENEWED_BEFORE_S: u64 = 60 * 86_400;

/// Returns the first key list of a target, with one publisher key.
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

/// A key, and the function that signs states with it.
#[derive(Clone, Copy)]
pub(crate) struct StateKey<'a> {
    pub(crate) public: &'a PublicKey,
    pub(crate) sign: &'a Sign,
}

/// A change of the key list, which becomes public with the next commit.
pub(super) struct ListChange<'a> {
    /// The root key that signs the list.
    pub(super) root: StateKey<'a>,
    pub(super) keys: KeyChange<'a>,
}

/// A change of the keys of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyChange<'a> {
    /// A new key takes the place of another one, which is retired.
    Rotate {
        old: &'a PublicKey,
        new: &'a PublicKey,
    },
    /// Another publisher may sign commits.
    Add(&'a PublicKey),
    /// A publisher signs no further commits.
    Retire(&'a PublicKey),
    /// A key that has leaked is removed. Commits with lower numbers than `from` count no more.
    Remove {
        lost: &'a PublicKey,
        /// The key that takes its place. `None` if another publisher removes the key.
        new: Option<&'a PublicKey>,
        from: u64,
    },
    /// The keys stay. The list is signed by another root key.
    Confirm,
    /// The keys stay, without outdated ones. A new target gets its first list.
    Renew,
}

impl ListChange<'_> {
    /// Returns true if the newest list has the change already: an interrupted command has made it.
    pub(super) fn is_made(&self, newest: &VerifiedKeyList) -> bool {
        let has = |publisher| newest.publishers().contains(&publisher);
        match self.keys {
            KeyChange::Rotate { old, new } => {
                has(PublisherKey::retired(old.clone()))
                    && has(PublisherKey::unrestricted(new.clone()))
            }
            KeyChange::Add(key) => has(PublisherKey::unrestricted(key.clone())),
            KeyChange::Retire(key) => has(PublisherKey::retired(key.clone())),
            KeyChange::Remove { lost, .. } => !names(newest, lost),
            KeyChange::Confirm => newest.signer() == self.root.public,
            KeyChange::Renew => false,
        }
    }
}

/// Returns true if a key list names a key, also as a retired key or as a root key.
pub(crate) fn names(list: &KeyList, key: &PublicKey) -> bool {
    list.roots().contains(key) || list.publishers().iter().any(|it| it.key == *key)
}

/// Returns true if a key list must be renewed with the next commit.
pub(super) fn is_due(list: &KeyList, now: UnixTime) -> bool {
    list.expires().since(now) < RENEWED_BEFORE_S
}

/// Returns the key list that the next commit signs, too, in words; `None` if no list is due.
///
/// `key` is the key of the publisher, `None` if it cannot be read. Only a root key renews the list.
pub(crate) fn planned_list(
    state: &TargetState,
    key: Option<&PublicKey>,
    now: UnixTime,
) -> Option<String> {
    if key.is_some_and(|key| !state.chain.roots().contains(key)) {
        return None;
    }
    let list = match state.chain.newest() {
        None => return Some("key list: the first one, with your key as the only publisher".into()),
        Some(newest) => is_due(newest, now).then_some(newest)?,
    };
    let (serial, expires) = (list.serial(), time(list.expires()));
    let condition = if key.is_some() {
        ""
    } else {
        ", if your key is a root key"
    };
    let outdated = match outdated(list, &state.key_lists(), now).len() {
        0 => String::new(),
        1 => ", without an outdated retired key".to_owned(),
        many => format!(", without {many} outdated retired keys"),
    };
    Some(format!(
        "key list {serial}: expires {expires}, and is renewed for 100 days{outdated}{condition}"
    ))
}

/// Returns the list after a change of its keys, for another 100 days.
pub(super) fn changed(
    list: &KeyList,
    change: KeyChange<'_>,
    now: UnixTime,
) -> Result<KeyList, KeyListError> {
    let mut roots = list.roots().to_vec();
    let mut publishers = list.publishers().to_vec();
    let mut from = list.from();
    match change {
        KeyChange::Rotate { old, new } => {
            for root in roots.iter_mut().filter(|root| *root == old) {
                root.clone_from(new);
            }
            publishers.retain(|publisher| publisher.key != *old && publisher.key != *new);
            publishers.push(PublisherKey::retired(old.clone()));
            publishers.push(PublisherKey::unrestricted(new.clone()));
        }
        KeyChange::Add(key) => {
            publishers.retain(|publisher| publisher.key != *key);
            publishers.push(PublisherKey::unrestricted(key.clone()));
        }
        KeyChange::Retire(key) => {
            publishers.retain(|publisher| publisher.key != *key);
            publishers.push(PublisherKey::retired(key.clone()));
        }
        KeyChange::Remove {
            lost,
            new,
            from: number,
        } => {
            match new {
                Some(new) => {
                    for root in roots.iter_mut().filter(|root| *root == lost) {
                        root.clone_from(new);
                    }
                }
                None => roots.retain(|root| root != lost),
            }
            publishers.retain(|it| it.key != *lost && Some(&it.key) != new);
            publishers.extend(new.cloned().map(PublisherKey::unrestricted));
            from = from.max(number);
        }
        KeyChange::Confirm | KeyChange::Renew => {}
    }
    KeyList::new(KeyListFields {
        from,
        ..next(list, roots, publishers, now)
    })
}

/// Returns the list that renews another one: the same keys, for another 100 days, without
/// `outdated` ones.
pub(super) fn renewed(
    list: &KeyList,
    outdated: &[PublicKey],
    now: UnixTime,
) -> Result<KeyList, KeyListError> {
    let mut publishers = list.publishers().to_vec();
    publishers.retain(|publisher| !outdated.contains(&publisher.key));
    KeyList::new(next(list, list.roots().to_vec(), publishers, now))
}

/// Returns the retired keys of a list whose commits have expired on every device.
///
/// The earliest of the lists in which a key is retired tells the time.
pub(super) fn outdated(list: &KeyList, earlier: &[KeyList], now: UnixTime) -> Vec<PublicKey> {
    let is_retired = |list: &KeyList, key: &PublicKey| {
        list.publishers()
            .contains(&PublisherKey::retired(key.clone()))
    };
    let is_outdated = |key: &PublicKey| {
        let lists = earlier.iter().chain([list]);
        let retired = lists.filter(|list| is_retired(list, key));
        let since = retired.map(KeyList::issued).min();
        is_retired(list, key) && since.is_some_and(|since| now.since(since) > MAX_ANCESTOR_AGE_S)
    };
    let keys = list.publishers().iter().map(|publisher| &publisher.key);
    keys.filter(|key| is_outdated(key)).cloned().collect()
}

fn next(
    list: &KeyList,
    roots: Vec<PublicKey>,
    publishers: Vec<PublisherKey>,
    now: UnixTime,
) -> KeyListFields {
    KeyListFields {
        target: list.target(),
        serial: list.serial() + 1,
        from: list.from(),
        roots,
        publishers,
        issued: now,
        expires: now.plus(MAX_KEY_LIST_VALIDITY_S),
    }
}

/// Returns a signed list with its id. `None` if it cannot be read.
pub(super) fn with_id(signed: &SignedKeyList) -> Option<SignedList> {
    let list = serde_json::from_str::<KeyList>(signed.text()).ok()?;
    Some(SignedList {
        id: KeyListId {
            serial: list.serial(),
            digest: signed.digest(),
        },
        signed: signed.clone(),
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
    use std::slice;

    use packcast_protocol::state::TargetId;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn key(text: &str) -> PublicKey {
        text.parse().unwrap()
    }

    fn old() -> PublicKey {
        key("RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8")
    }

    fn new() -> PublicKey {
        key("RWQKBxCvKf1z0d/imauM5Sp+0mh2sJfaohmn+lXeYr5T4KRSu4X/1ECc")
    }

    fn first_list() -> KeyList {
        let trust = TrustedRoots::new(TargetId::from_bytes([7; 16]), vec![old()]).unwrap();
        first(&trust, &old(), NOW).unwrap()
    }

    fn rotated(at: UnixTime) -> KeyList {
        let rotate = KeyChange::Rotate {
            old: &old(),
            new: &new(),
        };
        changed(&first_list(), rotate, at).unwrap()
    }

    #[test]
    fn a_list_is_renewed_when_it_expires_within_60_days() {
        let list = first_list();
        let due = NOW.plus(40 * 86_400);
        assert!(!is_due(&list, due));
        assert!(is_due(&list, due.plus(1)));
        assert!(is_due(&list, list.expires().plus(1)));
        let next = renewed(&list, &[], due).unwrap();
        assert_eq!((next.serial(), next.from()), (2, 0));
        assert_eq!(next.expires(), due.plus(MAX_KEY_LIST_VALIDITY_S));
        assert_eq!(
            (next.roots(), next.publishers()),
            (list.roots(), list.publishers())
        );
    }

    #[test]
    fn a_rotation_retires_the_old_key() {
        let list = rotated(NOW);
        assert_eq!((list.serial(), list.roots()), (2, &[new()][..]));
        assert_eq!(list.signing_publishers(), [new()]);
        assert_eq!(list.usable_publishers().len(), 2);
        let confirmed = changed(&list, KeyChange::Confirm, NOW).unwrap();
        assert_eq!(confirmed.serial(), 3);
        assert_eq!(confirmed.publishers(), list.publishers());
    }

    #[test]
    fn an_added_key_signs_until_it_is_retired_and_is_no_root_key() {
        let list = changed(&first_list(), KeyChange::Add(&new()), NOW).unwrap();
        assert_eq!(list.signing_publishers().len(), 2);
        assert_eq!(list.roots(), [old()]);
        let retired = changed(&list, KeyChange::Retire(&new()), NOW).unwrap();
        assert_eq!(retired.signing_publishers(), [old()]);
        assert_eq!(retired.usable_publishers().len(), 2);
    }

    #[test]
    fn a_leaked_key_is_removed_with_the_numbers_of_its_commits() {
        let (old, new) = (old(), new());
        let remove = |list: &KeyList, lost, new, from| {
            changed(list, KeyChange::Remove { lost, new, from }, NOW).unwrap()
        };
        let replaced = remove(&first_list(), &old, Some(&new), NOW.0);
        assert_eq!(replaced.roots(), slice::from_ref(&new));
        assert_eq!(replaced.usable_publishers(), slice::from_ref(&new));
        assert_eq!((replaced.serial(), replaced.from()), (2, NOW.0));
        let added = changed(&first_list(), KeyChange::Add(&new), NOW).unwrap();
        let removed = remove(&added, &new, None, NOW.0);
        assert_eq!(
            (removed.roots(), removed.from()),
            (slice::from_ref(&old), NOW.0)
        );
        assert_eq!(removed.usable_publishers(), slice::from_ref(&old));
        let lower = remove(&replaced, &old, None, 5);
        assert_eq!(lower.from(), NOW.0);
    }

    #[test]
    fn a_key_that_was_retired_91_days_ago_is_left_out() {
        let retired = rotated(NOW);
        let later = NOW.plus(60 * 86_400);
        let newest = renewed(&retired, &[], later).unwrap();
        let lists = [first_list(), retired];
        let at = |age| outdated(&newest, &lists, NOW.plus(age));
        assert_eq!(at(MAX_ANCESTOR_AGE_S), []);
        assert_eq!(at(MAX_ANCESTOR_AGE_S + 1), [old()]);
        // Only the time of the newest list is known.
        assert_eq!(outdated(&newest, &[], NOW.plus(MAX_ANCESTOR_AGE_S + 1)), []);
        let without = renewed(&newest, &[old()], later).unwrap();
        assert_eq!(without.usable_publishers(), [new()]);
    }
}
