//! Properties of the trees of the signed state, over random sets, changes and pages.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::Sha256Digest;
use packcast_protocol::state::{
    HiddenNodes, LeafChange, LeafName, Lookup, MAX_DEVICE_TREE_BYTES, MAX_PAGE_BYTES, NodeHash,
    PagedTree, PartialTree, PartialTreeError, UpdatedTree,
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

fn hash_of_hidden(lookup: Lookup) -> Option<NodeHash> {
    match lookup {
        Lookup::Hidden(hash) => Some(hash),
        Lookup::Present(_) | Lookup::Absent => None,
    }
}

fn read(bytes: &[u8]) -> Result<PartialTree, PartialTreeError> {
    PartialTree::read(bytes, MAX_DEVICE_TREE_BYTES)
}

/// Stored pages, by hash. A page stays as it was stored first.
#[derive(Default)]
struct Pages(BTreeMap<NodeHash, Vec<u8>>);

impl Pages {
    fn load(&self, tree: &mut PagedTree, hashes: &[NodeHash]) {
        assert!(!hashes.is_empty());
        for hash in hashes {
            tree.insert_page(*hash, &self.0[hash])
                .expect("the page is intact");
        }
    }

    /// Loads pages until the tree shows the paths to these names.
    fn show(&self, tree: &mut PagedTree, names: &BTreeSet<LeafName>) {
        loop {
            let missing = tree.missing(names);
            if missing.is_empty() {
                return;
            }
            self.load(tree, &missing);
        }
    }

    /// Changes a tree, stores its new pages, and returns the changed tree.
    fn update(&mut self, mut tree: PagedTree, changes: &Changes) -> PagedTree {
        let mut loaded = BTreeSet::new();
        loop {
            match tree.update(changes) {
                Err(hidden) => {
                    self.load(&mut tree, hidden.hashes());
                    loaded.extend(hidden.hashes().to_vec());
                }
                Ok(UpdatedTree { tree, pages }) => {
                    for (hash, bytes) in pages {
                        assert!(bytes.len() <= MAX_PAGE_BYTES);
                        assert!(loaded.insert(hash), "{hash} is written twice or stored");
                        self.0.entry(hash).or_insert(bytes);
                    }
                    return tree;
                }
            }
        }
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

    #[test]
    fn pages_hold_the_tree(history in proptest::collection::vec((changes(), any::<bool>()), 0..8), asked in names()) {
        let mut leaves = Leaves::new();
        let mut pages = Pages::default();
        let mut tree = PagedTree::new(NodeHash::EMPTY);
        let mut roots = vec![(tree.root(), leaves.clone())];
        for (changes, forget) in history {
            apply(&mut leaves, &changes);
            if forget {
                tree = PagedTree::new(tree.root());
            }
            tree = pages.update(tree, &changes);
            prop_assert_eq!(tree.root(), tree_of(&leaves).root());
            roots.push((tree.root(), leaves.clone()));
        }
        // No change damages an earlier tree.
        for (root, leaves) in &roots {
            let mut tree = PagedTree::new(*root);
            pages.show(&mut tree, &asked);
            for name in &asked {
                prop_assert_eq!(tree.tree().lookup(name), expected(leaves, name));
            }
            let proof = tree.tree().prove(&asked).unwrap();
            prop_assert_eq!(proof, tree_of(leaves).prove(&asked).unwrap());
        }
    }

    #[test]
    fn flipped_bits_in_pages_are_refused(leaves in leaves(160), page: prop::sample::Index, at: prop::sample::Index) {
        let changes = leaves.into_iter().map(|(name, digest)| (name, Some(digest))).collect();
        let UpdatedTree { tree: whole, mut pages } =
            PagedTree::new(NodeHash::EMPTY).update(&changes).unwrap();
        prop_assume!(!pages.is_empty());
        let damaged = page.index(pages.len());
        let bytes = &mut pages[damaged].1;
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut tree = PagedTree::new(whole.root());
        for (number, (hash, bytes)) in pages.iter().enumerate().rev() {
            if number == damaged {
                let before = tree.tree().clone();
                prop_assert!(tree.insert_page(*hash, bytes).is_err());
                prop_assert_eq!(tree.tree(), &before);
                prop_assert!(tree.has_place_for(hash));
            } else if tree.has_place_for(hash) {
                tree.insert_page(*hash, bytes).unwrap();
            }
        }
    }
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

#[test]
fn a_change_writes_as_many_pages_as_it_loads() {
    let mut pages = Pages::default();
    let leaves = some_tree(1_000);
    let all = leaves
        .leaves()
        .map(|(name, digest)| (name.clone(), Some(digest)));
    let root = pages
        .update(PagedTree::new(NodeHash::EMPTY), &all.collect())
        .root();
    for n in 0..100 {
        let name = group(&n.to_string());
        let mut tree = PagedTree::new(root);
        let mut loaded = 0;
        while let [missing] = tree.missing([&name])[..] {
            pages.load(&mut tree, &[missing]);
            loaded += 1;
        }
        let change = Changes::from([(name, Some(Sha256Digest::of(b"changed")))]);
        let updated = tree.update(&change).unwrap();
        assert_eq!(updated.pages.len(), loaded);
        assert_eq!(updated.tree.update(&change).unwrap().pages, []);
    }
}

#[test]
fn pages_without_their_place_are_refused() {
    let whole = some_tree(3);
    let mut tree = PagedTree::new(whole.root());
    let other = some_tree(2);
    assert_eq!(
        tree.insert_page(other.root(), &other.to_bytes()),
        Err(PartialTreeError::UnexpectedPage { hash: other.root() })
    );
    assert_eq!(
        tree.insert_page(whole.root(), &other.to_bytes()),
        Err(PartialTreeError::OtherHash {
            expected: whole.root(),
            found: other.root()
        })
    );
    tree.insert_page(whole.root(), &whole.to_bytes()).unwrap();
    assert_eq!(tree.insert_page(whole.root(), b"again, unread"), Ok(()));
    assert_eq!(*tree.tree(), whole);
}

#[test]
fn pages_that_show_nothing_or_repeat_a_hash_are_refused() {
    let hidden = |hash: NodeHash| [&[3][..], hash.as_bytes()].concat();
    let part = NodeHash::from_bytes([7; 32]);
    let repeated = [vec![2], hidden(part), hidden(part)].concat();
    let root = read(&repeated).unwrap().root();
    let mut tree = PagedTree::new(root);
    for (page, hash) in [(hidden(root), root), (repeated, part)] {
        assert_eq!(
            tree.insert_page(root, &page),
            Err(PartialTreeError::RepeatedPage { hash })
        );
    }
    assert_eq!(tree.missing(&[group("lab")]), [root]);
}

#[test]
fn a_page_with_one_leaf_next_to_an_empty_set_is_refused() {
    // Only a publisher who signs a wrong tree can produce such a root.
    let (name, _) = opposite_names();
    let leaf = PartialTree::from_leaves([(name.clone(), Sha256Digest::of(b""))]);
    let hidden = [&[3][..], leaf.root().as_bytes()].concat();
    let trees = [
        [&[2, 0][..], &hidden].concat(),
        [&[2][..], &hidden, &[0]].concat(),
    ];
    let errors = trees.map(|bytes| {
        let root = read(&bytes).unwrap().root();
        let mut tree = PagedTree::new(root);
        tree.insert_page(root, &bytes).unwrap();
        let error = tree.insert_page(leaf.root(), &leaf.to_bytes()).unwrap_err();
        assert_eq!(*tree.tree(), read(&bytes).unwrap());
        error
    });
    // On one side of the branch, the leaf is not on the path of its key.
    assert!(errors.contains(&PartialTreeError::NotCanonical));
    assert!(errors.contains(&PartialTreeError::Misplaced { name }));
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
