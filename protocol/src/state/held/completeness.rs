//! Lacking parts of a state, and the question for them.

use std::collections::BTreeSet;

use super::VerifiedState;
use super::survey::{Survey, first_names};
use crate::location::LocationName;
use crate::state::document::VOCABULARY;
use crate::state::exchange::{DigestPrefix, HeldState, MAX_HELD_DOCUMENTS, MAX_LACKING};
use crate::state::key_list::VerifiedKeyList;
use crate::state::name::LeafName;

/// Largest number of successive check-ins in which a device asks for lacking parts.
///
/// Afterwards the device waits for its next regular check-in.
pub const MAX_ASKS: u32 = 20;

/// The lacking and unreadable parts of the held commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Names whose path or document is lacking: of the device, its groups, and needed locations.
    pub lacks: BTreeSet<LeafName>,
    /// Names whose document this version of the agent cannot read.
    pub unreadable: BTreeSet<LeafName>,
}

impl Completeness {
    pub fn is_complete(&self) -> bool {
        self.lacks.is_empty() && self.unreadable.is_empty()
    }

    /// Returns whether the device asks again at once.
    ///
    /// `asked` is the number of successive check-ins, this one included. `more` is the mark of the
    /// last reply.
    pub fn asks_again(&self, asked: u32, more: bool) -> bool {
        asked < MAX_ASKS && (more || !self.lacks.is_empty())
    }
}

impl VerifiedState {
    /// Finds the lacking parts of the state. Without a commit, the device lacks its first parts.
    ///
    /// `locations` are the locations that the announced packages need.
    pub fn completeness(&self, locations: &BTreeSet<LocationName>) -> Completeness {
        let Some(held) = &self.commit else {
            return Completeness {
                lacks: first_names(&self.device),
                unreadable: BTreeSet::new(),
            };
        };
        let survey = Survey::of(&self.device, held, &self.documents, locations);
        let unreadable = survey.unreadable.into_iter().map(|(name, _)| name);
        let mut lacks = survey.lacks;
        lacks.extend(survey.lacking_locations);
        lacks.extend(survey.lacking_rollouts.into_iter().map(LeafName::Rollout));
        Completeness {
            lacks,
            unreadable: unreadable.collect(),
        }
    }

    /// Returns the summary for a check-in.
    ///
    /// Without a held commit, the highest commit is among the lacking leaves, so that the reply
    /// shows the path to it: the next commit must contain it.
    pub fn summary(&self, locations: &BTreeSet<LocationName>) -> HeldState {
        let held = self.commit.as_ref();
        let mut lacks = self.completeness(locations).lacks;
        if let (None, Some(highest)) = (held, self.highest()) {
            lacks.insert(LeafName::Commit(highest.commit.name()));
        }
        let documents = self.documents.keys().map(DigestPrefix::of);
        let terms = VOCABULARY.iter().map(|term| term.parse());
        HeldState {
            keys: self.chain.newest().map(VerifiedKeyList::id),
            commit: held.map(|held| held.commit.id()),
            groups: held.map(|held| DigestPrefix::of_root(&held.groups.root())),
            devices: held.map(|held| DigestPrefix::of_root(&held.devices.root())),
            refused: self.refused,
            documents: documents.take(MAX_HELD_DOCUMENTS).collect(),
            lacks: lacks.into_iter().take(MAX_LACKING).collect(),
            terms: terms.filter_map(Result::ok).collect(),
        }
    }
}
