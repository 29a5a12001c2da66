//! The decision to begin: a whole, unexpired state, and an unused mandate in it.

mod rollouts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use self::rollouts::HeldRollouts;
use super::VerifiedState;
use super::numbers::ActedUnder;
use super::survey::Survey;
use crate::assignee::Assignee;
use crate::device::AgentId;
use crate::digest::Sha256Digest;
use crate::group::GroupName;
use crate::location::{Location, LocationName};
use crate::manifest::{AnnouncedManifest, Audience};
use crate::package::PackageId;
use crate::state::document::WaveNumber;
use crate::state::document::{DocumentError, GroupDocument, StateEntry, VOCABULARY};
use crate::state::exchange::WaitWord;
use crate::state::mandate::Mandate;
use crate::state::name::{LeafName, RolloutId};
use crate::time::UnixTime;

/// A whole state of one commit: unexpired, with every document that concerns the device.
///
/// [`VerifiedState::whole`] is the only way to get one, and only a whole state permits an action.
#[derive(Debug)]
pub struct WholeState<'a> {
    device: &'a AgentId,
    under: ActedUnder,
    groups: BTreeMap<GroupName, GroupDocument>,
    own: Vec<StateEntry>,
    locations: BTreeMap<LocationName, Location>,
    lacking_locations: BTreeSet<LeafName>,
    rollouts: HeldRollouts,
}

/// Facts of the device that the decision on a package needs.
#[derive(Clone, Copy, Debug)]
pub struct DeploymentFacts<'a> {
    /// The mandates for the package, at this target, that journal and history show as used up.
    pub used: &'a BTreeSet<Mandate>,
    /// True if a later package of the same name has succeeded on the device. False while the
    /// manifest, which names the package, is not verified yet.
    pub is_downgrade: bool,
    /// Audience of the manifest; `None` while the manifest is not verified yet.
    pub audience: Option<&'a Audience>,
    /// Locations of the task. Empty if nothing is left to fetch.
    pub locations: &'a BTreeSet<LocationName>,
}

/// The permission to begin with a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// All mandates for the package in this state. Acting uses up all of them, even those that
    /// wait: otherwise the device would deploy the package again when it learns their terms.
    pub mandates: BTreeSet<Mandate>,
    /// True if the device deploys the package even if it already has the package.
    pub force: bool,
    /// The signed addresses of the task's locations. An agent fetches from no other address.
    pub locations: BTreeMap<LocationName, Location>,
    /// The commit and the key list, for the history.
    pub under: ActedUnder,
}

/// Reasons to wait. The device reports the reason, and no result.
#[derive(Debug, thiserror::Error)]
pub enum Waiting {
    #[error(
        "the device follows no key list yet: compare 'trust' in agent.toml with 'packcast keys show'"
    )]
    NoKeyList,
    #[error(
        "key list {serial} expired on {}, and the date is {}: run 'packcast sign', or correct the clock of the device",
        expires.day(), now.day()
    )]
    KeyListExpired {
        serial: u64,
        expires: UnixTime,
        now: UnixTime,
    },
    #[error(
        "the device follows key list {held}, and has acted under key list {acted}: wait for its next check-in, or run 'packcast audit'"
    )]
    OldKeyList { held: u64, acted: u64 },
    #[error(
        "the device holds no commit that key list {list} accepts: wait for its next check-in, or run 'packcast sign'"
    )]
    NoCommit { list: u64 },
    #[error(
        "commit {number} expired on {}, and the date is {}: run 'packcast sign', or correct the clock of the device",
        expires.day(), now.day()
    )]
    CommitExpired {
        number: u64,
        expires: UnixTime,
        now: UnixTime,
    },
    #[error(
        "the device lacks parts of commit {number}, {}: wait for its next check-in, or run 'packcast audit'",
        shown(names)
    )]
    Lacks {
        number: u64,
        names: BTreeSet<LeafName>,
    },
    #[error("cannot read {name} of commit {number}: update the agent")]
    Unreadable {
        number: u64,
        name: LeafName,
        #[source]
        source: DocumentError,
    },
    #[error(
        "commit {number} does not assign the package to this device or to group {}: assign the package",
        shown(groups)
    )]
    NotAssigned {
        number: u64,
        groups: BTreeSet<GroupName>,
    },
    #[error("the device has used up every assignment of the package: assign the package again")]
    Used,
    #[error("wrong manifest: expected SHA-256 {assigned}, found {announced}: run 'packcast audit'")]
    OtherManifest {
        assigned: Sha256Digest,
        announced: Sha256Digest,
    },
    #[error(
        "the assignment has terms that this agent does not know: {}: update the agent",
        shown(terms)
    )]
    UnknownTerms { terms: BTreeSet<String> },
    #[error(
        "commit {number} has no rollout {rollout}, which the assignment names: run 'packcast audit'"
    )]
    NoRollout { number: u64, rollout: RolloutId },
    #[error(
        "rollout {rollout} of commit {number} is not for this assignment: run 'packcast audit'"
    )]
    OtherRollout { number: u64, rollout: RolloutId },
    #[error("cannot read rollout {rollout} of commit {number}: update the agent: {detail}")]
    UnreadableRollout {
        number: u64,
        rollout: RolloutId,
        /// The error with its causes.
        detail: String,
    },
    #[error(
        "the device is in wave {wave} of rollout {rollout}, which opens {}; the time is {}",
        opens.utc(), now.utc()
    )]
    WaveNotOpen {
        rollout: RolloutId,
        wave: WaveNumber,
        opens: UnixTime,
        now: UnixTime,
    },
    #[error(
        "the device is in wave {wave} of rollout {rollout}, which stays closed until an administrator opens it"
    )]
    WaveClosed {
        rollout: RolloutId,
        wave: WaveNumber,
    },
    #[error(
        "a later package of the same name is deployed: assign the package with --allow-downgrade"
    )]
    Downgrade,
    #[error(
        "the package is for other devices: publish it for this device or for group {}",
        shown(groups)
    )]
    OtherAudience { groups: BTreeSet<GroupName> },
    #[error(
        "commit {number} has no location {}: add the location, or activate the package with another one",
        shown(names)
    )]
    NoLocation {
        number: u64,
        names: BTreeSet<LocationName>,
    },
}

impl Waiting {
    /// Returns the time from which the device may begin, if the state names one.
    pub const fn until(&self) -> Option<UnixTime> {
        match self {
            Self::WaveNotOpen { opens, .. } => Some(*opens),
            _ => None,
        }
    }

    /// Returns the reason in one word, for a request.
    pub const fn word(&self) -> WaitWord {
        match self {
            Self::NoKeyList | Self::OldKeyList { .. } => WaitWord::NoKeyList,
            Self::KeyListExpired { .. } => WaitWord::KeyListExpired,
            Self::NoCommit { .. } => WaitWord::NoCommit,
            Self::CommitExpired { .. } => WaitWord::CommitExpired,
            Self::Lacks { .. } | Self::NoLocation { .. } => WaitWord::Incomplete,
            Self::Unreadable { .. } | Self::UnreadableRollout { .. } => WaitWord::Unreadable,
            Self::NotAssigned { .. } => WaitWord::NotAssigned,
            Self::Used => WaitWord::Used,
            Self::OtherManifest { .. } => WaitWord::OtherManifest,
            Self::UnknownTerms { .. } => WaitWord::UnknownTerm,
            Self::NoRollout { .. } | Self::OtherRollout { .. } => WaitWord::NoRollout,
            Self::WaveNotOpen { .. } => WaitWord::WaveNotOpen,
            Self::WaveClosed { .. } => WaitWord::WaveClosed,
            Self::Downgrade => WaitWord::Downgrade,
            Self::OtherAudience { .. } => WaitWord::OtherAudience,
        }
    }
}

impl VerifiedState {
    /// Returns the whole state, if the device may begin with packages at all.
    ///
    /// `locations` are the locations that the announced packages need; a lacking location makes only
    /// its own package wait. `clock` is the time of the system clock.
    ///
    /// # Errors
    /// The error is the reason to wait. Programs that run already continue.
    pub fn whole(
        &self,
        locations: &BTreeSet<LocationName>,
        clock: UnixTime,
    ) -> Result<WholeState<'_>, Waiting> {
        let now = self.time(clock);
        let list = self.chain.newest().ok_or(Waiting::NoKeyList)?;
        if list.is_expired(now) {
            return Err(Waiting::KeyListExpired {
                serial: list.serial(),
                expires: list.expires(),
                now,
            });
        }
        if let Some(acted) = self.missing_list() {
            let held = list.serial();
            return Err(Waiting::OldKeyList { held, acted });
        }
        let held = self.commit.as_ref();
        let held = held.ok_or(Waiting::NoCommit {
            list: list.serial(),
        })?;
        let number = held.commit.number;
        if held.commit.is_expired(now) {
            return Err(Waiting::CommitExpired {
                number,
                expires: held.commit.expires,
                now,
            });
        }
        let mut survey = Survey::of(&self.device, held, &self.documents, locations);
        let rollouts = HeldRollouts::of(&mut survey, number, now);
        if let Some((name, source)) = survey.unreadable.into_iter().next() {
            return Err(Waiting::Unreadable {
                number,
                name,
                source,
            });
        }
        if !survey.lacks.is_empty() {
            return Err(Waiting::Lacks {
                number,
                names: survey.lacks,
            });
        }
        Ok(WholeState {
            device: &self.device,
            under: ActedUnder {
                target: self.chain.target(),
                highest: held.highest.clone(),
                list: list.serial(),
                root: list.signer().clone(),
            },
            groups: survey.groups,
            own: survey
                .device
                .map(|own| own.packages.into())
                .unwrap_or_default(),
            locations: survey.locations,
            lacking_locations: survey.lacking_locations,
            rollouts,
        })
    }
}

impl WholeState<'_> {
    /// Returns the groups of the device, with `all`.
    pub fn groups(&self) -> BTreeSet<GroupName> {
        let all = GroupName::all();
        self.groups.keys().cloned().chain([all]).collect()
    }

    /// Decides if the device begins with a package. The agent asks before it begins, and again
    /// directly before it acts.
    ///
    /// # Errors
    /// The error is the reason to wait. Other packages do not wait for this package.
    pub fn before_begin(
        &self,
        announced: AnnouncedManifest,
        facts: DeploymentFacts<'_>,
    ) -> Result<Begin, Waiting> {
        let entries = self.entries(announced.id);
        if entries.is_empty() {
            return Err(Waiting::NotAssigned {
                number: self.number(),
                groups: self.groups(),
            });
        }
        let mut reason = Waiting::Used;
        let mut permitted = false;
        let mut force = false;
        for (mandate, entry) in &entries {
            if facts.used.contains(mandate) {
                continue;
            }
            let checked = check_entry(entry, announced, facts);
            let checked = checked.and_then(|()| self.check_rollout(entry));
            match checked {
                Ok(()) => {
                    permitted = true;
                    force |= entry.force;
                }
                Err(waiting) => reason = waiting,
            }
        }
        if !permitted {
            return Err(reason);
        }
        let groups = self.groups();
        let includes = |audience: &Audience| audience.includes(self.device, &groups);
        if !facts.audience.is_none_or(includes) {
            return Err(Waiting::OtherAudience { groups });
        }
        let locations = self.addresses(facts.locations)?;
        Ok(Begin {
            locations,
            mandates: entries.into_keys().collect(),
            force,
            under: self.under.clone(),
        })
    }

    /// Checks that the calendar of an entry's rollout lets the device begin.
    fn check_rollout(&self, entry: &StateEntry) -> Result<(), Waiting> {
        let Some(rollout) = entry.terms.rollout() else {
            return Ok(());
        };
        // By the present names of the groups: a mandate may have another one.
        let owners = self.groups.iter().filter_map(|(group, document)| {
            let is_owner = document.packages.of(entry.package) == Some(entry);
            is_owner.then_some(group)
        });
        self.rollouts
            .check(rollout, entry, owners, self.device, &self.groups())
    }

    /// Returns all mandates for a package in this state.
    ///
    /// A device that does not know if it has acted on the package counts all of them as used up.
    pub fn mandates(&self, package: PackageId) -> BTreeSet<Mandate> {
        self.entries(package).into_keys().collect()
    }

    /// Returns the commit and the key list of the state, for the history.
    pub const fn under(&self) -> &ActedUnder {
        &self.under
    }

    const fn number(&self) -> u64 {
        self.under.highest.commit.number
    }

    /// Returns the addresses of a task's locations. One of them is enough.
    fn addresses(
        &self,
        names: &BTreeSet<LocationName>,
    ) -> Result<BTreeMap<LocationName, Location>, Waiting> {
        let known = self.locations.iter();
        let known = known.filter(|(name, _)| names.contains(name));
        let known: BTreeMap<_, _> = known
            .map(|(name, url)| (name.clone(), url.clone()))
            .collect();
        if !known.is_empty() || names.is_empty() {
            return Ok(known);
        }
        let lacking = names.iter().cloned().map(LeafName::Location);
        let lacking: BTreeSet<LeafName> = lacking
            .filter(|name| self.lacking_locations.contains(name))
            .collect();
        let number = self.number();
        Err(if lacking.is_empty() {
            let names = names.clone();
            Waiting::NoLocation { number, names }
        } else {
            let names = lacking;
            Waiting::Lacks { number, names }
        })
    }

    /// Returns the entries of a package, by mandate.
    fn entries(&self, package: PackageId) -> BTreeMap<Mandate, &StateEntry> {
        let own = self.own.iter();
        let own = own.filter(|entry| entry.package == package);
        let own = own.map(|entry| {
            let assignee = Assignee::Device(self.device.clone());
            let seq = entry.seq;
            (Mandate { assignee, seq }, entry)
        });
        let of_groups = self.groups.iter().filter_map(|(group, document)| {
            let entry = document.packages.of(package)?;
            Some((entry.group_mandate(group), entry))
        });
        own.chain(of_groups).collect()
    }
}

/// Checks an entry whose mandate is unused.
fn check_entry(
    entry: &StateEntry,
    announced: AnnouncedManifest,
    facts: DeploymentFacts<'_>,
) -> Result<(), Waiting> {
    if entry.manifest != announced.manifest {
        return Err(Waiting::OtherManifest {
            assigned: entry.manifest,
            announced: announced.manifest,
        });
    }
    let unknown = entry.terms.unknown(VOCABULARY);
    let terms: BTreeSet<String> = unknown.map(ToString::to_string).collect();
    if !terms.is_empty() {
        return Err(Waiting::UnknownTerms { terms });
    }
    if facts.is_downgrade && !entry.terms.allows_downgrade() {
        return Err(Waiting::Downgrade);
    }
    Ok(())
}

/// Returns the first names of a set, for a message of bounded length.
fn shown<T: Display>(names: &BTreeSet<T>) -> String {
    const SHOWN: usize = 8;
    let first: Vec<String> = names.iter().take(SHOWN).map(T::to_string).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    first.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;
    use crate::state::document::{Document, DocumentText};

    #[test]
    fn error_messages() {
        let (expires, now) = (UnixTime(1_795_000_000), UnixTime(1_796_000_000));
        let number = 1_790_000_007;
        let rollout = RolloutId::from_bytes([7; 16]);
        let groups = BTreeSet::from(["all", "lab"].map(|name| name.parse().unwrap()));
        let names = (0..10).map(|n| format!("group/g{n}").parse().unwrap());
        let text = DocumentText::new(r#"{"schema":3}"#.to_owned()).unwrap();
        let waits = [
            Waiting::NoKeyList,
            Waiting::KeyListExpired {
                serial: 2,
                expires,
                now,
            },
            Waiting::OldKeyList { held: 2, acted: 3 },
            Waiting::NoCommit { list: 2 },
            Waiting::CommitExpired {
                number,
                expires,
                now,
            },
            Waiting::Lacks {
                number,
                names: names.collect(),
            },
            Waiting::Unreadable {
                number,
                name: "group/lab".parse().unwrap(),
                source: Document::<GroupDocument>::read(text).unwrap_err(),
            },
            Waiting::NotAssigned {
                number,
                groups: groups.clone(),
            },
            Waiting::Used,
            Waiting::OtherManifest {
                assigned: Sha256Digest::of(b"1"),
                announced: Sha256Digest::of(b"2"),
            },
            Waiting::UnknownTerms {
                terms: ["window".to_owned()].into(),
            },
            Waiting::NoRollout { number, rollout },
            Waiting::OtherRollout { number, rollout },
            Waiting::UnreadableRollout {
                number,
                rollout,
                detail: "cannot read the rollout document".to_owned(),
            },
            Waiting::WaveNotOpen {
                rollout,
                wave: WaveNumber::FIRST,
                opens: now,
                now: expires,
            },
            Waiting::WaveClosed {
                rollout,
                wave: WaveNumber::FIRST,
            },
            Waiting::Downgrade,
            Waiting::OtherAudience { groups },
            Waiting::NoLocation {
                number,
                names: ["main".parse().unwrap()].into(),
            },
        ];
        let until: Vec<_> = waits.iter().filter_map(Waiting::until).collect();
        assert_eq!(until, [now]);
        let words: Vec<WaitWord> = waits.iter().map(Waiting::word).collect();
        insta::assert_snapshot!(serde_json::to_string(&words).unwrap(), @r#"["no_key_list","key_list_expired","no_key_list","no_commit","commit_expired","incomplete","unreadable","not_assigned","used","other_manifest","unknown_term","no_rollout","no_rollout","unreadable","wave_not_open","wave_closed","downgrade","other_audience","incomplete"]"#);
        insta::assert_snapshot!(messages(waits), @"
        the device follows no key list yet: compare 'trust' in agent.toml with 'packcast keys show'
        key list 2 expired on 2026-11-18, and the date is 2026-11-30: run 'packcast sign', or correct the clock of the device
        the device follows key list 2, and has acted under key list 3: wait for its next check-in, or run 'packcast audit'
        the device holds no commit that key list 2 accepts: wait for its next check-in, or run 'packcast sign'
        commit 1790000007 expired on 2026-11-18, and the date is 2026-11-30: run 'packcast sign', or correct the clock of the device
        the device lacks parts of commit 1790000007, group/g0, group/g1, group/g2, group/g3, group/g4, group/g5, group/g6, group/g7 and 2 more: wait for its next check-in, or run 'packcast audit'
        cannot read group/lab of commit 1790000007: update the agent: cannot read the group document: expected schema 2, found 3: update the agent at line 1 column 12
        commit 1790000007 does not assign the package to this device or to group all, lab: assign the package
        the device has used up every assignment of the package: assign the package again
        wrong manifest: expected SHA-256 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b, found d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35: run 'packcast audit'
        the assignment has terms that this agent does not know: window: update the agent
        commit 1790000007 has no rollout a4dqobyha4dqobyha4dqobyha4, which the assignment names: run 'packcast audit'
        rollout a4dqobyha4dqobyha4dqobyha4 of commit 1790000007 is not for this assignment: run 'packcast audit'
        cannot read rollout a4dqobyha4dqobyha4dqobyha4 of commit 1790000007: update the agent: cannot read the rollout document
        the device is in wave 1 of rollout a4dqobyha4dqobyha4dqobyha4, which opens 2026-11-30 00:53:20 UTC; the time is 2026-11-18 11:06:40 UTC
        the device is in wave 1 of rollout a4dqobyha4dqobyha4dqobyha4, which stays closed until an administrator opens it
        a later package of the same name is deployed: assign the package with --allow-downgrade
        the package is for other devices: publish it for this device or for group all, lab
        commit 1790000007 has no location main: add the location, or activate the package with another one
        ");
    }
}
