//! The state in check-ins: the part that a device holds, and the parts that it receives.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::text_form::text_form;

use super::commit::{CommitId, SignedCommit};
use super::document::DocumentText;
use super::key_list::{KeyListId, SignedKeyList};
use super::name::LeafName;
use super::named_values::TermName;
use super::partial::PartialTree;

/// Largest number of document digests in a request.
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
    /// Documents that the device holds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(length(max = MAX_HELD_DOCUMENTS))]
    pub documents: BTreeSet<DigestPrefix>,
    /// Leaves whose path or document the device lacks.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(length(max = MAX_LACKING))]
    pub lacks: BTreeSet<LeafName>,
    /// Terms of entries that the device knows.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(length(max = MAX_TERMS))]
    pub terms: BTreeSet<TermName>,
}

/// The parts of a state that a device receives, all of one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateReply {
    /// Key lists that the device does not follow yet, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<SignedKeyList>,
    /// The commit, if the device holds another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<SignedCommit>,
    /// Paths to groups, rollouts and locations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<PartialTree>,
    /// Path to the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<PartialTree>,
    /// Path to the commit that the device holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ancestors: Option<PartialTree>,
    /// Documents that the device does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<DocumentText>,
    /// True if more documents follow: the device asks again at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// The first eight bytes of a document's digest, written as 16 lower-case hexadecimal digits.
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
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        Self([a, b, c, d, e, f, g, h])
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
