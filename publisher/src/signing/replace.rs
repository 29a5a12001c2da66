//! Replaces a signing key that has leaked.
//!
//! The thief may have changed the target. So a person first sees the commits that this machine does
//! not know, and says which state stays. The key file is replaced last, as in a rotation.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::PackageId;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::number::MAX_NUMBER_AHEAD_S;
use packcast_protocol::state::{Commit, CommitId, Entries, LeafName, TrustedRoots};
use packcast_rollout::PackageRecord;
use packcast_rollout::memory::Memory;
use packcast_store::Records;
use serde::Serialize;

use super::key::{SigningKey, public_half};
use super::memory_file::MemoryFile;
use super::rotate::{NewKey, new_key, next_file, not_a_file, replace as replace_file};
use super::signer::state_signer;
use super::verify_record::find_manifest;
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::log::logged;
use crate::owned_commit::OwnedCommit;
use crate::package::named;
use crate::progress::Progress;
use crate::state::replace::{Replacement, replace as replace_in_state};
use crate::state::{CommitStanding, History, PastCommit, StateError, StateKey, Trees, names};
use crate::target::Target;

/// The parameters of a replacement.
#[derive(Clone, Debug)]
pub struct ReplaceRequest {
    /// The key of another publisher that has leaked. `None` if this machine's own key has leaked.
    pub lost: Option<PublicKey>,
    /// The key file of this machine, instead of the target's own key file.
    pub file: Option<PathBuf>,
    /// The new key is not encrypted.
    pub unencrypted: bool,
    /// The root key that signs the key list, if it is another key than that of this machine.
    pub root: Option<Arc<SigningKey>>,
    pub kept: KeptState,
}

/// The state that stays after a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptState {
    /// The state of the commit with this number.
    Of(u64),
    /// The state of the head.
    Head,
}

/// A replacement before its first signature.
#[derive(Debug, Serialize)]
pub struct ReplacePlan {
    /// The key that has leaked.
    pub lost: PublicKey,
    /// The commits since the kept one, and those since the last one that this machine knows, the
    /// newest first.
    pub commits: Vec<OwnedCommit>,
    /// The commit whose state stays.
    pub kept: CommitId,
    /// Names of the packages that this state assigns, and that the lost key has signed.
    pub packages: Vec<String>,
    /// An earlier call has removed the key.
    #[serde(skip)]
    is_made: bool,
    #[serde(skip)]
    good: Commit,
}

/// The result of a replacement.
#[derive(Debug, Serialize)]
pub struct ReplacedKey {
    /// The removed key.
    pub lost: String,
    /// The key of this machine from now on.
    pub public_key: String,
    /// Target id and root keys, for the configuration of further agents.
    pub trust: TrustedRoots,
    /// The commit that has taken the place of the head.
    pub commit: CommitId,
    pub secret_key_file: PathBuf,
    /// The file of the lost key. `None` if another publisher has lost a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_secret_key_file: Option<PathBuf>,
}

/// The history of a target, as far as a replacement needs it.
#[derive(Default)]
struct Found {
    shown: Vec<PastCommit>,
    /// Verified commits with the wanted number. True if this machine remembers the commit.
    wanted: Vec<(bool, Commit)>,
}

/// Looks for the commits that are undone or that this machine does not know, and for the state that
/// stays.
pub async fn plan(target: &Target, request: &ReplaceRequest) -> Result<ReplacePlan, Failure> {
    let secrets = &*target.secrets;
    if request.lost.is_none() && !matches!(secrets.key(), Ok(None)) {
        return Err(not_a_file());
    }
    let file = key_file(target, request);
    let lost = match &request.lost {
        Some(lost) if *lost == public_half(&file, secrets)? => return Err(own_key(lost)),
        Some(lost) => lost.clone(),
        None => public_half(&file, secrets)?,
    };
    let trust = target.trust()?;
    let mut history = History::begin(&target.records, &trust).await?;
    let newest = history.state.chain.newest().ok_or(StateError::NoKeyList)?;
    let is_made = !names(newest, &lost);
    if is_made {
        let was_named = history.lists.keys().contains(&lost);
        let is_continued = request.lost.is_some() || next_file(&file).exists();
        if !was_named || !is_continued {
            return Err(not_named(&lost));
        }
    }
    let head = history.state.head.as_ref().ok_or(StateError::NoHead)?;
    let head: Commit = (*head.commit).clone();
    let wanted = match request.kept {
        _ if is_made => CommitId::of(&head).number,
        KeptState::Of(number) => number,
        KeptState::Head => CommitId::of(&head).number,
    };
    let memory = MemoryFile::open(&target.state_memory, &trust).await?;
    let found = Found::read(&mut history, memory.memory(), wanted).await?;
    let good = match request.kept {
        KeptState::Of(number) if !is_made => found.good(number)?,
        _ => head,
    };
    if good.number >= now().plus(MAX_NUMBER_AHEAD_S).0 {
        return Err(number_ahead(good.number));
    }
    let (commits, packages) = if is_made {
        (Vec::new(), Vec::new())
    } else {
        let commits = logged(&history, found.shown).await?;
        let commits = OwnedCommit::all(commits, memory.memory());
        (commits, packages_by(target, &good, &lost).await?)
    };
    Ok(ReplacePlan {
        lost,
        commits,
        kept: CommitId::of(&good),
        packages,
        is_made,
        good,
    })
}

/// Replaces the lost key: a key list without it, and one commit. Completes the records, and replaces
/// the key file of this machine if its own key has leaked.
///
/// The same call completes an interrupted replacement.
pub async fn replace(
    target: &Target,
    request: &ReplaceRequest,
    plan: &ReplacePlan,
    progress: &Progress,
) -> Result<ReplacedKey, Failure> {
    let secrets = &*target.secrets;
    let file = key_file(target, request);
    let named = request.file.as_deref();
    let own = Arc::new(SigningKey::load(named, &target.key_file, secrets)?);
    let new = if request.lost.is_some() {
        Arc::clone(&own)
    } else {
        let NewKey { key, .. } = new_key(&next_file(&file), request.unencrypted, secrets)?;
        Arc::new(key)
    };
    let root = request.root.as_ref().unwrap_or(&own);
    let [sign_list, sign_new] = [root, &new].map(|key| state_signer(Arc::clone(key)));
    let replacement = Replacement {
        lost: &plan.lost,
        root: StateKey {
            public: root.public(),
            sign: &*sign_list,
        },
        publisher: StateKey {
            public: new.public(),
            sign: &*sign_new,
        },
        good: &plan.good,
    };
    let replaced = Box::pin(replace_in_state(target, &replacement, progress)).await?;
    let kept = match request.lost {
        Some(_) => None,
        None => Some(replace_file(&file, own.public(), new.public())?),
    };
    Ok(ReplacedKey {
        lost: plan.lost.to_string(),
        public_key: new.public().to_string(),
        trust: replaced.trust,
        commit: replaced.commit,
        secret_key_file: file,
        old_secret_key_file: kept,
    })
}

impl ReplacePlan {
    /// Returns true if an earlier call has removed the key, so that no question is left.
    pub const fn is_made(&self) -> bool {
        self.is_made
    }
}

impl Found {
    /// Reads the history down to the last commit that this machine knows, and to the wanted number.
    ///
    /// A commit beside the history of the head does not count as the last known one: a thief can have
    /// made earlier commits.
    async fn read(
        history: &mut History<'_>,
        memory: &Memory,
        wanted: u64,
    ) -> Result<Self, Failure> {
        let (mut found, mut is_known_since) = (Self::default(), false);
        while let Some(commit) = history.next().await? {
            let is_known = memory.was_head(&commit.id);
            let is_trusted = !matches!(commit.standing, CommitStanding::Unverified(_));
            if let Some(content) = &commit.commit
                && is_trusted
                && commit.id.number == wanted
            {
                found.wanted.push((is_known, content.clone()));
            }
            is_known_since |= is_known && matches!(commit.standing, CommitStanding::Verified);
            if is_known_since && commit.id.number < wanted {
                break;
            }
            if commit.id.number > wanted || !is_known_since && !is_known {
                found.shown.push(commit);
            }
        }
        Ok(found)
    }

    /// Returns the commit whose state stays. Of several commits with the same number, the one that
    /// this machine remembers counts.
    fn good(&self, number: u64) -> Result<Commit, Failure> {
        let known = self.wanted.iter().filter(|(is_known, _)| *is_known);
        let mut known = known.map(|(_, commit)| commit);
        match (known.next(), known.next(), &self.wanted[..]) {
            (Some(only), None, _) | (None, _, [(_, only)]) => Ok(only.clone()),
            (None, _, []) => Err(no_commit(number)),
            _ => Err(several_commits(number)),
        }
    }
}

fn key_file(target: &Target, request: &ReplaceRequest) -> PathBuf {
    let named = request.file.as_deref();
    named.unwrap_or(&target.key_file).to_owned()
}

/// Returns the names of the packages that a commit assigns, and that this key has signed.
async fn packages_by(
    target: &Target,
    commit: &Commit,
    key: &PublicKey,
) -> Result<Vec<String>, Failure> {
    let assigned: Vec<PackageId> = assigned(&target.records, commit)
        .await?
        .into_iter()
        .collect();
    let packages = target.records.packages_of(&assigned).await?;
    let keys = std::slice::from_ref(key);
    let signed = stream::iter(packages)
        .map(|package| async move {
            let is_signed = is_signed(target, &package, keys).await?;
            Ok::<_, Failure>(is_signed.then(|| named(&package)))
        })
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>();
    Ok(signed.await?.into_iter().flatten().collect())
}

async fn is_signed(
    target: &Target,
    package: &PackageRecord,
    keys: &[PublicKey],
) -> Result<bool, Failure> {
    let Some(published) = package.published() else {
        return Ok(false);
    };
    Ok(find_manifest(target, package, published, keys)
        .await?
        .is_ok())
}

/// Returns the packages that a commit assigns to groups and devices.
async fn assigned(records: &Records, commit: &Commit) -> Result<BTreeSet<PackageId>, StateError> {
    let mut trees = Trees::of(Some(commit));
    trees.load_all(records, |trees| &mut trees.groups).await?;
    trees.load_all(records, |trees| &mut trees.devices).await?;
    let leaves = [&trees.groups, &trees.devices].map(|tree| tree.tree().leaves());
    let names: BTreeSet<LeafName> = leaves
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    let part = trees.part(records, names).await?;
    let groups = part
        .groups()
        .filter_map(|(_, group)| Some(&group?.packages));
    let devices = part
        .devices()
        .filter_map(|(_, device)| Some(&device?.packages));
    let entries = groups.chain(devices).flat_map(Entries::as_slice);
    Ok(entries.map(|entry| entry.package).collect())
}

fn own_key(key: &PublicKey) -> Failure {
    Failure::usage(format!("key {key} is the key of this machine"))
        .hint("leave out the key: the command then creates a new key for this machine, too")
}

fn not_named(key: &PublicKey) -> Failure {
    Failure::conflict(format!(
        "cannot remove key {key}: the newest key list does not name it"
    ))
    .hint("run 'packcast keys list' to see the keys")
}

fn no_commit(number: u64) -> Failure {
    Failure::failed(format!("the target has no verified commit {number}"))
        .hint("run 'packcast log' to see the commits")
}

fn several_commits(number: u64) -> Failure {
    Failure::conflict(format!(
        "the target has several commits {number}, and this machine remembers none of them"
    ))
    .hint("run the command on a machine that remembers the commit, or choose another commit")
}

fn number_ahead(number: u64) -> Failure {
    Failure::conflict(format!(
        "cannot make a commit after commit {number}: its number is more than a day ahead of the time"
    ))
    .hint("pass --revert-to with the number of an earlier commit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn refused_replacements_have_next_steps() {
        let key = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8"
            .parse()
            .unwrap();
        let number = 1_795_000_000;
        let errors = [
            own_key(&key),
            not_named(&key),
            no_commit(number),
            several_commits(number),
            number_ahead(number),
        ];
        insta::assert_snapshot!(failures(errors), @r"
        Usage: key RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8 is the key of this machine
        hint: leave out the key: the command then creates a new key for this machine, too
        Conflict: cannot remove key RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8: the newest key list does not name it
        hint: run 'packcast keys list' to see the keys
        Failed: the target has no verified commit 1795000000
        hint: run 'packcast log' to see the commits
        Conflict: the target has several commits 1795000000, and this machine remembers none of them
        hint: run the command on a machine that remembers the commit, or choose another commit
        Conflict: cannot make a commit after commit 1795000000: its number is more than a day ahead of the time
        hint: pass --revert-to with the number of an earlier commit
        ");
    }
}
