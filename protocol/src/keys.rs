//! Key lists: the trusted public keys, as they change. The first key of a list signs the next
//! list.

mod chain;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::signature::PublicKey;
use crate::signed::{Schema, Signed, SignedDocument};
use crate::time::UnixTime;

pub use chain::{FollowError, MAX_LISTS, Trusted, trusted};

/// Largest number of keys in a list.
pub const MAX_KEYS: usize = 8;

/// All keys that are trusted from now on. A key that a later list leaves out is revoked.
///
/// A reader refuses a list with an unknown field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct KeyList {
    serial: u64,
    keys: Vec<PublicKey>,
    issued: UnixTime,
}

/// A key list with its signature by the first key of the previous list.
pub type SignedKeyList = Signed<KeyList>;

/// Errors in a key list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyListError {
    #[error("a key list has 1 to {MAX_KEYS} keys, not {count}")]
    Count { count: usize },
    #[error("the key list has key {key} twice")]
    Twice { key: PublicKey },
    #[error("the serial number of a key list is at least 1")]
    Serial,
}

/// Wire form of a key list.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename = "KeyList", deny_unknown_fields)]
struct Raw {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<1>,
    kind: Kind,
    /// Number of the list among the lists of its target, from 1.
    #[schemars(range(min = 1))]
    serial: u64,
    /// Trusted keys. The first key signs from now on.
    #[schemars(length(min = 1, max = MAX_KEYS))]
    keys: Vec<PublicKey>,
    issued: UnixTime,
}

/// Kind of the document, which distinguishes it from other signed documents.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Kind {
    Keys,
}

impl KeyList {
    /// Creates a list of trusted keys. The first key signs from now on.
    pub fn new(serial: u64, keys: Vec<PublicKey>, issued: UnixTime) -> Result<Self, KeyListError> {
        if serial == 0 {
            return Err(KeyListError::Serial);
        }
        if !(1..=MAX_KEYS).contains(&keys.len()) {
            return Err(KeyListError::Count { count: keys.len() });
        }
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].contains(key) {
                return Err(KeyListError::Twice { key: key.clone() });
            }
        }
        Ok(Self {
            serial,
            keys,
            issued,
        })
    }

    pub const fn serial(&self) -> u64 {
        self.serial
    }

    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    pub const fn issued(&self) -> UnixTime {
        self.issued
    }
}

impl SignedDocument for KeyList {
    const NAME: &'static str = "key list";
}

impl TryFrom<Raw> for KeyList {
    type Error = KeyListError;

    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        let Raw {
            schema: Schema,
            kind: Kind::Keys,
            serial,
            keys,
            issued,
        } = raw;
        Self::new(serial, keys, issued)
    }
}

impl From<KeyList> for Raw {
    fn from(list: KeyList) -> Self {
        let KeyList {
            serial,
            keys,
            issued,
        } = list;
        Self {
            schema: Schema,
            kind: Kind::Keys,
            serial,
            keys,
            issued,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use minisign::KeyPair;

    use super::*;
    use crate::assignments::{Assignee, Assignments, Held};
    use crate::causes::messages;
    use crate::signature::SignatureError;
    use crate::signed::SignedError;

    static PAIRS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| {
        (0..5)
            .map(|_| KeyPair::generate_unencrypted_keypair().unwrap())
            .collect()
    });

    fn key(n: usize) -> PublicKey {
        PAIRS[n].pk.to_base64().parse().unwrap()
    }

    pub(super) fn keys(numbers: &[usize]) -> Vec<PublicKey> {
        numbers.iter().map(|n| key(*n)).collect()
    }

    fn sign(signer: usize, document: &str) -> String {
        minisign::sign(None, &PAIRS[signer].sk, document.as_bytes(), None, None)
            .unwrap()
            .into_string()
    }

    pub(super) fn list(serial: u64, named: &[usize], signer: usize) -> SignedKeyList {
        let list = KeyList::new(serial, keys(named), UnixTime(1_795_000_000)).unwrap();
        let document = list.to_document();
        let signature = sign(signer, &document);
        Signed::new(document, signature).unwrap()
    }

    #[test]
    fn invalid_key_lists_are_refused() {
        let create = |serial, named: &[usize]| KeyList::new(serial, keys(named), UnixTime(1));
        assert_eq!(create(1, &[]), Err(KeyListError::Count { count: 0 }));
        assert_eq!(create(1, &[0; 9]), Err(KeyListError::Count { count: 9 }));
        assert_eq!(create(1, &[0, 0]), Err(KeyListError::Twice { key: key(0) }));
        assert_eq!(create(0, &[0]), Err(KeyListError::Serial));
        let document = create(1, &[0]).unwrap().to_document();
        for (from, to) in [
            ("\"serial\":1", "\"serial\":0"),
            ("\"schema\":1", "\"schema\":1,\"until\":9"),
            ("\"kind\":\"keys\"", "\"kind\":\"assignments\""),
        ] {
            assert!(document.contains(from), "{from} in {document}");
            let other = document.replacen(from, to, 1);
            assert!(serde_json::from_str::<KeyList>(&other).is_err(), "{to}");
        }
    }

    #[test]
    fn signatures_count_for_one_document_of_one_kind() {
        let state = Held {
            revision: 1,
            issued: UnixTime(1),
        };
        let lab = Assignee::Group("lab".parse().unwrap());
        let assignments = Assignments::new(lab, state, [].into(), Vec::new(), UnixTime(9)).unwrap();
        let list = KeyList::new(1, keys(&[0]), UnixTime(1)).unwrap();
        let documents = [assignments.to_document(), list.to_document()];
        let signatures = [sign(0, &documents[0]), sign(0, &documents[1])];
        let trusted = keys(&[0]);
        for (document, signature) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (text, sign) = (documents[document].clone(), signatures[signature].clone());
            let as_assignments = Signed::<Assignments>::new(text.clone(), sign.clone()).unwrap();
            let as_keys = SignedKeyList::new(text, sign).unwrap();
            let (assignments, keys) = (as_assignments.verify(&trusted), as_keys.verify(&trusted));
            let moved = document != signature;
            for (error, own) in [
                (assignments.map(drop).err(), document == 0),
                (keys.map(drop).err(), document == 1),
            ] {
                match error {
                    None => assert!(own && !moved),
                    Some(SignedError::Signature { source, .. }) => {
                        assert!(moved);
                        assert_eq!(source, SignatureError::Mismatch);
                    }
                    Some(SignedError::Json { .. }) => assert!(!own && !moved),
                }
            }
        }
    }

    #[test]
    fn error_messages() {
        let key = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
        insta::assert_snapshot!(messages([
            KeyListError::Count { count: 9 },
            KeyListError::Twice {
                key: key.parse().unwrap(),
            },
            KeyListError::Serial,
        ]), @"
        a key list has 1 to 8 keys, not 9
        the key list has key RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8 twice
        the serial number of a key list is at least 1
        ");
    }
}
