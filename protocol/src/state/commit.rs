//! Commits: each change of a target's state, signed by a publisher key.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::schema::Schema;
use crate::text_form::text_form;
use crate::time::UnixTime;

use super::key_list::KeyListId;
use super::name::CommitName;
use super::number::{MAX_NUMBER, is_ahead};
use super::signed_text::{SignedText, TargetDocument, VerifiedText};
use super::target::TargetId;
use super::trie::NodeHash;

/// Largest text of a commit, in bytes.
pub const MAX_COMMIT_BYTES: usize = 4 << 10;

/// Longest validity of a commit, in seconds: 90 days.
pub const MAX_COMMIT_VALIDITY_S: u64 = 90 * 86_400;

/// A change of a target's state: the roots of the whole state after the change.
///
/// A reader refuses a commit with an unknown field.
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
    /// The key list that names the publisher key.
    pub keys: KeyListId,
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
    #[error(
        "the number of a commit and the serial number of its key list are 1 to {MAX_NUMBER}, not {number} and {serial}"
    )]
    Number { number: u64, serial: u64 },
    #[error("commit {number} does not come after its parent {parent}")]
    NotAfterParent { number: u64, parent: u64 },
    #[error(
        "commit number {number} is below the time of signing, {issued} (Unix time): check the clock"
    )]
    NumberBehind { number: u64, issued: UnixTime },
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
    /// The key list that names the publisher key.
    keys: KeyListId,
    /// Number of the commit. It is greater than the parent's number, at least `issued`, and at
    /// most `issued` plus one day.
    #[schemars(range(min = 1, max = MAX_NUMBER))]
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
        let (numbers, serial) = (1..=MAX_NUMBER, keys.serial);
        if !numbers.contains(&number) || !numbers.contains(&serial) {
            return Err(CommitError::Number { number, serial });
        }
        if let Some(CommitId { number: parent, .. }) = fields.parent
            && number <= parent
        {
            return Err(CommitError::NotAfterParent { number, parent });
        }
        // Devices forget ancestors by their numbers, so a number stands for a time.
        if number < issued.0 {
            return Err(CommitError::NumberBehind { number, issued });
        }
        if is_ahead(number, issued) {
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
/// publisher remembers, and at least the time in seconds, so that the commit can be issued now.
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
    /// Returns the id of a commit.
    pub fn of(commit: &Commit) -> Self {
        Self {
            number: commit.number,
            digest: Sha256Digest::of(commit.to_text().as_bytes()),
        }
    }

    /// Returns the name of the commit's leaf in the tree of ancestors.
    pub fn name(&self) -> CommitName {
        let start = self.digest.as_bytes().first_chunk();
        CommitName::new(self.number, *start.expect("a digest has more bytes"))
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
            (id.number <= MAX_NUMBER && id.number.to_string() == number).then_some(id)
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

text_form!(CommitId, "CommitId", "^(0|[1-9][0-9]{0,12})-[0-9a-f]{64}$");

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

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causes::messages;
    use crate::state::number::MAX_NUMBER_AHEAD_S;
    use crate::state::test_keys::{TARGET, keys, signed};

    const ISSUED: UnixTime = UnixTime(1_795_000_000);

    fn fields() -> CommitFields {
        CommitFields {
            target: TARGET,
            keys: KeyListId {
                serial: 3,
                digest: Sha256Digest::of(b"keys"),
            },
            number: ISSUED.0,
            parent: Some(CommitId {
                number: ISSUED.0 - 5,
                digest: Sha256Digest::of(b"parent"),
            }),
            groups: NodeHash::from_bytes([1; 32]),
            devices: NodeHash::from_bytes([2; 32]),
            ancestors: NodeHash::EMPTY,
            issued: ISSUED,
            expires: ISSUED.plus(MAX_COMMIT_VALIDITY_S),
            about: Sha256Digest::of(b"about"),
        }
    }

    pub(in crate::state) fn commit() -> Commit {
        Commit::new(fields()).unwrap()
    }

    /// Creates a commit from changed fields.
    fn changed(change: impl FnOnce(&mut CommitFields)) -> Result<Commit, CommitError> {
        let mut fields = fields();
        change(&mut fields);
        Commit::new(fields)
    }

    #[test]
    fn the_fields_of_a_commit_agree() {
        assert!(changed(|c| c.parent = None).is_ok());
        assert!(changed(|c| c.number += MAX_NUMBER_AHEAD_S).is_ok());
        assert!(changed(|c| c.expires = ISSUED.plus(1)).is_ok());
        let errors = [
            changed(|c| c.keys.serial = 0),
            changed(|c| c.keys.serial = MAX_NUMBER + 1),
            changed(|c| (c.number, c.issued) = (0, UnixTime(0))),
            changed(|c| {
                c.number = MAX_NUMBER + 1;
                c.issued = UnixTime(MAX_NUMBER);
                c.expires = UnixTime(MAX_NUMBER + 1);
            }),
            changed(|c| c.number -= 1),
            changed(|c| c.issued.0 -= 5),
            changed(|c| c.number += MAX_NUMBER_AHEAD_S + 1),
            changed(|c| c.expires = c.issued),
            changed(|c| c.expires = c.expires.plus(1)),
        ];
        for (index, result) in errors.into_iter().enumerate() {
            assert!(result.is_err(), "{index}");
        }
    }

    #[test]
    fn a_commit_expires_at_the_end_of_its_validity() {
        let (commit, end) = (commit(), fields().expires);
        assert!(!commit.is_expired(UnixTime(end.0 - 1)));
        assert!(commit.is_expired(end));
    }

    #[test]
    fn the_next_number_is_above_the_parent_and_the_memory_and_not_behind_the_clock() {
        let parent = fields().parent;
        assert_eq!(next_number(None, 0, ISSUED), ISSUED.0);
        assert_eq!(next_number(parent, 0, UnixTime(7)), ISSUED.0 - 4);
        assert_eq!(next_number(parent, ISSUED.0, UnixTime(7)), ISSUED.0 + 1);
        assert_eq!(next_number(parent, ISSUED.0, ISSUED), ISSUED.0 + 1);
        assert_eq!(next_number(parent, u64::MAX, ISSUED), u64::MAX);
    }

    #[test]
    fn the_largest_commit_fits() {
        let digest = Sha256Digest::of(b"");
        let fields = CommitFields {
            keys: KeyListId {
                serial: MAX_NUMBER,
                digest,
            },
            number: MAX_NUMBER,
            parent: Some(CommitId {
                number: MAX_NUMBER - 1,
                digest,
            }),
            issued: UnixTime(MAX_NUMBER),
            expires: UnixTime(MAX_NUMBER + 1),
            ..fields()
        };
        let commit = Commit::new(fields).unwrap();
        assert!(commit.to_text().len() <= MAX_COMMIT_BYTES);
        let signed: SignedCommit = signed(&commit, 0);
        assert!(signed.verify(TARGET, &keys(&[0])).is_ok());
    }

    #[test]
    fn unknown_fields_schemas_and_kinds_are_refused() {
        let text = commit().to_text();
        assert!(serde_json::from_str::<Commit>(&text).is_ok());
        for (from, to) in [
            ("\"schema\":2", "\"schema\":1"),
            ("\"schema\":2", "\"schema\":3"),
            ("\"schema\":2", "\"schema\":2,\"not_before\":1"),
            ("\"kind\":\"commit\"", "\"kind\":\"keys\""),
            ("\"kind\":\"commit\",", ""),
            ("\"keys\":\"3-", "\"keys\":\"0-"),
            ("\"keys\":", "\"keys\":3,\"keys\":"),
            ("\"about\":", "\"about\":0,\"about\":"),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            let other = text.replacen(from, to, 1);
            assert!(serde_json::from_str::<Commit>(&other).is_err(), "{to}");
        }
    }

    #[test]
    fn the_name_of_a_leaf_is_the_start_of_the_id() {
        let signed: SignedCommit = signed(&commit(), 0);
        let id = signed.verify(TARGET, &keys(&[0])).unwrap().id();
        assert_eq!(id.digest, signed.digest());
        let text = id.to_string();
        assert_eq!(id.name().to_string(), text[..text.len() - 56]);
        assert_eq!(text.parse(), Ok(id));
        for bad in [
            "",
            "1",
            "1-",
            &format!("0{text}"),
            &format!("+{text}"),
            &text.replacen(&ISSUED.0.to_string(), "1099511627777", 1),
            &text[1..20],
        ] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn error_messages() {
        let errors = [
            changed(|c| c.keys.serial = 0),
            changed(|c| c.number -= 5),
            changed(|c| c.number -= 1),
            changed(|c| c.number += 86_401),
            changed(|c| c.expires = c.issued),
        ];
        insta::assert_snapshot!(messages(errors.map(Result::unwrap_err)), @"
        the number of a commit and the serial number of its key list are 1 to 1099511627776, not 1795000000 and 0
        commit 1794999995 does not come after its parent 1794999995
        commit number 1794999999 is below the time of signing, 1795000000 (Unix time): check the clock
        commit number 1795086401 is more than a day ahead of the time of signing, 1795000000 (Unix time): check the clock
        a commit is valid for up to 90 days after it is issued: issued 1795000000, expires 1795000000 (Unix time)
        ");
        insta::assert_snapshot!("7".parse::<CommitId>().unwrap_err(), @r#""7" is not a commit's id: a number without leading zeros, '-', and 64 lower-case hexadecimal digits"#);
    }

    proptest! {
        #[test]
        fn a_commit_reads_back(number in ISSUED.0..=ISSUED.0 + MAX_NUMBER_AHEAD_S, roots: [[u8; 32]; 3], first: bool, validity in 1..=MAX_COMMIT_VALIDITY_S) {
            let [groups, devices, ancestors] = roots.map(NodeHash::from_bytes);
            let parent = CommitId { number: number - 1, digest: Sha256Digest::of(b"parent") };
            let commit = Commit::new(CommitFields {
                number,
                parent: (!first).then_some(parent),
                groups,
                devices,
                ancestors,
                expires: ISSUED.plus(validity),
                ..fields()
            }).unwrap();
            let text = commit.to_text();
            let read: Commit = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.to_text(), text);
            prop_assert_eq!(read, commit);
        }

        #[test]
        fn parsing_never_panics(text in ".{0,200}") {
            let _ = serde_json::from_str::<Commit>(&text);
            let _ = text.parse::<CommitId>();
        }
    }
}
