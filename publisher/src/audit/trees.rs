//! Checks of the trees of the head: every page and every document.

use std::collections::BTreeSet;

use packcast_protocol::state::{LeafName, PagedTree, PartialTree};
use packcast_rollout::state::StatePart;
use packcast_store::Records;

use super::Findings;
use super::finding::Finding;
use crate::state::{StateError, Trees};

/// Number of devices whose documents are read at once.
const DEVICES_AT_ONCE: usize = 1_000;

/// The trees of the head that are whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadedTrees {
    /// The trees of groups and of devices.
    pub(super) content: bool,
    pub(super) ancestors: bool,
}

/// Loads every page of the head, and builds each tree again from its leaves.
pub(super) async fn load_all(
    records: &Records,
    trees: &mut Trees,
    found: &mut Findings,
) -> Result<LoadedTrees, StateError> {
    let groups = load(records, trees, ("groups", |it| &mut it.groups), found).await?;
    let devices = load(records, trees, ("devices", |it| &mut it.devices), found).await?;
    let ancestors = ("ancestors", (|it| &mut it.ancestors) as TreeOf);
    Ok(LoadedTrees {
        content: groups && devices,
        ancestors: load(records, trees, ancestors, found).await?,
    })
}

type TreeOf = fn(&mut Trees) -> &mut PagedTree;

/// Returns false if a page is missing or damaged.
async fn load(
    records: &Records,
    trees: &mut Trees,
    (name, tree): (&'static str, TreeOf),
    found: &mut Findings,
) -> Result<bool, StateError> {
    match trees.load_all(records, tree).await {
        Ok(()) => {
            found.extend(other_root(name, tree(trees).tree()));
            Ok(true)
        }
        Err(source) if source.is_of_content() => {
            found.push(Finding::Tree { tree: name, source });
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn other_root(name: &'static str, tree: &PartialTree) -> Option<Finding> {
    let leaves = tree.leaves().map(|(name, digest)| (name.clone(), digest));
    let (expected, found) = (tree.root(), PartialTree::from_leaves(leaves).root());
    (expected != found).then_some(Finding::OtherRoot {
        tree: name,
        expected,
        found,
    })
}

/// Reads all documents of the head. Returns `None` if one of them is missing or damaged.
pub(super) async fn read_all(
    records: &Records,
    trees: &mut Trees,
    found: &mut Findings,
) -> Result<Option<StatePart>, StateError> {
    let names = |tree: &PagedTree| -> Vec<LeafName> {
        tree.tree().leaves().map(|(name, _)| name.clone()).collect()
    };
    let (groups, devices) = (names(&trees.groups), names(&trees.devices));
    let mut part = StatePart::default();
    for names in std::iter::once(&groups[..]).chain(devices.chunks(DEVICES_AT_ONCE)) {
        let names: BTreeSet<LeafName> = names.iter().cloned().collect();
        match trees.part(records, names).await {
            Ok(read) => part.extend(read),
            Err(error) if error.is_of_content() => {
                found.push(Finding::Documents(error));
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(part))
}
