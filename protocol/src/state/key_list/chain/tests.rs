use proptest::prelude::*;

use super::*;
use crate::causes::messages;
use crate::state::key_list::{KeyList, PublisherKey};
use crate::state::target::TrustLine;
use crate::state::test_keys::{TARGET, key, keys, signed};

const ISSUED: UnixTime = UnixTime(1_795_000_000);
const EXPIRES: UnixTime = UnixTime(1_795_000_000 + 86_400);

fn chain(configured: &[usize]) -> KeyChain {
    let line = |root| TrustLine {
        target: TARGET,
        root,
    };
    let lines = keys(configured).into_iter().map(line).collect();
    KeyChain::new(TrustedRoots::new(lines).unwrap())
}

/// A list whose publisher key is the key of its signer.
fn list(serial: u64, roots: &[usize], signer: usize) -> SignedKeyList {
    let publishers = vec![PublisherKey::unrestricted(key(signer))];
    let list = KeyList::new(TARGET, serial, keys(roots), publishers, ISSUED, EXPIRES);
    signed(&list.unwrap(), signer)
}

/// Follows lists, and checks the newest list and the number of refused lists.
fn check(configured: &[usize], lists: &[SignedKeyList], newest: &SignedKeyList, refused: usize) {
    let mut chain = chain(configured);
    let errors = chain.follow_all(lists);
    assert_eq!(chain.newest().unwrap().digest(), newest.digest());
    assert_eq!(errors.len(), refused, "{errors:?}");
}

#[test]
fn a_device_skips_lists_that_it_never_received() {
    let lists = [list(1, &[0, 1], 0), list(2, &[1, 0], 0), list(7, &[1], 1)];
    check(&[0], &lists, &lists[2], 0);
    check(&[0], &lists[1..], &lists[2], 0);
    check(&[1], &lists, &lists[2], 2);
}

#[test]
fn a_root_key_of_higher_rank_replaces_every_list_of_a_lower_one() {
    let first = list(1, &[0, 1], 0);
    let stolen = [list(50, &[1], 1), list(51, &[2], 1), list(52, &[2], 2)];
    let replaced = list(2, &[0, 3], 0);
    let lists = [
        &[first][..],
        &stolen,
        std::slice::from_ref(&replaced),
        &stolen,
    ]
    .concat();
    check(&[0], &lists, &replaced, 3);
    // A list of lower rank never replaces one of higher rank, whatever its number.
    let below = [list(5, &[0, 1], 0), list(3, &[1], 1)];
    check(&[0, 1], &below, &below[0], 1);
}

#[test]
fn a_later_list_by_a_lower_root_key_stays_if_its_root_key_is_still_named() {
    let later = list(3, &[0, 1], 1);
    check(&[0, 1], &[later.clone(), list(2, &[0, 1], 0)], &later, 0);
    let without = list(2, &[0], 0);
    check(&[0, 1], &[later, without.clone()], &without, 0);
}

#[test]
fn of_two_lists_by_one_root_key_the_first_stays() {
    let lists = [list(4, &[0], 0), list(4, &[0, 1], 0), list(3, &[1], 0)];
    check(&[0], &lists, &lists[0], 2);
}

#[test]
fn a_root_key_that_a_list_has_removed_signs_no_more_lists() {
    let lists = [list(1, &[1], 0), list(2, &[0], 0)];
    check(&[0], &lists, &lists[0], 1);
}

#[test]
fn lists_of_another_target_or_without_a_valid_signature_are_refused() {
    let publishers = vec![PublisherKey::unrestricted(key(0))];
    let other = TargetId::from_bytes([8; 16]);
    let other = KeyList::new(other, 1, keys(&[0]), publishers, ISSUED, EXPIRES).unwrap();
    let mut chain = chain(&[0]);
    let error = chain.follow(&signed(&other, 0)).unwrap_err();
    assert!(
        matches!(
            error,
            KeyChainError::Refused(SignedTextError::OtherTarget { .. })
        ),
        "{error}"
    );
    let error = chain.follow(&list(1, &[1], 1)).unwrap_err();
    assert!(
        matches!(
            error,
            KeyChainError::Refused(SignedTextError::Signature { .. })
        ),
        "{error}"
    );
    assert_eq!(chain.newest(), None);
}

#[test]
fn an_expired_list_gives_no_publishers_but_names_the_next_root_keys() {
    let mut chain = chain(&[0]);
    assert_eq!(chain.publishers(ISSUED), []);
    chain.follow(&list(1, &[1], 0)).unwrap();
    assert_eq!(chain.publishers(UnixTime(EXPIRES.0 - 1)), keys(&[0]));
    assert_eq!(chain.publishers(EXPIRES), []);
    assert_eq!(chain.roots(), keys(&[1]));
    let renewed = KeyList::new(
        TARGET,
        2,
        keys(&[1]),
        vec![PublisherKey::unrestricted(key(3))],
        EXPIRES,
        EXPIRES.plus(100),
    );
    let followed = chain.follow(&signed(&renewed.unwrap(), 1));
    assert_eq!(followed.unwrap(), Followed::Changed);
    assert_eq!(chain.publishers(EXPIRES), keys(&[3]));
}

#[test]
fn renewals_do_not_make_a_chain_longer() {
    let mut chain = chain(&[0, 1]);
    for serial in 1..=100 {
        let renewed = list(serial, &[0, 1], usize::from(serial.is_multiple_of(3)));
        chain.follow(&renewed).unwrap();
        assert!(chain.lists().len() <= 2);
        assert_eq!(chain.serial(), serial);
    }
}

#[test]
fn a_full_chain_refuses_more_changes_of_the_root_keys() {
    let mut chain = chain(&[1, 0]);
    for serial in 1..=32 {
        let number = usize::try_from(serial).unwrap();
        let roots = [1, 0, 2 + number % 2];
        chain.follow(&list(serial, &roots, 0)).unwrap();
    }
    assert_eq!(chain.lists().len(), MAX_LINKS);
    let error = chain.follow(&list(33, &[1, 0], 0)).unwrap_err();
    assert!(
        matches!(error, KeyChainError::TooMany { given: 33 }),
        "{error}"
    );
    assert_eq!(chain.serial(), 32);
    // A thief who has filled the chain cannot keep out the root key of highest rank.
    let naming_the_thief = list(1, &[1, 0, 4], 1);
    let followed = chain.follow(&naming_the_thief).unwrap();
    assert_eq!(followed, Followed::Changed);
    assert!(chain.lists().len() <= MAX_LINKS);
    let without = list(40, &[1], 1);
    chain.follow(&without).unwrap();
    assert_eq!(chain.newest().unwrap().digest(), without.digest());
}

#[test]
fn a_device_that_has_the_newest_list_receives_none() {
    let lists = [list(1, &[0, 1], 0), list(2, &[1], 0), list(3, &[2], 1)];
    let mut chain = chain(&[0]);
    assert!(chain.follow_all(&lists).is_empty());
    let sent = |held: Option<KeyListId>| -> Vec<String> {
        let lists = chain.lists_after(held);
        let text = |list: &SignedKeyList| list.text().to_owned();
        lists.map(text).collect()
    };
    let texts: Vec<String> = lists.iter().map(|list| list.text().to_owned()).collect();
    let id = |serial: u64| KeyListId {
        serial,
        digest: lists[usize::try_from(serial).unwrap() - 1].digest(),
    };
    assert_eq!(sent(None), texts);
    assert_eq!(sent(Some(id(2))), texts[2..]);
    assert_eq!(sent(Some(id(3))), [""; 0]);
    // The device follows another list with the same number, as after a fork.
    let fork = KeyListId {
        serial: 3,
        digest: lists[0].digest(),
    };
    assert_eq!(sent(Some(fork)), texts);
}

#[test]
fn error_messages() {
    insta::assert_snapshot!(messages([
        KeyChainError::UnnamedRoot { given: 2 },
        KeyChainError::Outranked { given: 2, held: 3 },
        KeyChainError::TooMany { given: 33 },
    ]), @"
    key list 2 is signed by a root key that the key list before it does not name
    key list 2 does not replace key list 3: only a root key of higher rank replaces a list
    cannot follow key list 33: the root keys have changed 32 times; put the present root keys into the configuration
    ");
}

fn roots() -> impl Strategy<Value = Vec<usize>> {
    proptest::sample::subsequence(vec![0, 1, 2, 3, 4, 5], 1..=4).prop_shuffle()
}

/// Lists by thieves of any root key but key 0, and by keys that they add.
fn stolen() -> impl Strategy<Value = Vec<SignedKeyList>> {
    let stolen = (1_u64..12, roots(), 1_usize..6)
        .prop_map(|(serial, roots, signer)| list(serial, &roots, signer));
    proptest::collection::vec(stolen, 0..8)
}

/// Lists by the owner of key 0 with rising numbers. The last list names no other root key.
fn owned() -> impl Strategy<Value = Vec<SignedKeyList>> {
    let others = proptest::sample::subsequence(vec![1, 2, 3, 4], 0..=3).prop_shuffle();
    let lists = proptest::collection::vec((1_u64..4, others), 1..4);
    lists.prop_map(|lists| {
        let end = lists.len() - 1;
        let mut serial = 0;
        let owned = |(index, (step, others)): (usize, (u64, Vec<usize>))| {
            serial += step;
            let others = if index == end { &[] } else { &others[..] };
            list(serial, &[&[0], others].concat(), 0)
        };
        lists.into_iter().enumerate().map(owned).collect()
    })
}

/// An honest history: a root key of each list signs the next list.
fn honest() -> impl Strategy<Value = Vec<SignedKeyList>> {
    let steps = proptest::collection::vec((roots(), any::<proptest::sample::Index>()), 1..8);
    steps.prop_map(|steps| {
        let mut before = vec![0, 1];
        let mut serial = 0;
        let step = |(roots, signer): (Vec<usize>, proptest::sample::Index)| {
            serial += 1;
            let signer = *signer.get(&before);
            before.clone_from(&roots);
            list(serial, &roots, signer)
        };
        steps.into_iter().map(step).collect()
    })
}

fn shuffled(mut lists: Vec<SignedKeyList>, seed: u64) -> Vec<SignedKeyList> {
    lists.sort_by_key(|list| {
        let bytes = [list.digest().as_bytes(), &seed.to_be_bytes()[..]].concat();
        crate::digest::Sha256Digest::of(&bytes)
    });
    lists
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The chain of a device that sees every list, in any order, ends with the last list of the
    /// owner of the highest root key, and stays there.
    #[test]
    fn the_owner_of_the_highest_root_key_wins(stolen in stolen(), owned in owned(), seed: u64) {
        let last = owned.last().unwrap().digest();
        let mut chain = chain(&[0, 1, 2, 3]);
        let rounds = owned.len() + 1;
        let all = [stolen, owned].concat();
        for round in 0..rounds as u64 {
            chain.follow_all(&shuffled(all.clone(), seed ^ round));
        }
        prop_assert_eq!(chain.newest().unwrap().digest(), last);
        prop_assert_eq!(chain.publishers(ISSUED), keys(&[0]));
        let settled = chain.clone();
        chain.follow_all(&all);
        prop_assert_eq!(chain, settled);
    }

    /// Holds for lists by anybody in any order.
    #[test]
    fn a_root_key_that_the_list_before_names_has_signed_each_list(stolen in stolen(), owned in owned(), seed: u64) {
        let mut chain = chain(&[1, 0]);
        for signed in shuffled([stolen, owned].concat(), seed) {
            let newest = chain.newest().map(VerifiedKeyList::id);
            let result = chain.follow(&signed);
            if result.is_err() {
                prop_assert_eq!(chain.newest().map(VerifiedKeyList::id), newest);
            }
        }
        let (mut serial, mut roots) = (0, keys(&[1, 0]));
        for signed in chain.lists() {
            let verified = signed.verify(TARGET, &roots).unwrap();
            prop_assert!(verified.serial() > serial);
            (serial, roots) = (verified.serial(), verified.roots().to_vec());
        }
        prop_assert_eq!((chain.serial(), chain.roots()), (serial, &roots[..]));
    }

    #[test]
    fn a_stored_chain_reads_back(stolen in stolen(), owned in owned(), seed: u64) {
        let mut held = chain(&[1, 0]);
        held.follow_all(&shuffled([stolen, owned].concat(), seed));
        let mut read = chain(&[1, 0]);
        let errors = read.follow_all(held.lists());
        prop_assert!(errors.is_empty(), "{errors:?}");
        prop_assert_eq!(read, held);
    }

    /// A device that follows an honest history at any pace has the newest list after each reply.
    #[test]
    fn a_reply_brings_a_device_to_the_newest_list(lists in honest(), cut in 0_usize..8) {
        let (first, later) = lists.split_at(cut.min(lists.len()));
        let mut function = chain(&[0, 1]);
        function.follow_all(first);
        let mut device = chain(&[0, 1]);
        device.follow_all(function.lists());
        prop_assert_eq!(&device, &function);
        function.follow_all(later);
        let newest = device.newest().map(VerifiedKeyList::id);
        let reply: Vec<SignedKeyList> = function.lists_after(newest).cloned().collect();
        device.follow_all(&reply);
        prop_assert_eq!(device.newest().map(VerifiedKeyList::id), function.newest().map(VerifiedKeyList::id));
    }
}
