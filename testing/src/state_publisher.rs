//! A publisher for tests below the real one: it commits any documents of a target.

use std::collections::BTreeMap;

use packcast_protocol::state::commit::next_number;
use packcast_protocol::state::{
    Commit, CommitFields, CommitId, DocumentText, KeyListId, LeafName, NodeHash, PagedTree,
    SignedKeyList, UpdatedTree,
};
use packcast_protocol::{Sha256Digest, UnixTime};
use packcast_store::Records;
use packcast_store::records::{Head, HeadChange, HeadChanged};

use crate::commits::{TARGET, key_list, signed_commit};

/// A publisher that stores lists, pages, documents and commits as the real publisher does. It
/// checks none of the rules for changes.
///
/// Its trees stay in memory, so it cannot continue the state of another publisher, except that of a
/// new target.
#[derive(Debug)]
pub struct StatePublisher {
    records: Records,
    list: KeyListId,
    head: Option<Head>,
    groups: PagedTree,
    devices: PagedTree,
    ancestors: PagedTree,
}

type Leaves = BTreeMap<LeafName, Option<Sha256Digest>>;

impl StatePublisher {
    /// Continues the empty state of a new target, or stores the first key list of a table without a
    /// target, signed at this time.
    ///
    /// # Panics
    /// The target has a group or a device.
    pub async fn start(records: &Records, now: UnixTime) -> Self {
        let empty = || PagedTree::new(NodeHash::EMPTY);
        let lists = records.lists_after(0).await;
        let lists = lists.expect("key lists can be read");
        let (first, signed) = key_list(1, now);
        let mut publisher = Self {
            records: records.clone(),
            list: first,
            head: records.head().await.expect("the head can be read"),
            groups: empty(),
            devices: empty(),
            ancestors: empty(),
        };
        match lists.last() {
            Some(newest) => publisher.list.digest = newest.digest(),
            None => publisher.store_list(&signed).await,
        }
        if let Some(head) = &publisher.head {
            let commit = serde_json::from_str::<Commit>(head.commit.signed.text());
            let commit = commit.expect("the head is a commit");
            let roots = [commit.groups, commit.devices, commit.ancestors];
            assert_eq!(roots, [NodeHash::EMPTY; 3], "the target is new");
        }
        publisher
    }

    /// Stores the next key list, signed at this time.
    ///
    /// # Panics
    /// The table already has this list.
    pub async fn next_list(&mut self, now: UnixTime) {
        let (list, signed) = key_list(self.list.serial + 1, now);
        self.list = list;
        self.store_list(&signed).await;
    }

    /// Commits documents (`Some`) and removals (`None`), and returns the new head.
    ///
    /// # Panics
    /// The head is not the last commit of this publisher.
    pub async fn commit(
        &mut self,
        changes: impl IntoIterator<Item = (LeafName, Option<DocumentText>)>,
        now: UnixTime,
    ) -> CommitId {
        let (mut groups, mut devices, mut texts) = (Leaves::new(), Leaves::new(), Vec::new());
        for (name, text) in changes {
            let tree = match name {
                LeafName::Device(_) => &mut devices,
                _ => &mut groups,
            };
            tree.insert(name, text.as_ref().map(DocumentText::digest));
            texts.extend(text);
        }
        texts.sort_unstable_by_key(DocumentText::digest);
        texts.dedup();
        let parent = self.head.as_ref().map(|head| head.commit.id);
        let ancestors = parent.map(|id| (LeafName::Commit(id.name()), Some(id.digest)));
        let updated = [
            update(&mut self.groups, &groups),
            update(&mut self.devices, &devices),
            update(&mut self.ancestors, &ancestors.into_iter().collect()),
        ];
        let pages: Vec<_> = updated.into_iter().flatten().collect();
        let records = &self.records;
        let stored = records.put_documents(&texts).await;
        stored.expect("documents can be stored");
        let stored = records.put_pages(&pages).await;
        stored.expect("pages can be stored");
        self.change_head(parent, now).await
    }

    async fn change_head(&mut self, parent: Option<CommitId>, now: UnixTime) -> CommitId {
        let commit = signed_commit(CommitFields {
            target: TARGET,
            keys: self.list,
            number: next_number(parent, 0, now),
            parent,
            groups: self.groups.root(),
            devices: self.devices.root(),
            ancestors: self.ancestors.root(),
            issued: now,
            expires: now.plus(30 * 86_400),
            about: Sha256Digest::of(b"about"),
        });
        let change = HeadChange {
            replaced: self.head.as_ref(),
            commit: &commit,
            at: None,
            assigned: &[],
            lists: &[],
        };
        let changed = self.records.change_head(change).await;
        match changed.expect("the head can be changed") {
            HeadChanged::Done(head) => self.head = Some(head),
            other => panic!("another publisher has changed the head: {other:?}"),
        }
        commit.id
    }

    async fn store_list(&self, signed: &SignedKeyList) {
        let added = self.records.add_list(&self.list, signed).await;
        assert!(added.expect("a list can be stored"), "the list exists");
    }
}

/// Changes a tree, and returns its new pages.
fn update(tree: &mut PagedTree, changes: &Leaves) -> Vec<(NodeHash, Vec<u8>)> {
    let updated = tree.update(changes).expect("no part is hidden");
    let UpdatedTree { tree: new, pages } = updated;
    *tree = new;
    pages
}
