//! The trees of the signed state, compared with an independent computation.
//!
//! `protocol/tests/vectors/trie.py` writes the examples.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use packcast_protocol::Sha256Digest;
use packcast_protocol::state::{
    LeafKey, LeafName, Lookup, MAX_DEVICE_TREE_BYTES, NodeHash, PagedTree, PartialTree,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    keys: Vec<NamedKey>,
    trees: Vec<Tree>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct NamedKey {
    name: LeafName,
    key: String,
}

#[derive(Deserialize)]
struct Tree {
    leaves: Vec<Leaf>,
    root: NodeHash,
    bytes: Hex,
    proofs: Vec<Proof>,
    pages: Vec<Page>,
}

#[derive(Deserialize)]
struct Leaf {
    name: LeafName,
    digest: Sha256Digest,
}

#[derive(Deserialize)]
struct Proof {
    names: Vec<Proven>,
    bytes: Hex,
}

#[derive(Deserialize)]
struct Proven {
    name: LeafName,
    present: bool,
}

#[derive(Deserialize)]
struct Page {
    hash: NodeHash,
    bytes: Hex,
}

#[derive(Deserialize)]
struct Refused {
    reason: String,
    bytes: Hex,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Hex(Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = data_encoding::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        HEXLOWER.decode(text.as_bytes()).map(Self)
    }
}

fn vectors() -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/trie.json");
    let bytes = fs::read(path).expect("the directory is part of the repository");
    serde_json::from_slice(&bytes).expect("trie.py writes this form")
}

fn read(bytes: &[u8]) -> PartialTree {
    PartialTree::read(bytes, MAX_DEVICE_TREE_BYTES).expect("the tree is canonical")
}

#[test]
fn keys_agree() {
    for NamedKey { name, key } in vectors().keys {
        let expected = format!("key:{key}");
        assert_eq!(format!("{:?}", LeafKey::of(&name)), expected, "{name}");
    }
}

#[test]
fn roots_and_bytes_agree() {
    for expected in vectors().trees {
        let leaves = expected
            .leaves
            .iter()
            .map(|leaf| (leaf.name.clone(), leaf.digest));
        let tree = PartialTree::from_leaves(leaves);
        assert_eq!(tree.root(), expected.root);
        assert_eq!(tree.to_bytes(), expected.bytes.0);
        assert_eq!(read(&expected.bytes.0), tree);
    }
}

#[test]
fn proofs_agree() {
    for expected in vectors().trees {
        let tree = read(&expected.bytes.0);
        let digests: BTreeMap<_, _> = tree.leaves().collect();
        for Proof { names, bytes } in expected.proofs {
            let proof = tree.prove(names.iter().map(|proven| &proven.name)).unwrap();
            assert_eq!(proof.to_bytes(), bytes.0);
            let proof = read(&bytes.0);
            assert_eq!(proof.root(), expected.root);
            for Proven { name, present } in names {
                let expected = digests
                    .get(&name)
                    .map_or(Lookup::Absent, |d| Lookup::Present(*d));
                assert_eq!(proof.lookup(&name), expected);
                assert_eq!(matches!(expected, Lookup::Present(_)), present);
            }
        }
    }
}

#[test]
fn pages_agree() {
    for expected in vectors().trees {
        let changes = expected
            .leaves
            .iter()
            .map(|leaf| (leaf.name.clone(), Some(leaf.digest)))
            .collect();
        let updated = PagedTree::new(NodeHash::EMPTY).update(&changes).unwrap();
        assert_eq!(updated.tree.root(), expected.root);
        let pages: Vec<_> = expected
            .pages
            .into_iter()
            .map(|page| (page.hash, page.bytes.0))
            .collect();
        assert_eq!(updated.pages, pages);
        let mut loaded = PagedTree::new(expected.root);
        for (hash, bytes) in pages.iter().rev() {
            loaded.insert_page(*hash, bytes).unwrap();
        }
        assert_eq!(*loaded.tree(), read(&expected.bytes.0));
    }
}

#[test]
fn damaged_trees_are_refused() {
    for Refused { reason, bytes } in vectors().refused {
        let read = PartialTree::read(&bytes.0, MAX_DEVICE_TREE_BYTES);
        assert!(read.is_err(), "{reason}: {read:?}");
    }
}

#[test]
fn the_worked_example_is_the_documented_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/state.md");
    let document: String = fs::read_to_string(path)
        .unwrap()
        .split_whitespace()
        .collect();
    let trees = vectors().trees;
    let example = trees.iter().find(|tree| tree.leaves.len() == 2).unwrap();
    assert!(document.contains(&example.root.to_string()));
    assert!(document.contains(&HEXLOWER.encode(&example.bytes.0)));
    for proof in &example.proofs {
        assert!(document.contains(&HEXLOWER.encode(&proof.bytes.0)));
    }
}
