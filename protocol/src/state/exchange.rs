//! The state in check-ins: the part that a device holds, and the parts that it receives.

mod bounded_list;
mod device;
mod refused;
mod state_text;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Sha256Digest;
use crate::text_form::text_form;

use super::commit::{CommitId, SignedCommit};
use super::document::DocumentText;
use super::key_list::{KeyListId, MAX_LINKS, SignedKeyList};
use super::name::LeafName;
use super::named_values::TermName;
use super::partial::PartialTree;
use super::trie::NodeHash;

pub use bounded_list::BoundedList;
pub use device::{
    MAX_MANDATES, MAX_WAITING, MachineFacts, UsedMandates, WaitWord, WaitingPackage,
    WaitingPackages,
};
pub use refused::{RefusalWord, RefusedState};
pub use state_text::{MAX_STATE_BYTES, StateText, StateTextError};

/// Largest number of documents in a request or a reply.
pub const MAX_HELD_DOCUMENTS: usize = 256;

/// Largest number of leaves that a device lacks in a request.
pub const MAX_LACKING: usize = 128;

/// Largest number of terms in a request.
pub const MAX_TERMS: usize = 64;

/// The part of the state that a device holds, in its request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldState {
    /// The newest key list that the device follows; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyListId>,
    /// The commit that the device holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Root of the tree of groups that the device holds. Replies leave out a tree that the device
    /// holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<DigestPrefix>,
    /// Root of the tree of devices that the device holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<DigestPrefix>,
    /// The last state that the device has refused, until it accepts another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedState>,
    /// Documents that the device holds.
    #[serde(
        default,
        skip_serializing_if = "BTreeSet::is_empty",
        deserialize_with = "at_most::<_, _, MAX_HELD_DOCUMENTS>"
    )]
    #[schemars(length(max = MAX_HELD_DOCUMENTS))]
    pub documents: BTreeSet<DigestPrefix>,
    /// Leaves whose path or document the device lacks.
    #[serde(
        default,
        skip_serializing_if = "BTreeSet::is_empty",
        deserialize_with = "at_most::<_, _, MAX_LACKING>"
    )]
    #[schemars(length(max = MAX_LACKING))]
    pub lacks: BTreeSet<LeafName>,
    /// Terms of entries that the device knows.
    #[serde(
        default,
        skip_serializing_if = "BTreeSet::is_empty",
        deserialize_with = "at_most::<_, _, MAX_TERMS>"
    )]
    #[schemars(length(max = MAX_TERMS))]
    pub terms: BTreeSet<TermName>,
}

/// The parts of a state that a device receives, all of one commit. A check-in reply has them as a
/// text in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateReply {
    /// Key lists that the device does not follow yet, in order.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "at_most::<_, _, MAX_LINKS>"
    )]
    #[schemars(length(max = MAX_LINKS))]
    pub lists: Vec<SignedKeyList>,
    /// The commit of all parts; absent if the reply has key lists only. A device that lacks parts
    /// of its own commit receives parts of the same commit, even if there is a later commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<CommitId>,
    /// The commit, if the device holds another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<SignedCommit>,
    /// Paths to groups, rollouts and locations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<PartialTree>,
    /// Path to the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<PartialTree>,
    /// Path to the commit that the device holds, and to each commit that it lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ancestors: Option<PartialTree>,
    /// Documents that the device does not hold.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "at_most::<_, _, MAX_HELD_DOCUMENTS>"
    )]
    #[schemars(length(max = MAX_HELD_DOCUMENTS))]
    pub documents: Vec<DocumentText>,
    /// True if further parts or a later commit follow: the device asks again at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// Reads a collection of at most `MAX` items.
fn at_most<'de, D, C, const MAX: usize>(deserializer: D) -> Result<C, D::Error>
where
    D: Deserializer<'de>,
    C: Deserialize<'de>,
    for<'a> &'a C: IntoIterator,
{
    let items = C::deserialize(deserializer)?;
    let count = (&items).into_iter().count();
    if count <= MAX {
        Ok(items)
    } else {
        Err(D::Error::custom(format!(
            "expected at most {MAX} items, found {count}"
        )))
    }
}

/// The first eight bytes of a digest, written as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestPrefix([u8; 8]);

/// Text that is not the start of a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not the start of a digest: 16 lower-case hexadecimal digits")]
pub struct DigestPrefixError {
    given: String,
}

impl DigestPrefix {
    pub fn of(digest: &Sha256Digest) -> Self {
        let start = digest.as_bytes().first_chunk();
        Self(*start.expect("a digest has more bytes"))
    }

    /// Returns the start of the root of a tree.
    pub fn of_root(root: &NodeHash) -> Self {
        let start = root.as_bytes().first_chunk();
        Self(*start.expect("a hash has more bytes"))
    }
}

impl FromStr for DigestPrefix {
    type Err = DigestPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| DigestPrefixError {
                given: text.chars().take(32).collect(),
            })
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestPrefix({self})")
    }
}

text_form!(DigestPrefix, "DigestPrefix", "^[0-9a-f]{16}$");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::commit::tests::commit;
    use crate::state::document::{Document, GroupDocument};
    use crate::state::key_list::tests::key_list;
    use crate::state::test_keys::signed;

    fn prefix(n: usize) -> DigestPrefix {
        DigestPrefix::of(&Sha256Digest::of(&n.to_be_bytes()))
    }

    #[test]
    fn a_device_without_a_state_sends_an_empty_object() {
        assert_eq!(serde_json::to_string(&HeldState::default()).unwrap(), "{}");
        let read: HeldState = serde_json::from_str(r#"{"later":1}"#).unwrap();
        assert_eq!(read, HeldState::default());
        let empty = serde_json::to_string(&StateReply::default()).unwrap();
        assert_eq!(empty, "{}");
        let read: StateReply = serde_json::from_str(r#"{"later":1}"#).unwrap();
        assert_eq!(read, StateReply::default());
    }

    #[test]
    fn requests_and_replies_read_back() {
        let digest = Sha256Digest::of(b"");
        let held = HeldState {
            keys: Some(KeyListId { serial: 1, digest }),
            commit: Some(CommitId { number: 2, digest }),
            groups: Some(DigestPrefix::of_root(&NodeHash::from_bytes([1; 32]))),
            devices: Some(DigestPrefix::of_root(&NodeHash::EMPTY)),
            refused: Some(RefusedState {
                commit: None,
                reason: RefusalWord::Unreadable,
            }),
            documents: [prefix(1), prefix(2)].into(),
            lacks: ["group/lab".parse().unwrap()].into(),
            terms: ["downgrade".parse().unwrap()].into(),
        };
        let text = serde_json::to_string(&held).unwrap();
        assert!(text.contains(r#""groups":"0101010101010101","devices":"0000000000000000""#));
        assert_eq!(serde_json::from_str::<HeldState>(&text).unwrap(), held);
        let group = Document::new(GroupDocument::empty(7, 7));
        let leaf = ("group/lab".parse().unwrap(), group.digest());
        let reply = StateReply {
            lists: vec![signed(&key_list(), 0)],
            of: Some(CommitId { number: 2, digest }),
            commit: Some(signed(&commit(), 0)),
            groups: Some(PartialTree::from_leaves([leaf])),
            devices: Some(PartialTree::from_leaves([])),
            ancestors: None,
            documents: vec![group.text().clone()],
            more: true,
        };
        let text = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<StateReply>(&text).unwrap(), reply);
    }

    #[test]
    fn more_items_than_allowed_are_refused() {
        let texts =
            |count: usize| -> Vec<String> { (0..count).map(|n| prefix(n).to_string()).collect() };
        let held = |count| {
            let json = serde_json::json!({ "documents": texts(count) });
            serde_json::from_value::<HeldState>(json)
        };
        assert_eq!(held(256).unwrap().documents.len(), 256);
        insta::assert_snapshot!(held(257).unwrap_err(), @"expected at most 256 items, found 257");
        let reply = |count| {
            let json = serde_json::json!({ "documents": texts(count) });
            serde_json::from_value::<StateReply>(json).is_ok()
        };
        assert!(reply(256) && !reply(257));
        let list: SignedKeyList = signed(&key_list(), 0);
        let lists = vec![list; 33];
        let json = |count| serde_json::json!({ "lists": &lists[..count] });
        let reply = |count| serde_json::from_value::<StateReply>(json(count)).is_ok();
        assert!(reply(32) && !reply(33));
    }

    #[test]
    fn a_prefix_is_the_start_of_the_digest() {
        let digest = Sha256Digest::of(b"");
        let prefix = DigestPrefix::of(&digest);
        assert_eq!(prefix.to_string(), digest.to_string()[..16]);
        assert_eq!(prefix.to_string().parse(), Ok(prefix));
        let error = digest.to_string().parse::<DigestPrefix>().unwrap_err();
        insta::assert_snapshot!(error, @r#""e3b0c44298fc1c149afbf4c8996fb924" is not the start of a digest: 16 lower-case hexadecimal digits"#);
    }
}
