//! The state that a device has verified, and the rules by which it changes.
//!
//! A device acts only on one whole state: all documents that concern the device, found through the
//! trees of one commit that a trusted publisher key has signed. An attacker who owns
//! table, bucket and function chooses the replies, but can only withhold parts. The rules:
//!
//! 1. Key lists come first. If the newest list does not name a key, the device discards the commit
//!    and the number of the key. It discards and refuses commits with a lower number than the list
//!    accepts: otherwise commits of other keys that a discarded commit had replaced would count
//!    again.
//! 2. A commit must be later than the highest accepted commit of the named keys.
//! 3. A commit must contain this highest commit among its ancestors, unless it was issued after the
//!    highest commit and the commits that this one has replaced had expired.
//! 4. The device never returns to an earlier commit, even if the new one stays incomplete.
//! 5. Nothing begins without a whole, unexpired state and an unused mandate in it.
//!
//! Only the last rule uses a clock. Nothing here does I/O: the caller stores new documents, then the
//! [`StoredState`], after each change.

mod accept;
mod completeness;
mod numbers;
mod refusal;
mod stored;
mod survey;
mod whole;

use std::collections::BTreeMap;

use crate::device::AgentId;
use crate::digest::Sha256Digest;
use crate::time::UnixTime;

use super::commit::{SignedCommit, VerifiedCommit};
use super::document::DocumentText;
use super::exchange::RefusedState;
use super::key_list::KeyChain;
use super::partial::PartialTree;
use super::target::TrustedRoots;

pub use accept::Accepted;
pub use completeness::{Completeness, MAX_ASKS};
pub use numbers::{ActedUnder, HighestCommit};
pub use refusal::Refusal;
pub use stored::StoredState;
pub use survey::MAX_HELD_ROLLOUTS;
pub use whole::{Begin, DeploymentFacts, Waiting, WholeState};

use numbers::HighestCommits;

/// The part of a target's state that one device has verified.
///
/// It holds one commit. Every part was verified: lists by the root keys of the configuration, the
/// commit by a publisher key, trees by the roots in the commit, documents by the trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedState {
    device: AgentId,
    build: UnixTime,
    chain: KeyChain,
    /// The highest accepted commit of each named key.
    numbers: HighestCommits,
    /// The commits and lists under which the device has acted, by its history.
    history: Vec<ActedUnder>,
    commit: Option<HeldCommit>,
    documents: BTreeMap<Sha256Digest, DocumentText>,
    /// The last refused state, until another one is accepted. It is not stored.
    refused: Option<RefusedState>,
}

/// The commit that a device holds, with the known parts of its trees.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HeldCommit {
    signed: SignedCommit,
    commit: VerifiedCommit,
    groups: PartialTree,
    devices: PartialTree,
    /// The entry for the history of an action.
    highest: HighestCommit,
}

impl VerifiedState {
    /// Starts without key lists and without a commit.
    ///
    /// `build` is the time at which the agent was built; an earlier clock does not count.
    /// `history` shows under which commits and key lists the device has acted. It matters if the
    /// device has lost its state. Entries of other targets do not count.
    pub fn new(
        device: AgentId,
        trust: TrustedRoots,
        build: UnixTime,
        history: impl IntoIterator<Item = ActedUnder>,
    ) -> Self {
        let target = trust.target();
        let history = history.into_iter();
        Self {
            device,
            build,
            chain: KeyChain::new(trust),
            numbers: HighestCommits::default(),
            history: history.filter(|acted| acted.target == target).collect(),
            commit: None,
            documents: BTreeMap::new(),
            refused: None,
        }
    }

    /// Returns the latest of the system clock, the build, and the times of signing of the held
    /// commit and the newest key list.
    ///
    /// A commit whose key was removed does not count, so a thief cannot move the time permanently.
    pub fn time(&self, clock: UnixTime) -> UnixTime {
        let list = self.chain.newest().map(|list| list.issued());
        let commit = self.commit.as_ref().map(|held| held.commit.issued);
        let known = [Some(clock), Some(self.build), list, commit];
        known.into_iter().flatten().max().unwrap_or(clock)
    }

    /// Returns the chain of key lists.
    pub const fn chain(&self) -> &KeyChain {
        &self.chain
    }

    /// Returns the held commit.
    pub fn commit(&self) -> Option<&VerifiedCommit> {
        self.commit.as_ref().map(|held| &held.commit)
    }

    /// Returns the highest commit of the named keys that the device has accepted, or acted under.
    fn highest(&self) -> Option<&HighestCommit> {
        let named = self.chain.named();
        let acted = self.history.iter().map(|acted| &acted.highest);
        let acted = acted.filter(|acted| named.contains(&acted.key));
        let known = self.numbers.highest(&named).into_iter().chain(acted);
        known.max_by_key(|known| known.commit.number)
    }

    /// Returns the serial number of a later key list under which the device has acted, if the
    /// newest list still names the root key that signed it.
    ///
    /// If the newest list leaves this root key out, a thief may have signed the later list.
    fn missing_list(&self) -> Option<u64> {
        let roots = self.chain.roots();
        let acted = self.history.iter();
        let acted = acted.filter(|acted| roots.contains(&acted.root));
        let latest = acted.map(|acted| acted.list).max();
        latest.filter(|latest| *latest > self.chain.serial())
    }
}
