//! The trees of the signed state, with random sets, changes and pages.

mod pages;
mod partial;

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::Sha256Digest;
use packcast_protocol::state::{
    LeafName, Lookup, MAX_DEVICE_TREE_BYTES, PartialTree, PartialTreeError,
};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

type Leaves = BTreeMap<LeafName, Sha256Digest>;
type Changes = BTreeMap<LeafName, Option<Sha256Digest>>;

/// Names from a small set, so that changes meet existing leaves.
fn name() -> impl Strategy<Value = LeafName> {
    (0..160_u16).prop_map(|n| group(&n.to_string()))
}

fn digest() -> impl Strategy<Value = Sha256Digest> {
    any::<u8>().prop_map(|byte| Sha256Digest::from_bytes([byte; 32]))
}

fn leaves(max: usize) -> impl Strategy<Value = Leaves> {
    proptest::collection::btree_map(name(), digest(), 0..max)
}

fn changes() -> impl Strategy<Value = Changes> {
    prop_oneof![
        proptest::collection::btree_map(name(), proptest::option::of(digest()), 0..4),
        proptest::collection::btree_map(name(), proptest::option::of(digest()), 0..120),
        proptest::collection::btree_map(name(), Just(None), 0..120),
    ]
}

fn names() -> impl Strategy<Value = BTreeSet<LeafName>> {
    proptest::collection::btree_set(name(), 0..6)
}

fn tree_of(leaves: &Leaves) -> PartialTree {
    PartialTree::from_leaves(leaves.iter().map(|(name, digest)| (name.clone(), *digest)))
}

fn apply(leaves: &mut Leaves, changes: &Changes) {
    for (name, digest) in changes {
        match digest {
            Some(digest) => leaves.insert(name.clone(), *digest),
            None => leaves.remove(name),
        };
    }
}

fn expected(leaves: &Leaves, name: &LeafName) -> Lookup {
    leaves
        .get(name)
        .map_or(Lookup::Absent, |digest| Lookup::Present(*digest))
}

fn read(bytes: &[u8]) -> Result<PartialTree, PartialTreeError> {
    PartialTree::read(bytes, MAX_DEVICE_TREE_BYTES)
}

fn group(name: &str) -> LeafName {
    let name = format!("group/{name}");
    name.parse().expect("the name of a group")
}

fn some_tree(count: u16) -> PartialTree {
    PartialTree::from_leaves((0..count).map(|n| {
        let name = group(&n.to_string());
        let digest = Sha256Digest::of(name.to_string().as_bytes());
        (name, digest)
    }))
}

/// Returns the names of two groups whose keys differ in the first bit.
fn opposite_names() -> (LeafName, LeafName) {
    let first_bit = |name: &LeafName| {
        let key = Sha256::new()
            .chain_update(b"packcast/key\0")
            .chain_update(name.to_string());
        key.finalize()[0] >> 7
    };
    let all = group("all");
    let other = (0..100)
        .map(|n| group(&n.to_string()))
        .find(|name| first_bit(name) != first_bit(&all))
        .expect("half of the names differ");
    (all, other)
}
