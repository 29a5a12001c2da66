//! Proofs, changes and differences of partial trees.

use std::collections::BTreeSet;

use packcast_protocol::Sha256Digest;
use packcast_protocol::state::{
    HiddenNodes, LeafChange, Lookup, MAX_DEVICE_TREE_BYTES, NodeHash, PartialTree, PartialTreeError,
};
use proptest::prelude::*;

use super::{
    Changes, Leaves, apply, changes, expected, group, leaves, names, opposite_names, read,
    some_tree, tree_of,
};

fn hash_of_hidden(lookup: Lookup) -> Option<NodeHash> {
    match lookup {
        Lookup::Hidden(hash) => Some(hash),
        Lookup::Present(_) | Lookup::Absent => None,
    }
}

proptest! {
    #[test]
    fn order_of_changes_does_not_matter(start in leaves(120), history in proptest::collection::vec(changes(), 0..6)) {
        let mut leaves = start;
        let mut tree = tree_of(&leaves);
        for changes in history {
            let before = leaves.clone();
            apply(&mut leaves, &changes);
            let after = tree.update(&changes).unwrap();
            prop_assert_eq!(&after, &tree_of(&leaves));
            let shown: Leaves = after.leaves().map(|(name, digest)| (name.clone(), digest)).collect();
            prop_assert_eq!(&shown, &leaves);
            let all: BTreeSet<_> = before.keys().chain(leaves.keys()).collect();
            let differences: Vec<_> = all
                .into_iter()
                .map(|name| LeafChange {
                    name: name.clone(),
                    before: before.get(name).copied(),
                    after: leaves.get(name).copied(),
                })
                .filter(|change| change.before != change.after)
                .collect();
            prop_assert_eq!(tree.diff(&after).unwrap(), differences);
            tree = after;
        }
    }

    #[test]
    fn bytes_are_read_back(leaves in leaves(120)) {
        let tree = tree_of(&leaves);
        prop_assert_eq!(&read(&tree.to_bytes()).unwrap(), &tree);
        let json = serde_json::to_string(&tree).unwrap();
        prop_assert_eq!(serde_json::from_str::<PartialTree>(&json).unwrap(), tree);
    }

    #[test]
    fn proofs_show_presence_and_absence(leaves in leaves(160), asked in names(), others in names()) {
        let tree = tree_of(&leaves);
        let proof = read(&tree.prove(&asked).unwrap().to_bytes()).unwrap();
        prop_assert_eq!(proof.root(), tree.root());
        for name in &asked {
            prop_assert_eq!(proof.lookup(name), expected(&leaves, name));
        }
        for name in &others {
            let found = proof.lookup(name);
            prop_assert!(matches!(found, Lookup::Hidden(_)) || found == expected(&leaves, name));
        }
        let other = tree.prove(&others).unwrap();
        let hidden: BTreeSet<_> = others.iter().map(|name| proof.lookup(name)).filter_map(hash_of_hidden).collect();
        match proof.prove(&others) {
            Ok(smaller) => prop_assert!(hidden.is_empty() && smaller == other),
            Err(error) => prop_assert_eq!(error.hashes(), Vec::from_iter(hidden)),
        }
        let both = proof.merge(&other).unwrap();
        prop_assert_eq!(&both, &other.merge(&proof).unwrap());
        prop_assert_eq!(&both, &tree.prove(asked.union(&others)).unwrap());
        prop_assert_eq!(&both.merge(&tree).unwrap(), &tree);
        prop_assert_eq!(proof.diff(&tree).unwrap(), []);
    }

    #[test]
    fn flipped_bits_change_the_root(leaves in leaves(160), asked in names(), at: prop::sample::Index) {
        let tree = tree_of(&leaves);
        let mut bytes = tree.prove(&asked).unwrap().to_bytes();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(damaged) = read(&bytes) {
            prop_assert_ne!(damaged.root(), tree.root());
        }
    }

    #[test]
    fn a_partial_tree_changes_as_the_whole_tree(leaves in leaves(160), mut shown in names(), changes in changes(), paths: bool) {
        let tree = tree_of(&leaves);
        if paths {
            shown.extend(changes.keys().cloned());
        }
        let partial = tree.prove(&shown).unwrap();
        match partial.update(&changes) {
            Ok(after) => {
                prop_assert_eq!(after.root(), tree.update(&changes).unwrap().root());
                // The encoding refuses trees that are not canonical.
                prop_assert_eq!(read(&after.to_bytes()).unwrap(), after);
            }
            Err(hidden) => {
                let bytes = partial.to_bytes();
                for hash in hidden.hashes() {
                    prop_assert!(bytes.windows(32).any(|part| part == hash.as_bytes()));
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..600)) {
        if let Ok(tree) = read(&bytes) {
            prop_assert_eq!(tree.to_bytes(), bytes);
        }
    }
}

#[test]
fn each_flipped_bit_of_a_proof_changes_the_root() {
    let tree = some_tree(20);
    let bytes = tree.prove(&[group("7"), group("x")]).unwrap().to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let same = read(&damaged).is_ok_and(|read| read.root() == tree.root());
        assert!(!same, "bit {bit}");
    }
}

#[test]
fn of_two_leaves_with_one_name_the_last_counts() {
    let digest = |byte| Sha256Digest::from_bytes([byte; 32]);
    let leaves = [1, 2, 3].map(|byte| (group("lab"), digest(byte)));
    let tree = PartialTree::from_leaves(leaves);
    assert_eq!(tree, PartialTree::from_leaves([(group("lab"), digest(3))]));
}

#[test]
fn a_removal_next_to_a_hidden_part_names_its_hash() {
    // Two names whose keys differ in the first bit: the tree is a branch of two leaves.
    let (stays, goes) = opposite_names();
    let digest = Sha256Digest::of(b"");
    let tree = PartialTree::from_leaves([(stays.clone(), digest), (goes.clone(), digest)]);
    let partial = tree.prove([&goes]).unwrap();
    let Lookup::Hidden(sibling) = partial.lookup(&stays) else {
        panic!("the sibling is shown");
    };
    let removal = Changes::from([(goes, None)]);
    let hidden = partial.update(&removal).unwrap_err();
    assert_eq!(hidden.hashes(), [sibling]);
    let rest = tree.update(&removal).unwrap();
    assert_eq!(rest, PartialTree::from_leaves([(stays, digest)]));
    assert_eq!(rest.root(), sibling);
}

#[test]
fn proofs_of_different_trees_are_not_merged() {
    let (one, other) = (some_tree(2), some_tree(3));
    assert_eq!(
        one.merge(&other),
        Err(PartialTreeError::OtherHash {
            expected: one.root(),
            found: other.root()
        })
    );
}

#[test]
fn differences_name_hidden_parts() {
    let tree = some_tree(20);
    let after = tree.update(&Changes::from([(group("7"), None)])).unwrap();
    let hidden = PartialTree::hidden(tree.root());
    assert_eq!(hidden.diff(&after).unwrap_err().hashes(), [tree.root()]);
    let mut both = [tree.root(), after.root()];
    both.sort_unstable();
    let error: HiddenNodes = hidden.diff(&PartialTree::hidden(after.root())).unwrap_err();
    assert_eq!(error.hashes(), both);
    assert_eq!(hidden.diff(&hidden).unwrap(), []);
}

#[test]
fn deep_trees_do_not_exhaust_the_stack() {
    let hidden = [&[3][..], &[7; 32]].concat();
    let chain = move |levels: usize| [[2, 0].repeat(levels), hidden.clone()].concat();
    // On a small stack, the deepest tree is read, shown, compared, written and dropped.
    let deepest = chain(256);
    let work = move || {
        let tree = read(&deepest).unwrap();
        assert_eq!(tree.to_bytes(), deepest);
        assert_eq!(tree.merge(&tree).unwrap(), tree);
        assert_eq!(tree.prove([]).unwrap(), PartialTree::hidden(tree.root()));
        assert!(tree.diff(&PartialTree::from_leaves([])).is_err());
        assert!(tree.update(&Changes::from([(group("lab"), None)])).is_ok());
        assert!(read(&chain(257)).is_err());
        assert!(PartialTree::read(&[2].repeat(1 << 20), 1 << 20).is_err());
    };
    std::thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn trees_over_the_limit_are_refused_unread() {
    let bytes = some_tree(3).to_bytes();
    assert!(PartialTree::read(&bytes, bytes.len()).is_ok());
    assert!(PartialTree::read(&bytes, bytes.len() - 1).is_err());
    let long = "A".repeat(MAX_DEVICE_TREE_BYTES * 2);
    assert!(matches!(
        long.parse::<PartialTree>(),
        Err(PartialTreeError::TooLong { .. })
    ));
}
