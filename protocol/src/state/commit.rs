//! Commits: each change of a target's state, signed by a publisher key.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::signed::Schema;
use crate::text_form::text_form;
use crate::time::UnixTime;

use super::name::CommitName;
use super::signed_text::{SignedText, TargetDocument, VerifiedText};
use super::target::TargetId;
use super::trie::NodeHash;

/// Largest text of a commit, in bytes.
pub const MAX_COMMIT_BYTES: usize = 4 << 10;

/// Longest validity of a commit, in seconds: 90 days.
pub const MAX_COMMIT_VALIDITY_S: u64 = 90 * 86_400;

/// Largest distance of a commit's number from its time, in seconds: one day.
///
/// The limit keeps a thief of a key from using up the numbers.
pub const MAX_NUMBER_AHEAD_S: u64 = 86_400;

/// A change of a target's state: the roots of the whole state after the change.
///
/// The fields are those of [`CommitFields`], which the commit dereferences to. They agree with
/// each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Commit(CommitFields);

/// A commit with its signature by a publisher key.
pub type SignedCommit = SignedText<Commit, MAX_COMMIT_BYTES>;

/// A commit that a known publisher key has signed; the commit may have expired.
pub type VerifiedCommit = VerifiedText<Commit>;

/// The fields of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitFields {
    /// Target of the state.
    pub target: TargetId,
    /// Serial number of the key list that names the publisher key.
    pub keys: u64,
    /// Number of the commit; a later commit has a greater number.
    pub number: u64,
    /// The commit that this commit changes; `None` for the first commit.
    pub parent: Option<CommitId>,
    /// Root of the tree of groups, rollouts and locations.
    pub groups: NodeHash,
    /// Root of the tree of devices.
    pub devices: NodeHash,
    /// Root of the tree of earlier commits that this commit contains.
    pub ancestors: NodeHash,
    /// Time of the signature.
    pub issued: UnixTime,
    /// End of the validity: nothing begins under the commit from this time on.
    pub expires: UnixTime,
    /// SHA-256 of the document about the commit, for administrators.
    pub about: Sha256Digest,
}

/// Number and digest of a commit, written `<number>-<64 hexadecimal digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId {
    pub number: u64,
    /// SHA-256 of the commit's text.
    pub digest: Sha256Digest,
}

/// Text that is not the id of a commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a commit's id: a number without leading zeros, '-', and 64 lower-case hexadecimal digits"
)]
pub struct CommitIdError {
    given: String,
}

/// Errors in the fields of a commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    #[error("the number of a commit and the serial number of its key list are at least 1")]
    Zero,
    #[error("commit {number} does not come after its parent {parent}")]
    NotAfterParent { number: u64, parent: u64 },
    #[error(
        "commit number {number} is more than a day ahead of the time of signing, {issued} (Unix time): check the clock"
    )]
    NumberAhead { number: u64, issued: UnixTime },
    #[error(
        "a commit is valid for up to 90 days after it is issued: issued {issued}, expires {expires} (Unix time)"
    )]
    Validity { issued: UnixTime, expires: UnixTime },
}

/// Wire form of a commit.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Commit", deny_unknown_fields)]
struct Raw {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<2>,
    kind: Kind,
    target: TargetId,
    /// Serial number of the key list that names the publisher key.
    #[schemars(range(min = 1))]
    keys: u64,
    /// Number of the commit. It is greater than the parent's number, and at most `issued` plus
    /// one day.
    #[schemars(range(min = 1))]
    number: u64,
    /// The commit that this commit changes; null for the first commit.
    parent: Option<CommitId>,
    /// Root of the tree of groups, rollouts and locations.
    groups: NodeHash,
    /// Root of the tree of devices.
    devices: NodeHash,
    /// Root of the tree of earlier commits that this commit contains.
    ancestors: NodeHash,
    /// Time of the signature.
    issued: UnixTime,
    /// End of the validity, at most 90 days after `issued`.
    expires: UnixTime,
    /// SHA-256 of the document about the commit.
    about: Sha256Digest,
}

/// Kind of the document, which distinguishes it from other signed documents.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Kind {
    Commit,
}

impl Commit {
    /// Creates a commit from fields that agree with each other.
    pub fn new(fields: CommitFields) -> Result<Self, CommitError> {
        let CommitFields {
            keys,
            number,
            issued,
            expires,
            ..
        } = fields;
        if keys == 0 || number == 0 {
            return Err(CommitError::Zero);
        }
        if let Some(CommitId { number: parent, .. }) = fields.parent
            && number <= parent
        {
            return Err(CommitError::NotAfterParent { number, parent });
        }
        if number > issued.plus(MAX_NUMBER_AHEAD_S).0 {
            return Err(CommitError::NumberAhead { number, issued });
        }
        if expires <= issued || expires.since(issued) > MAX_COMMIT_VALIDITY_S {
            return Err(CommitError::Validity { issued, expires });
        }
        Ok(Self(fields))
    }

    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.expires <= now
    }
}

/// Returns the number of the next commit: above the parent's number and every number that the
/// publisher remembers, and at least the time in seconds.
pub fn next_number(parent: Option<CommitId>, highest_remembered: u64, now: UnixTime) -> u64 {
    let parent = parent.map_or(0, |parent| parent.number);
    parent.max(highest_remembered).saturating_add(1).max(now.0)
}

impl VerifiedCommit {
    pub fn id(&self) -> CommitId {
        CommitId {
            number: self.number,
            digest: self.digest(),
        }
    }
}

impl CommitId {
    /// Returns the name of the commit's leaf in the tree of ancestors.
    pub fn name(&self) -> CommitName {
        let [a, b, c, d, ..] = *self.digest.as_bytes();
        CommitName::new(self.number, [a, b, c, d])
    }
}

impl FromStr for CommitId {
    type Err = CommitIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (number, digest) = text.split_once('-')?;
            let id = Self {
                number: number.parse().ok()?,
                digest: digest.parse().ok()?,
            };
            // `parse` accepts a plus sign and leading zeros.
            (id.number.to_string() == number).then_some(id)
        };
        parse().ok_or_else(|| CommitIdError {
            given: text.chars().take(96).collect(),
        })
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.digest)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitId({self})")
    }
}

text_form!(CommitId, "CommitId", "^(0|[1-9][0-9]{0,19})-[0-9a-f]{64}$");

impl TargetDocument for Commit {
    const NAME: &'static str = "commit";

    fn target(&self) -> TargetId {
        self.0.target
    }
}

impl Deref for Commit {
    type Target = CommitFields;

    fn deref(&self) -> &CommitFields {
        &self.0
    }
}

impl TryFrom<Raw> for Commit {
    type Error = CommitError;

    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        let Raw {
            schema: Schema,
            kind: Kind::Commit,
            target,
            keys,
            number,
            parent,
            groups,
            devices,
            ancestors,
            issued,
            expires,
            about,
        } = raw;
        Self::new(CommitFields {
            target,
            keys,
            number,
            parent,
            groups,
            devices,
            ancestors,
            issued,
            expires,
            about,
        })
    }
}

impl From<Commit> for Raw {
    fn from(Commit(fields): Commit) -> Self {
        let CommitFields {
            target,
            keys,
            number,
            parent,
            groups,
            devices,
            ancestors,
            issued,
            expires,
            about,
        } = fields;
        Self {
            schema: Schema,
            kind: Kind::Commit,
            target,
            keys,
            number,
            parent,
            groups,
            devices,
            ancestors,
            issued,
            expires,
            about,
        }
    }
}
