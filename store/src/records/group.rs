//! Groups: what each has, and who is told what it had at which revision.
//!
//! The revision is an item of its own beside the state: a transaction pays for the size of
//! what it checks, and every announcement checks the revision.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::assignments::Recipient;
use packcast_protocol::{GroupName, LocationName, PackageId, UnixTime};
use packcast_rollout::assignments::{Term, next_revision};
use packcast_rollout::group::{GroupAssignError, Version};
use packcast_rollout::{GroupState, PaceChange, PackageRecord};
use serde::{Deserialize, Serialize};

use super::commit::Commit;
use super::item::{self, CataloguedGroup, DELETED, ISSUED, LISTS, REVISION, STATE};
use super::key::{Key, Range};
use super::keys::{KeyListsItem, NumberedKeyList};
use super::own::AssignError;
use super::signing::{Signing, SigningError};
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

/// How often a change of a group is decided anew when another changed it meanwhile.
const TRIES: usize = 16;

/// A group's revision; it outlives the group, so that a name that is used again counts on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RevisionItem {
    pub(super) group: GroupName,
    pub(super) revision: u64,
    /// When the state of this revision was signed, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) issued: Option<UnixTime>,
    #[serde(default)]
    pub(super) deleted: bool,
}

/// What is newest of groups, and of the keys that all devices trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Those of the groups that exist.
    pub groups: HashMap<GroupName, Version>,
    /// None if they were not asked for.
    pub key_lists: Option<Vec<NumberedKeyList>>,
}

/// What came of a change of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupChanged {
    pub state: GroupState,
    /// The write units that the change has cost.
    pub consumed_units: f64,
}

/// Why a group was not changed.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    #[error("there is no group {group}")]
    NoGroup { group: GroupName },
    #[error("group {group} exists already")]
    Exists { group: GroupName },
    #[error("group {group} does not have package {package}")]
    NotAssigned {
        group: GroupName,
        package: PackageId,
    },
    #[error("package {package} was deleted")]
    Deleted { package: PackageId },
    #[error(transparent)]
    Assign(#[from] GroupAssignError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Records {
    /// Creates a group without members and without packages.
    pub async fn create_group(
        &self,
        group: &GroupName,
        signing: Signing<'_>,
    ) -> Result<GroupState, GroupError> {
        let revision: Option<RevisionItem> = self.get(&Key::group_revision(group)).await?;
        if revision.as_ref().is_some_and(|known| !known.deleted) {
            let group = group.clone();
            return Err(GroupError::Exists { group });
        }
        let before = revision.as_ref().map(RevisionItem::version);
        let latest = before.map_or(0, |before| before.revision);
        let next = next_revision(latest, signing.now);
        let state = GroupState::new(group.clone(), next, signing.now);
        let recipient = Recipient::Group(group.clone());
        let issued = before.and_then(|before| before.issued);
        let term = signing.term_after_unsigned(&recipient, issued);
        let state = signing.sealed(state, term)?;
        let writes = vec![
            write::create(self.table(), item::group(&state)),
            self.moving(group, before, state.version(), false),
            write::create(self.table(), item::catalogued_group(group)),
        ];
        match self.commit(writes).await? {
            Commit::Done => {
                signing.written(&recipient, state.held());
                Ok(state)
            }
            Commit::Refused(_) => {
                let group = group.clone();
                Err(GroupError::Exists { group })
            }
        }
    }

    pub async fn group(&self, group: &GroupName) -> Result<Option<GroupState>, RecordsError> {
        let found = self.get_item(&Key::group_state(group)).await?;
        found.map(state).transpose()
    }

    /// Returns every group, in the order of their names.
    pub async fn groups(&self) -> Result<Vec<GroupState>, RecordsError> {
        let entries: Vec<CataloguedGroup> = self.all(&Range::catalogued_groups()).await?;
        let names: Vec<GroupName> = entries.into_iter().map(|entry| entry.group).collect();
        self.group_states(&names).await
    }

    /// Returns the states of these groups that exist, in the order of their names.
    pub async fn group_states(
        &self,
        groups: &[GroupName],
    ) -> Result<Vec<GroupState>, RecordsError> {
        let keys: Vec<Key> = groups.iter().map(Key::group_state).collect();
        let mut states: Vec<GroupState> = self
            .batch(&keys)
            .await?
            .into_iter()
            .map(state)
            .collect::<Result<_, _>>()?;
        states.sort_by(|one, other| one.group.cmp(&other.group));
        Ok(states)
    }

    /// Returns the versions of these groups that exist. With the group that every device is
    /// in come the lists of keys, which are every device's, too.
    pub async fn versions(&self, groups: &[GroupName]) -> Result<Versions, RecordsError> {
        let mut keys: Vec<Key> = groups.iter().map(Key::group_revision).collect();
        let with_keys = groups.iter().any(GroupName::is_all);
        keys.extend(with_keys.then(Key::keys));
        let mut versions = Versions {
            groups: HashMap::with_capacity(groups.len()),
            key_lists: with_keys.then(Vec::new),
        };
        for found in self.batch(&keys).await? {
            if found.contains_key(LISTS) {
                let found: KeyListsItem = item::read(found)?;
                versions.key_lists = Some(found.lists);
                continue;
            }
            let found: RevisionItem = item::read(found)?;
            let version = found.version();
            if !found.deleted {
                versions.groups.insert(found.group, version);
            }
        }
        Ok(versions)
    }

    /// Returns the groups that have a package, in the order of their names.
    pub async fn groups_with(&self, package: PackageId) -> Result<Vec<GroupName>, RecordsError> {
        let entries: Vec<CataloguedGroup> = self.all(&Range::groups_with(package)).await?;
        Ok(entries.into_iter().map(|entry| entry.group).collect())
    }

    /// Assigns a package to a group: the same few writes whatever the group's size. The group
    /// of all devices comes into being with its first package.
    ///
    /// Only to what the publisher has signed something is added.
    pub async fn assign_group(
        &self,
        group: &GroupName,
        package: &PackageRecord,
        force: bool,
        signing: Signing<'_>,
    ) -> Result<GroupChanged, GroupError> {
        let not_deleted = self.not_deleted(package.id);
        let now = signing.now;
        for _ in 0..TRIES {
            let Some(state) = self.group_or_all(group, signing).await? else {
                let group = group.clone();
                return Err(GroupError::NoGroup { group });
            };
            signing.ours_of_group(&state)?;
            let next = state.assign(package, force, now)?;
            let term = Term::following(state.version().issued, now);
            let next = signing.sealed(next, term)?;
            let mut writes = self.replacing(&state, &next);
            let entry = item::group_with(package.id, group);
            writes.push(write::replace(self.table(), entry));
            writes.push(not_deleted.clone());
            let (commit, consumed_units) = self.commit_metered(writes).await?;
            match commit {
                Commit::Done => {
                    signing.written(&Recipient::Group(group.clone()), next.held());
                    return Ok(GroupChanged {
                        state: next,
                        consumed_units,
                    });
                }
                Commit::Refused(failed) if failed.last() == Some(&true) => {
                    let package = package.id;
                    return Err(GroupError::Deleted { package });
                }
                Commit::Refused(_) => {}
            }
        }
        Err(self.contended().into())
    }

    /// Takes a package back from a group.
    ///
    /// Once it has returned, no device is told of the package for this group any more.
    pub async fn unassign_group(
        &self,
        group: &GroupName,
        package: PackageId,
        signing: Signing<'_>,
    ) -> Result<GroupChanged, GroupError> {
        let entry = write::delete(
            self.table(),
            &Key::group_with(package, group),
            PRESENT,
            &Terms::default(),
        );
        let not_assigned = || GroupError::NotAssigned {
            group: group.clone(),
            package,
        };
        self.change_group(group, signing, Some(entry), |state| {
            state
                .unassign(package, signing.now)
                .ok_or_else(not_assigned)
        })
        .await
    }

    /// Sets where a group's devices fetch from first.
    pub async fn prefer(
        &self,
        group: &GroupName,
        location: Option<&LocationName>,
        signing: Signing<'_>,
    ) -> Result<GroupChanged, GroupError> {
        self.group_or_all(group, signing).await?;
        let change = |state: &GroupState| Ok(state.prefer(location.cloned(), signing.now));
        self.change_group(group, signing, None, change).await
    }

    /// Changes how fast a group's devices work; the group of all devices comes into being by it.
    pub async fn pace_group(
        &self,
        group: &GroupName,
        change: &PaceChange,
        signing: Signing<'_>,
    ) -> Result<GroupChanged, GroupError> {
        self.group_or_all(group, signing).await?;
        let change = |state: &GroupState| Ok(state.pace(change, signing.now));
        self.change_group(group, signing, None, change).await
    }

    /// Changes a group by something that gives its devices no package. A state that the
    /// publisher has not signed stays without a signature.
    async fn change_group(
        &self,
        group: &GroupName,
        signing: Signing<'_>,
        beside: Option<TransactWriteItem>,
        change: impl Fn(&GroupState) -> Result<GroupState, GroupError>,
    ) -> Result<GroupChanged, GroupError> {
        for _ in 0..TRIES {
            let state = match self.group(group).await? {
                Some(state) => state,
                // It is there, and comes into being with its first package.
                None if group.is_all() => GroupState::new(group.clone(), 0, UnixTime(0)),
                None => {
                    let group = group.clone();
                    return Err(GroupError::NoGroup { group });
                }
            };
            let mut next = change(&state)?;
            let recipient = Recipient::Group(group.clone());
            let issued = state.version().issued;
            match signing.ours_of_group(&state) {
                Ok(()) => next = signing.sealed(next, Term::following(issued, signing.now))?,
                // What was not signed gives nobody anything now.
                Err(SigningError::NotOurs { .. }) if next.assignments.is_empty() => {
                    next = signing.sealed(next, signing.term_after_unsigned(&recipient, issued))?;
                }
                Err(SigningError::NotOurs { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let mut writes = self.replacing(&state, &next);
            writes.extend(beside.clone());
            let (commit, consumed_units) = self.commit_metered(writes).await?;
            if commit == Commit::Done {
                signing.written(&recipient, next.held());
                return Ok(GroupChanged {
                    state: next,
                    consumed_units,
                });
            }
        }
        Err(self.contended().into())
    }

    /// Removes a group that has neither members nor packages; its revision stays. False if it
    /// has changed, or got a member, meanwhile.
    pub(super) async fn remove_group(&self, state: &GroupState) -> Result<bool, RecordsError> {
        let next = Version {
            revision: state.revision.saturating_add(1),
            ..state.version()
        };
        let revision = item::number(&state.revision);
        let at_revision = Terms::default().name(REVISION).value("revision", revision);
        let mut writes = vec![
            write::delete(
                self.table(),
                &Key::group_state(&state.group),
                "#revision = :revision",
                &at_revision,
            ),
            self.moving(&state.group, Some(state.version()), next, true),
            write::delete(
                self.table(),
                &Key::catalogued_group(&state.group),
                PRESENT,
                &Terms::default(),
            ),
        ];
        writes.extend(self.without_members(&state.group));
        Ok(self.commit(writes).await? == Commit::Done)
    }

    async fn group_or_all(
        &self,
        group: &GroupName,
        signing: Signing<'_>,
    ) -> Result<Option<GroupState>, GroupError> {
        let state = self.group(group).await?;
        if state.is_some() || !group.is_all() {
            return Ok(state);
        }
        match self.create_group(group, signing).await {
            Ok(state) => Ok(Some(state)),
            Err(GroupError::Exists { .. }) => Ok(self.group(group).await?),
            Err(error) => Err(error),
        }
    }

    /// The writes that put a group's next state in the place of the one it was decided from.
    pub(super) fn replacing(
        &self,
        state: &GroupState,
        next: &GroupState,
    ) -> Vec<TransactWriteItem> {
        let revision = item::number(&state.revision);
        let unchanged = Terms::default().name(REVISION).value("revision", revision);
        vec![
            write::put(
                self.table(),
                item::group(next),
                "#revision = :revision",
                &unchanged,
            ),
            self.moving(&state.group, Some(state.version()), next.version(), false),
        ]
    }

    /// The write that moves a group's revision, or the time at which it was signed.
    fn moving(
        &self,
        group: &GroupName,
        from: Option<Version>,
        to: Version,
        deleted: bool,
    ) -> TransactWriteItem {
        let item = item::group_revision(&RevisionItem {
            group: group.clone(),
            revision: to.revision,
            issued: to.issued,
            deleted,
        });
        match from {
            None => write::create(self.table(), item),
            Some(from) => {
                let (unchanged, terms) = at_version(from);
                write::put(self.table(), item, unchanged, &terms)
            }
        }
    }

    /// A check that a package was not deleted.
    pub(super) fn not_deleted(&self, package: PackageId) -> TransactWriteItem {
        let terms = Terms::default()
            .name(STATE)
            .value("deleted", item::text(DELETED));
        write::check(
            self.table(),
            &Key::package(package),
            "attribute_exists(#state) AND #state.#state <> :deleted",
            &terms,
        )
    }

    pub(super) fn contended(&self) -> RecordsError {
        RecordsError::Conflict {
            table: self.table().to_owned(),
        }
    }

    /// A check that a group is still at the revision that was read.
    pub(super) fn at_revision(&self, group: &GroupName, revision: u64) -> TransactWriteItem {
        let terms = Terms::default()
            .name(REVISION)
            .value("revision", item::number(&revision));
        write::check(
            self.table(),
            &Key::group_revision(group),
            "#revision = :revision",
            &terms,
        )
    }
}

fn state(item: item::Item) -> Result<GroupState, RecordsError> {
    item::read_at(item, |state: &GroupState| Key::group_state(&state.group))
}

impl RevisionItem {
    fn version(&self) -> Version {
        Version {
            revision: self.revision,
            issued: self.issued,
        }
    }
}

/// Holds for a group that is as it was read.
fn at_version(version: Version) -> (&'static str, Terms) {
    let terms = Terms::default()
        .name(REVISION)
        .name(ISSUED)
        .value("revision", item::number(&version.revision));
    match version.issued {
        None => (
            "#revision = :revision AND attribute_not_exists(#issued)",
            terms,
        ),
        Some(issued) => (
            "#revision = :revision AND #issued = :issued",
            terms.value("issued", item::number(&issued)),
        ),
    }
}

impl From<AssignError> for GroupError {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::Signing(error) => Self::Signing(error),
            AssignError::Records(error) => Self::Records(error),
        }
    }
}
