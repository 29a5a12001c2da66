//! Trees in pages.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::Sha256Digest;
use packcast_protocol::state::{
    LeafName, MAX_PAGE_BYTES, NodeHash, PagedTree, PartialTree, PartialTreeError, UpdatedTree,
};
use proptest::prelude::*;

use super::{
    Changes, Leaves, apply, changes, expected, group, leaves, names, opposite_names, read,
    some_tree, tree_of,
};

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
