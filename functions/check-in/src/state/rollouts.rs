//! The calendars that a device must hold: documents of the rollouts that its groups name.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{LeafName, Lookup, RolloutDocument, RolloutId};
use packcast_protocol::{Sha256Digest, UnixTime};
use packcast_store::{Records, RecordsError};

use super::StateCache;
use super::cache::{CachedHead, KnownRollouts, PageAllowance};
use super::sending::Sending;

impl StateCache {
    /// Returns the digests of the documents of these rollouts, as of the last minute. Rollouts that
    /// the state does not have are left out.
    ///
    /// A warm function reads the head once a minute, and looks up each rollout once for each head. All
    /// other idle check-ins cost no more reads with a rollout than without one.
    pub(crate) async fn rollout_documents(
        &self,
        records: &Records,
        rollouts: &BTreeSet<RolloutId>,
        now: UnixTime,
    ) -> Result<BTreeSet<Sha256Digest>, RecordsError> {
        if rollouts.is_empty() {
            return Ok(BTreeSet::new());
        }
        let head = self.head(records, now).await?;
        self.documents_at(records, &head, rollouts).await
    }

    /// Returns the document of a rollout, as of the last minute. `None` if the state has none, or one
    /// that cannot be read.
    ///
    /// If `is_asking` is set, the head is read again for an unknown rollout, at most once a second.
    pub(crate) async fn calendar(
        &self,
        records: &Records,
        rollout: RolloutId,
        is_asking: bool,
        now: UnixTime,
    ) -> Result<Option<RolloutDocument>, RecordsError> {
        let rollouts = BTreeSet::from([rollout]);
        let head = self.head(records, now).await?;
        let mut found = self.documents_at(records, &head, &rollouts).await?;
        if found.is_empty() && is_asking {
            let head = self.head_within(records, 1, now).await?;
            found = self.documents_at(records, &head, &rollouts).await?;
        }
        let digests: Vec<Sha256Digest> = found.into_iter().collect();
        let mut documents = self.read::<RolloutDocument>(records, &digests).await?;
        Ok(documents.pop())
    }

    async fn documents_at(
        &self,
        records: &Records,
        head: &CachedHead,
        rollouts: &BTreeSet<RolloutId>,
    ) -> Result<BTreeSet<Sha256Digest>, RecordsError> {
        let Some(head) = &head.head else {
            return Ok(BTreeSet::new());
        };
        let commit = head.commit.id;
        let known = |known: &mut KnownRollouts| {
            if known.of != Some(commit) {
                *known = KnownRollouts {
                    of: Some(commit),
                    documents: BTreeMap::new(),
                };
            }
            let unknown = rollouts.iter().copied();
            let unknown = unknown.filter(|rollout| !known.documents.contains_key(rollout));
            unknown.collect::<Vec<RolloutId>>()
        };
        let unknown = self.with_rollouts(known);
        let mut found = BTreeMap::new();
        if !unknown.is_empty() {
            let mut groups = Sending::new(commit, head.commit.signed.clone())?.groups;
            let names: Vec<LeafName> = unknown.iter().copied().map(LeafName::Rollout).collect();
            let mut allowance = PageAllowance::unlimited();
            self.load(records, &mut groups, &names, &mut allowance)
                .await?;
            let document =
                |rollout: RolloutId| match groups.tree().lookup(&LeafName::Rollout(rollout)) {
                    Lookup::Present(digest) => (rollout, Some(digest)),
                    Lookup::Absent | Lookup::Hidden(_) => (rollout, None),
                };
            found.extend(unknown.into_iter().map(document));
        }
        Ok(self.with_rollouts(|known| {
            // Another request may have read a later head meanwhile.
            if known.of == Some(commit) {
                known.documents.append(&mut found);
                let documents = rollouts.iter().filter_map(|it| known.documents.get(it));
                return documents.copied().flatten().collect();
            }
            found.into_values().flatten().collect()
        }))
    }
}
