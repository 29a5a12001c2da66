//! The documents of rollouts that a warm function has looked up.

use std::collections::BTreeMap;

use packcast_protocol::Sha256Digest;
use packcast_protocol::state::{CommitId, RolloutId};

/// The documents of rollouts at one commit, as far as they were looked up. `None` for a rollout that
/// the state does not have.
#[derive(Debug, Default)]
pub(in crate::state) struct KnownRollouts {
    pub(in crate::state) of: Option<CommitId>,
    pub(in crate::state) documents: BTreeMap<RolloutId, Option<Sha256Digest>>,
}
