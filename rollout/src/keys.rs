//! Changes to the keys that agents trust: creating the key lists that a publisher then signs.
//!
//! The newest key list is always signed by the current signing key. So a device that knows only
//! this key, for example a device that was set up later, can verify the list.

use packcast_protocol::UnixTime;
use packcast_protocol::keys::{
    KeyList, KeyListError, MAX_KEYS, MAX_LISTS, SignedKeyList, Trusted, trusted,
};
use packcast_protocol::signature::PublicKey;

/// The published key lists, verified with the current signing key.
#[derive(Clone, Debug)]
pub struct KeyLists {
    own: PublicKey,
    trusted: Trusted,
    count: usize,
}

/// Errors from changing the keys that agents trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeError {
    #[error("the newest key list on record is not signed by your key")]
    NotOurs,
    #[error("cannot publish another key list: {count} exist, and the limit is {MAX_LISTS}")]
    TooMany { count: usize },
    #[error("key {key} is the current signing key")]
    Signing { key: PublicKey },
    #[error("key {key} is not a trusted key")]
    NotTrusted { key: PublicKey },
    #[error("key {key} is already a trusted key")]
    Trusted { key: PublicKey },
    #[error(transparent)]
    List(#[from] KeyListError),
}

impl KeyLists {
    /// Verifies the published lists. `newest` is the number of the last list.
    ///
    /// # Errors
    /// The newest list is not signed by `own`.
    pub fn read(
        own: &PublicKey,
        lists: &[SignedKeyList],
        newest: u64,
    ) -> Result<Self, KeyChangeError> {
        let trusted = trusted(vec![own.clone()], lists);
        if trusted.serial() != newest {
            return Err(KeyChangeError::NotOurs);
        }
        Ok(Self {
            own: own.clone(),
            trusted,
            count: lists.len(),
        })
    }

    /// Returns the trusted keys.
    ///
    /// Before the first list, the result is only the signing key, although agents also trust the
    /// keys in their configuration.
    pub fn keys(&self) -> &[PublicKey] {
        self.trusted.keys()
    }

    /// Returns the number of the newest list, or 0 if there is no list.
    pub const fn serial(&self) -> u64 {
        self.trusted.serial()
    }

    /// Checks that a rotation stays within the limits, before a key is created for it.
    pub fn check_room(&self) -> Result<(), KeyChangeError> {
        self.room_for(2)?;
        match self.keys().len() + 1 {
            count if count > MAX_KEYS => Err(KeyListError::Count { count }.into()),
            _ => Ok(()),
        }
    }

    /// Returns the two lists that make `new` the signing key.
    ///
    /// The current signing key must sign the first list, and the new key the second.
    pub fn rotate(&self, new: &PublicKey, now: UnixTime) -> Result<[KeyList; 2], KeyChangeError> {
        self.room_for(2)?;
        // The new key comes first. The old keys stay trusted until they are revoked, so that
        // their signatures stay valid.
        let keys = || std::iter::once(new).chain(self.keys()).cloned().collect();
        let serial = self.serial().saturating_add(1);
        Ok([
            KeyList::new(serial, keys(), now)?,
            KeyList::new(serial.saturating_add(1), keys(), now)?,
        ])
    }

    /// Returns the list with the key of another publisher added.
    ///
    /// Agents then accept packages and assignments signed by that key. The other publisher cannot
    /// sign key lists.
    pub fn trust(&self, key: &PublicKey, now: UnixTime) -> Result<KeyList, KeyChangeError> {
        let key = key.clone();
        if self.keys().contains(&key) {
            return Err(KeyChangeError::Trusted { key });
        }
        self.room_for(1)?;
        let keys = self.keys().iter().cloned().chain([key]).collect();
        Ok(KeyList::new(self.serial().saturating_add(1), keys, now)?)
    }

    /// Returns the list without `key`.
    ///
    /// Before the first list, any key except the signing key can be revoked, because agents may
    /// trust keys that only their configuration names.
    pub fn revoke(&self, key: &PublicKey, now: UnixTime) -> Result<KeyList, KeyChangeError> {
        let key = key.clone();
        if key == self.own {
            return Err(KeyChangeError::Signing { key });
        }
        if self.serial() > 0 && !self.keys().contains(&key) {
            return Err(KeyChangeError::NotTrusted { key });
        }
        self.room_for(1)?;
        let kept = self.keys().iter().filter(|kept| **kept != key);
        let serial = self.serial().saturating_add(1);
        Ok(KeyList::new(serial, kept.cloned().collect(), now)?)
    }

    fn room_for(&self, more: usize) -> Result<(), KeyChangeError> {
        if self.count + more <= MAX_LISTS {
            return Ok(());
        }
        let count = self.count;
        Err(KeyChangeError::TooMany { count })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;
    use packcast_protocol::signed::{Signed, SignedDocument as _};

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    struct Key(KeyPair, PublicKey);

    impl Key {
        fn new() -> Self {
            let pair = KeyPair::generate_unencrypted_keypair().unwrap();
            let public = pair.pk.to_base64().parse().unwrap();
            Self(pair, public)
        }

        fn sign(&self, list: &KeyList) -> SignedKeyList {
            let document = list.to_document();
            let signature =
                minisign::sign(None, &self.0.sk, Cursor::new(&document), None, None).unwrap();
            Signed::new(document, signature.into_string()).unwrap()
        }
    }

    #[test]
    fn messages() {
        const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let key: PublicKey = KEY.parse().unwrap();
        let errors = [
            KeyChangeError::NotOurs,
            KeyChangeError::TooMany { count: MAX_LISTS },
            KeyChangeError::Signing { key: key.clone() },
            KeyChangeError::NotTrusted { key: key.clone() },
            KeyChangeError::Trusted { key },
        ];
        let lines = errors.map(|error| error.to_string().replace(KEY, "KEY"));
        insta::assert_snapshot!(lines.join("\n"), @r"
        the newest key list on record is not signed by your key
        cannot publish another key list: 32 exist, and the limit is 32
        key KEY is the current signing key
        key KEY is not a trusted key
        key KEY is already a trusted key
        ");
    }

    fn rotated(old: &Key, new: &Key, chain: &mut Vec<SignedKeyList>) {
        let newest = chain.len() as u64;
        let lists = KeyLists::read(&old.1, chain, newest).unwrap();
        let [by_old, by_new] = lists.rotate(&new.1, NOW).unwrap();
        chain.extend([old.sign(&by_old), new.sign(&by_new)]);
    }

    #[test]
    fn every_earlier_key_leads_to_the_same_trusted_keys() {
        let [one, two, three] = [Key::new(), Key::new(), Key::new()];
        let mut chain = Vec::new();
        rotated(&one, &two, &mut chain);
        rotated(&two, &three, &mut chain);
        for key in [&one, &two, &three] {
            let trusted = trusted(vec![key.1.clone()], &chain);
            assert_eq!(trusted.serial(), 4);
            let all = [&three.1, &two.1, &one.1].map(Clone::clone);
            assert_eq!(trusted.keys(), all);
        }
        let lists = KeyLists::read(&three.1, &chain, 4).unwrap();
        let left = lists.revoke(&one.1, NOW).unwrap();
        assert_eq!((left.serial(), left.keys().len()), (5, 2));
        let signs = KeyChangeError::Signing {
            key: three.1.clone(),
        };
        assert_eq!(lists.revoke(&three.1, NOW), Err(signs));
        let other = Key::new();
        let not_trusted = KeyChangeError::NotTrusted {
            key: other.1.clone(),
        };
        assert_eq!(lists.revoke(&other.1, NOW), Err(not_trusted));
    }

    #[test]
    fn the_key_of_another_publisher_stays_through_a_rotation_until_it_is_revoked() {
        let [own, new, other] = [Key::new(), Key::new(), Key::new()];
        let lists = KeyLists::read(&own.1, &[], 0).unwrap();
        let mut chain = vec![own.sign(&lists.trust(&other.1, NOW).unwrap())];
        rotated(&own, &new, &mut chain);
        let followed = trusted(vec![own.1.clone(), other.1.clone()], &chain);
        let all = [&new.1, &own.1, &other.1].map(Clone::clone);
        assert_eq!((followed.serial(), followed.keys()), (3, &all[..]));
        let lists = KeyLists::read(&new.1, &chain, 3).unwrap();
        let again = lists.trust(&other.1, NOW).unwrap_err();
        assert!(matches!(again, KeyChangeError::Trusted { .. }));
        assert_eq!(lists.revoke(&other.1, NOW).unwrap().keys(), &all[..2]);
    }

    #[test]
    fn before_the_first_list_any_other_key_can_be_revoked() {
        let [own, other] = [Key::new(), Key::new()];
        let lists = KeyLists::read(&own.1, &[], 0).unwrap();
        let left = lists.revoke(&other.1, NOW).unwrap();
        assert_eq!((left.serial(), left.keys()), (1, &[own.1][..]));
    }

    #[test]
    fn a_list_signed_by_another_key_is_refused() {
        let [own, other] = [Key::new(), Key::new()];
        let planted = KeyList::new(1, vec![other.1.clone(), own.1.clone()], NOW).unwrap();
        let chain = [other.sign(&planted)];
        let read = KeyLists::read(&own.1, &chain, 1);
        assert_eq!(read.unwrap_err(), KeyChangeError::NotOurs);
    }

    #[test]
    fn the_number_of_lists_is_limited() {
        let mut keys = vec![Key::new()];
        let mut chain = Vec::new();
        for _ in 0..MAX_LISTS / 2 {
            let (old, new) = (keys.pop().unwrap(), Key::new());
            let newest = chain.len() as u64;
            let lists = KeyLists::read(&old.1, &chain, newest).unwrap();
            let [by_old, by_new] = lists.rotate(&new.1, NOW).unwrap();
            let only =
                |list: &KeyList| KeyList::new(list.serial(), vec![new.1.clone()], NOW).unwrap();
            chain.extend([old.sign(&only(&by_old)), new.sign(&only(&by_new))]);
            keys.push(new);
        }
        let lists = KeyLists::read(&keys[0].1, &chain, MAX_LISTS as u64).unwrap();
        let full = KeyChangeError::TooMany { count: MAX_LISTS };
        assert_eq!(lists.rotate(&Key::new().1, NOW).unwrap_err(), full);
        assert_eq!(lists.check_room(), Err(full));
    }

    #[test]
    fn a_full_list_has_no_room_for_a_rotation() {
        let own = Key::new();
        let mut chain = Vec::new();
        for serial in 0..7 {
            let lists = KeyLists::read(&own.1, &chain, serial).unwrap();
            assert_eq!(lists.check_room(), Ok(()));
            chain.push(own.sign(&lists.trust(&Key::new().1, NOW).unwrap()));
        }
        let lists = KeyLists::read(&own.1, &chain, 7).unwrap();
        let full = KeyListError::Count { count: 9 };
        assert_eq!(lists.check_room(), Err(full.into()));
    }
}
