//! The chain of key lists, from the keys of a configuration to the keys that are trusted now.

use crate::signature::PublicKey;
use crate::signed::SignedError;

use super::SignedKeyList;

/// Largest number of key lists of a target, and of lists that a device follows at once.
pub const MAX_LISTS: usize = 32;

/// The keys that are trusted now, and the key lists that led to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    keys: Vec<PublicKey>,
    serial: u64,
    followed: Vec<SignedKeyList>,
}

/// Errors from following a key list.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error(transparent)]
    Refused(#[from] SignedError),
    #[error("key list {given} is not later than key list {followed}")]
    Stale { given: u64, followed: u64 },
    #[error(
        "cannot follow more than {MAX_LISTS} key lists: put the trusted keys into the configuration"
    )]
    TooMany,
}

impl Trusted {
    /// Starts with the keys that a configuration names.
    pub fn configured(keys: Vec<PublicKey>) -> Self {
        Self {
            keys,
            serial: 0,
            followed: Vec::new(),
        }
    }

    /// Follows a later list that the current signing key has signed.
    ///
    /// The current signing key is the first key of the previous list. Before the first list, it
    /// is any key of the configuration. A replaced key signs no more lists, even if agents
    /// still trust it for older documents.
    ///
    /// Each list is complete, so a device may skip lists that it never received.
    pub fn follow(&mut self, list: &SignedKeyList) -> Result<(), FollowError> {
        let signers = match self.serial {
            0 => &self.keys[..],
            _ => self.keys.get(..1).unwrap_or_default(),
        };
        let verified = list.verify(signers)?;
        let (given, followed) = (verified.serial(), self.serial);
        if given <= followed {
            return Err(FollowError::Stale { given, followed });
        }
        if self.followed.len() >= MAX_LISTS {
            return Err(FollowError::TooMany);
        }
        self.keys = verified.keys().to_vec();
        self.serial = given;
        self.followed.push(list.clone());
        Ok(())
    }

    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Returns the serial number of the last list that was followed, 0 before the first.
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// Returns the followed lists, in order.
    pub fn followed(&self) -> &[SignedKeyList] {
        &self.followed
    }
}

/// Follows all valid lists of a chain, starting with the configured keys.
///
/// Lists from before a configured key existed are skipped: a configuration that names a later
/// key needs none of them.
pub fn trusted(configured: Vec<PublicKey>, chain: &[SignedKeyList]) -> Trusted {
    let mut trusted = Trusted::configured(configured);
    for list in chain.iter().take(MAX_LISTS) {
        // A list that does not verify is skipped, because a later list may still be valid.
        let _ = trusted.follow(list);
    }
    trusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causes::messages;
    use crate::keys::tests::{keys, list};

    /// Checks the last list that a device follows, and the keys that it then trusts.
    fn check(configured: &[usize], chain: &[SignedKeyList], serial: u64, expected: &[usize]) {
        let trusted = trusted(keys(configured), chain);
        assert_eq!(trusted.serial(), serial);
        assert_eq!(trusted.keys(), keys(expected));
    }

    #[test]
    fn a_device_follows_two_rotations_at_once() {
        let chain = [list(1, &[1, 0], 0), list(2, &[2, 1, 0], 1)];
        check(&[0], &chain[..1], 1, &[1, 0]);
        check(&[0], &chain, 2, &[2, 1, 0]);
        check(&[0], &[], 0, &[0]);
    }

    #[test]
    fn a_revoked_key_signs_no_more_lists() {
        let chain = [list(1, &[1, 0], 0), list(2, &[1], 1), list(3, &[0], 0)];
        check(&[0], &chain, 2, &[1]);
    }

    #[test]
    fn a_replaced_key_signs_no_more_lists() {
        let chain = [list(1, &[1, 0], 0), list(2, &[1, 0], 1), list(3, &[0], 0)];
        check(&[0], &chain, 2, &[1, 0]);
        check(
            &[0, 2],
            &[list(1, &[2, 0], 2), list(2, &[0], 0)],
            1,
            &[2, 0],
        );
    }

    #[test]
    fn a_configuration_with_a_later_key_needs_no_earlier_lists() {
        let chain = [list(1, &[1, 0], 0), list(2, &[1], 1), list(3, &[2, 1], 1)];
        check(&[1], &chain, 3, &[2, 1]);
        check(&[2], &chain, 0, &[2]);
    }

    #[test]
    fn earlier_lists_are_refused() {
        let mut trusted = trusted(keys(&[0]), &[list(2, &[0], 0)]);
        for serial in [1, 2] {
            let error = trusted.follow(&list(serial, &[1], 0)).unwrap_err();
            assert!(matches!(error, FollowError::Stale { .. }), "{error}");
        }
        assert_eq!(trusted.keys(), keys(&[0]));
    }

    #[test]
    fn a_chain_has_at_most_32_lists() {
        let chain = |count| -> Vec<SignedKeyList> {
            (1..=count).map(|serial| list(serial, &[0], 0)).collect()
        };
        let mut trusted = trusted(keys(&[0]), &chain(32));
        assert_eq!(trusted.serial(), 32);
        let error = trusted.follow(&list(33, &[1], 0)).unwrap_err();
        assert!(matches!(error, FollowError::TooMany));
    }

    fn any_list() -> impl Strategy<Value = SignedKeyList> {
        let named = proptest::sample::subsequence(vec![0, 1, 2, 3, 4], 1..=5);
        (1_u64..6, named, 0_usize..5)
            .prop_map(|(serial, named, signer)| list(serial, &named, signer))
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(messages([
            FollowError::Stale {
                given: 2,
                followed: 3,
            },
            FollowError::TooMany,
        ]), @"
        key list 2 is not later than key list 3
        cannot follow more than 32 key lists: put the trusted keys into the configuration
        ");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Holds for lists in any order, signed by any key.
        #[test]
        fn each_followed_list_is_signed_by_the_first_key_of_the_list_before(chain in proptest::collection::vec(any_list(), 0..8)) {
            let trusted = trusted(keys(&[0]), &chain);
            let mut before = (0, keys(&[0]));
            for list in trusted.followed() {
                let verified = list.verify(&before.1[..1]).unwrap();
                prop_assert!(verified.serial() > before.0);
                before = (verified.serial(), verified.keys().to_vec());
            }
            prop_assert_eq!((trusted.serial(), trusted.keys()), (before.0, &before.1[..]));
        }

        #[test]
        fn following_lists_together_or_one_by_one_is_the_same(chain in proptest::collection::vec(any_list(), 0..8), cut in 0_usize..8) {
            let (first, then) = chain.split_at(cut.min(chain.len()));
            let first_lists = trusted(keys(&[0]), first);
            let mut later = trusted(keys(&[0]), first_lists.followed());
            prop_assert_eq!(&later, &first_lists);
            for list in then {
                let _ = later.follow(list);
            }
            prop_assert_eq!(later, trusted(keys(&[0]), &chain));
        }
    }
}
