//! Key lists: the root keys that may sign the next list, and the publisher keys that sign commits.

mod chain;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Sha256Digest;
use crate::schema::Schema;
use crate::signature::PublicKey;
use crate::text_form::text_form;
use crate::time::UnixTime;

use super::named_values::{NamedValues, TermName};
use super::number::{MAX_NUMBER, is_ahead};
use super::signed_text::{SignedText, TargetDocument, VerifiedText};
use super::target::{MAX_ROOTS, TargetId};

pub use chain::{Followed, KeyChain, KeyChainError, MAX_LINKS};

/// Largest text of a key list, in bytes.
pub const MAX_KEY_LIST_BYTES: usize = 16 << 10;

/// Largest number of publisher keys.
pub const MAX_PUBLISHERS: usize = 16;

/// Longest validity of a key list, in seconds: 100 days.
pub const MAX_KEY_LIST_VALIDITY_S: u64 = 100 * 86_400;

/// Largest form of a publisher key's restrictions as JSON, in bytes.
pub const MAX_RESTRICTIONS_BYTES: usize = 512;

/// Restrictions of a publisher key, by name. This version knows `retired`.
pub type Restrictions = NamedValues<MAX_RESTRICTIONS_BYTES>;

/// The root keys and publisher keys of a target from now on. A key that a later list leaves out
/// is revoked; a key that it names as retired signs no further commits.
///
/// A reader refuses a list with an unknown field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct KeyList(KeyListFields);

/// The fields of a key list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyListFields {
    /// Target of the list.
    pub target: TargetId,
    /// Number of the list among the lists of its target, from 1.
    pub serial: u64,
    /// Lowest number of the commits that are accepted under the list.
    pub from: u64,
    /// Root keys that may sign the next list, highest rank first, each once.
    pub roots: Vec<PublicKey>,
    /// Publisher keys that may sign commits, each once.
    pub publishers: Vec<PublisherKey>,
    /// Time of the signature.
    pub issued: UnixTime,
    /// End of the validity.
    pub expires: UnixTime,
}

/// A key list with its signature by a root key.
pub type SignedKeyList = SignedText<KeyList, MAX_KEY_LIST_BYTES>;

/// A key list that a known root key has signed; the list may have expired.
pub type VerifiedKeyList = VerifiedText<KeyList>;

/// A publisher key of a key list, with its restrictions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublisherKey {
    pub key: PublicKey,
    /// Restrictions of the key.
    ///
    /// A key with `"retired": true` signs no further commits. Commits that a device holds already
    /// still count: a new commit must contain them. So a rotation makes no device forget a
    /// withdrawal, as the removal of a leaked key does.
    #[serde(flatten)]
    pub restrictions: Restrictions,
}

/// Serial number and digest of a key list, written `<serial>-<64 hexadecimal digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyListId {
    pub serial: u64,
    /// SHA-256 of the list's text.
    pub digest: Sha256Digest,
}

/// Text that is not the id of a key list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a key list's id: a number without leading zeros, '-', and 64 lower-case hexadecimal digits"
)]
pub struct KeyListIdError {
    given: String,
}

/// Errors in a key list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyListError {
    #[error("the serial number of a key list is 1 to {MAX_NUMBER}, not {serial}")]
    Serial { serial: u64 },
    #[error(
        "key list for commits from {from} on: the number is more than a day ahead of the time of signing, {issued} (Unix time): check the clock"
    )]
    FromAhead { from: u64, issued: UnixTime },
    #[error("a key list has 1 to {MAX_ROOTS} root keys, not {count}")]
    Roots { count: usize },
    #[error("a key list has 1 to {MAX_PUBLISHERS} publisher keys, not {count}")]
    Publishers { count: usize },
    #[error("the key list has root key {key} twice")]
    RootTwice { key: PublicKey },
    #[error("the key list has publisher key {key} twice")]
    PublisherTwice { key: PublicKey },
    #[error(
        "a key list is valid for up to 100 days after it is issued: issued {issued}, expires {expires} (Unix time)"
    )]
    Validity { issued: UnixTime, expires: UnixTime },
}

/// Wire form of a key list.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename = "KeyList", deny_unknown_fields)]
struct Raw {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<2>,
    kind: Kind,
    target: TargetId,
    /// Number of the list among the lists of its target, from 1.
    #[schemars(range(min = 1, max = MAX_NUMBER))]
    serial: u64,
    /// Lowest number of the commits that are accepted under the list, at most `issued` plus one
    /// day.
    #[schemars(range(max = MAX_NUMBER))]
    from: u64,
    /// Root keys that may sign the next list, highest rank first, each once.
    #[schemars(length(min = 1, max = MAX_ROOTS))]
    roots: Vec<PublicKey>,
    /// Publisher keys that may sign commits, sorted by their texts, each once.
    #[schemars(length(min = 1, max = MAX_PUBLISHERS))]
    publishers: Vec<PublisherKey>,
    /// Time of the signature.
    issued: UnixTime,
    /// End of the validity, at most 100 days after `issued`. An expired list still names the root
    /// keys that may sign the next list.
    expires: UnixTime,
}

/// Kind of the document, which distinguishes it from other signed documents.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Kind {
    Keys,
}

impl KeyList {
    /// Creates a key list. The order of the root keys is their rank; the publisher keys may be in
    /// any order.
    pub fn new(mut fields: KeyListFields) -> Result<Self, KeyListError> {
        let KeyListFields {
            serial,
            from,
            issued,
            expires,
            ..
        } = fields;
        if !(1..=MAX_NUMBER).contains(&serial) {
            return Err(KeyListError::Serial { serial });
        }
        if from > MAX_NUMBER || is_ahead(from, issued) {
            return Err(KeyListError::FromAhead { from, issued });
        }
        let count = fields.roots.len();
        if !(1..=MAX_ROOTS).contains(&count) {
            return Err(KeyListError::Roots { count });
        }
        let count = fields.publishers.len();
        if !(1..=MAX_PUBLISHERS).contains(&count) {
            return Err(KeyListError::Publishers { count });
        }
        if let Some(key) = repeated(&fields.roots) {
            return Err(KeyListError::RootTwice { key });
        }
        let publishers = &mut fields.publishers;
        publishers.sort_by_cached_key(|publisher| publisher.key.to_string());
        let keys: Vec<PublicKey> = publishers.iter().map(|p| p.key.clone()).collect();
        if let Some(key) = repeated(&keys) {
            return Err(KeyListError::PublisherTwice { key });
        }
        if expires <= issued || expires.since(issued) > MAX_KEY_LIST_VALIDITY_S {
            return Err(KeyListError::Validity { issued, expires });
        }
        Ok(Self(fields))
    }

    pub const fn serial(&self) -> u64 {
        self.0.serial
    }

    /// Returns the lowest number of the commits that are accepted under the list.
    pub const fn from(&self) -> u64 {
        self.0.from
    }

    /// Returns whether a commit with this number is accepted under the list, if one of its
    /// publisher keys has signed the commit.
    ///
    /// A list that removes a publisher key leaves out all earlier numbers. Otherwise a device that
    /// discards a commit of the removed key would accept states from before that commit.
    pub const fn accepts_number(&self, number: u64) -> bool {
        self.0.from <= number
    }

    /// Returns the root keys that may sign the next list, highest rank first.
    pub fn roots(&self) -> &[PublicKey] {
        &self.0.roots
    }

    /// Returns the publisher keys in the order of their texts, including those with restrictions.
    pub fn publishers(&self) -> &[PublisherKey] {
        &self.0.publishers
    }

    /// Returns the publisher keys without restrictions that this version does not know, even
    /// after the list has expired. Retired keys are among them.
    pub fn usable_publishers(&self) -> Vec<PublicKey> {
        self.keys(PublisherKey::is_usable)
    }

    /// Returns the publisher keys that may sign further commits.
    pub fn signing_publishers(&self) -> Vec<PublicKey> {
        self.keys(|publisher| publisher.restrictions.is_empty())
    }

    fn keys(&self, is_wanted: impl Fn(&PublisherKey) -> bool) -> Vec<PublicKey> {
        let publishers = self.publishers().iter();
        publishers
            .filter(|publisher| is_wanted(publisher))
            .map(|publisher| publisher.key.clone())
            .collect()
    }

    pub const fn issued(&self) -> UnixTime {
        self.0.issued
    }

    pub const fn expires(&self) -> UnixTime {
        self.0.expires
    }

    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.expires() <= now
    }
}

/// Returns a key that the list has twice.
fn repeated(keys: &[PublicKey]) -> Option<PublicKey> {
    let mut indices = 1..keys.len();
    indices
        .find(|index| keys[..*index].contains(&keys[*index]))
        .map(|index| keys[index].clone())
}

impl PublisherKey {
    /// Returns a publisher key without restrictions.
    pub fn unrestricted(key: PublicKey) -> Self {
        let restrictions = Restrictions::default();
        Self { key, restrictions }
    }

    /// Returns a publisher key that signs no further commits.
    pub fn retired(key: PublicKey) -> Self {
        let restrictions = [(retired(), Value::Bool(true))].into();
        let restrictions = Restrictions::new(restrictions).expect("one restriction is short");
        Self { key, restrictions }
    }

    /// Returns whether this version knows all restrictions of the key.
    pub fn is_usable(&self) -> bool {
        let mut restrictions = self.restrictions.iter();
        restrictions.all(|(name, value)| *name == retired() && *value == Value::Bool(true))
    }
}

/// Returns the name of the restriction of a key that signs no further commits.
fn retired() -> TermName {
    "retired".parse().expect("this is a restriction's name")
}

impl VerifiedKeyList {
    pub fn id(&self) -> KeyListId {
        KeyListId {
            serial: self.serial(),
            digest: self.digest(),
        }
    }
}

impl FromStr for KeyListId {
    type Err = KeyListIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (serial, digest) = text.split_once('-')?;
            let id = Self {
                serial: serial.parse().ok()?,
                digest: digest.parse().ok()?,
            };
            // `parse` accepts a plus sign and leading zeros.
            (id.serial <= MAX_NUMBER && id.serial.to_string() == serial).then_some(id)
        };
        parse().ok_or_else(|| KeyListIdError {
            given: text.chars().take(96).collect(),
        })
    }
}

impl fmt::Display for KeyListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.serial, self.digest)
    }
}

impl fmt::Debug for KeyListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyListId({self})")
    }
}

text_form!(
    KeyListId,
    "KeyListId",
    "^(0|[1-9][0-9]{0,12})-[0-9a-f]{64}$"
);

impl TargetDocument for KeyList {
    const NAME: &'static str = "key list";

    fn target(&self) -> TargetId {
        self.0.target
    }
}

impl TryFrom<Raw> for KeyList {
    type Error = KeyListError;

    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        let Raw {
            schema: Schema,
            kind: Kind::Keys,
            target,
            serial,
            from,
            roots,
            publishers,
            issued,
            expires,
        } = raw;
        Self::new(KeyListFields {
            target,
            serial,
            from,
            roots,
            publishers,
            issued,
            expires,
        })
    }
}

impl From<KeyList> for Raw {
    fn from(KeyList(fields): KeyList) -> Self {
        let KeyListFields {
            target,
            serial,
            from,
            roots,
            publishers,
            issued,
            expires,
        } = fields;
        Self {
            schema: Schema,
            kind: Kind::Keys,
            target,
            serial,
            from,
            roots,
            publishers,
            issued,
            expires,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::causes::messages;
    use crate::state::test_keys::{TARGET, key, keys, renamed, signed};

    const ISSUED: UnixTime = UnixTime(1_795_000_000);

    fn publishers(numbers: &[usize]) -> Vec<PublisherKey> {
        let keys = keys(numbers).into_iter();
        keys.map(PublisherKey::unrestricted).collect()
    }

    /// The fields of a list for commits from any number on.
    fn fields(serial: u64, roots: &[usize], named: &[usize], validity: u64) -> KeyListFields {
        KeyListFields {
            target: TARGET,
            serial,
            from: 0,
            roots: keys(roots),
            publishers: publishers(named),
            issued: ISSUED,
            expires: ISSUED.plus(validity),
        }
    }

    fn created(
        serial: u64,
        roots: &[usize],
        named: &[usize],
        validity: u64,
    ) -> Result<KeyList, KeyListError> {
        KeyList::new(fields(serial, roots, named, validity))
    }

    pub(in crate::state) fn key_list() -> KeyList {
        created(1, &[0], &[0], MAX_KEY_LIST_VALIDITY_S).unwrap()
    }

    fn numbers(count: usize) -> Vec<usize> {
        (0..count).collect()
    }

    #[test]
    fn invalid_key_lists_are_refused() {
        for serial in [0, MAX_NUMBER + 1] {
            let result = created(serial, &[0], &[0], 1);
            assert_eq!(result, Err(KeyListError::Serial { serial }));
        }
        for count in [0, 9] {
            let result = created(1, &numbers(count), &[0], 1);
            assert_eq!(result, Err(KeyListError::Roots { count }));
        }
        for count in [0, 17] {
            let result = created(1, &[0], &numbers(count), 1);
            assert_eq!(result, Err(KeyListError::Publishers { count }));
        }
        let twice = created(1, &[1, 0, 1], &[0], 1);
        assert_eq!(twice, Err(KeyListError::RootTwice { key: key(1) }));
        let twice = created(1, &[0], &[2, 0, 2], 1);
        assert_eq!(twice, Err(KeyListError::PublisherTwice { key: key(2) }));
        let list = KeyList::new(KeyListFields {
            roots: vec![key(0), renamed(&key(0))],
            ..fields(1, &[0], &[0], 1)
        });
        assert!(matches!(list, Err(KeyListError::RootTwice { .. })));
        let list = KeyList::new(KeyListFields {
            publishers: vec![key(0), key(1), renamed(&key(0))]
                .into_iter()
                .map(PublisherKey::unrestricted)
                .collect(),
            ..fields(1, &[0], &[0], 1)
        });
        assert!(matches!(list, Err(KeyListError::PublisherTwice { .. })));
        for validity in [0, MAX_KEY_LIST_VALIDITY_S + 1] {
            let result = created(1, &[0], &[0], validity);
            assert!(matches!(result, Err(KeyListError::Validity { .. })));
        }
        assert!(created(1, &numbers(8), &numbers(16), 1).is_ok());
    }

    #[test]
    fn a_list_accepts_commits_from_a_number_on_that_is_at_most_a_day_ahead() {
        let list = |from, issued: UnixTime| {
            KeyList::new(KeyListFields {
                from,
                issued,
                expires: issued.plus(1),
                ..fields(1, &[0], &[0], 1)
            })
        };
        let day = ISSUED.0 + 86_400;
        let ahead = list(day, ISSUED).unwrap();
        assert_eq!(ahead.from(), day);
        assert!(ahead.accepts_number(day) && !ahead.accepts_number(day - 1));
        assert!(list(0, ISSUED).unwrap().accepts_number(0));
        for (from, issued) in [(day + 1, ISSUED), (MAX_NUMBER + 1, UnixTime(MAX_NUMBER))] {
            let error = KeyListError::FromAhead { from, issued };
            assert_eq!(list(from, issued), Err(error));
        }
    }

    #[test]
    fn unknown_fields_schemas_and_kinds_are_refused() {
        let text = key_list().to_text();
        assert!(serde_json::from_str::<KeyList>(&text).is_ok());
        for (from, to) in [
            ("\"schema\":2", "\"schema\":1"),
            ("\"schema\":2", "\"schema\":3"),
            ("\"schema\":2", "\"schema\":2,\"threshold\":2"),
            ("\"kind\":\"keys\"", "\"kind\":\"commit\""),
            ("\"kind\":\"keys\",", ""),
            ("\"serial\":1", "\"serial\":0"),
            ("\"from\":0,", ""),
            ("\"key\":", "\"Key\":"),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            let other = text.replacen(from, to, 1);
            assert!(serde_json::from_str::<KeyList>(&other).is_err(), "{to}");
        }
    }

    #[test]
    fn a_publisher_key_with_an_unknown_restriction_is_kept_and_not_usable() {
        let text = created(1, &[0], &[0, 1], 1).unwrap().to_text();
        let from = format!("\"key\":\"{}\"", key(1));
        let to = format!("{from},\"groups\":[\"lab\"]");
        assert!(text.contains(&from), "{from} in {text}");
        let restricted = text.replacen(&from, &to, 1);
        let list: KeyList = serde_json::from_str(&restricted).unwrap();
        assert_eq!(list.usable_publishers(), keys(&[0]));
        assert_eq!(list.publishers().len(), 2);
        assert_eq!(list.to_text(), restricted);
    }

    #[test]
    fn a_retired_key_is_usable_and_signs_no_further_commits() {
        let text = created(1, &[0], &[0, 1], 1).unwrap().to_text();
        let from = format!("\"key\":\"{}\"", key(1));
        assert!(text.contains(&from), "{from} in {text}");
        let read = |restriction: &str| -> KeyList {
            let to = format!("{from},{restriction}");
            serde_json::from_str(&text.replacen(&from, &to, 1)).unwrap()
        };
        let list = read("\"retired\":true");
        assert!(list.publishers().contains(&PublisherKey::retired(key(1))));
        assert_eq!(list.usable_publishers().len(), 2);
        assert_eq!(list.signing_publishers(), keys(&[0]));
        // A later version may give other values a meaning.
        let unknown = read("\"retired\":false");
        assert_eq!(unknown.usable_publishers(), keys(&[0]));
        assert_eq!(unknown.signing_publishers(), keys(&[0]));
    }

    #[test]
    fn the_largest_key_list_fits() {
        let restrictions = |publisher: PublisherKey| PublisherKey {
            restrictions: Restrictions::new(BTreeMap::from([(
                "note".parse().unwrap(),
                "x".repeat(MAX_RESTRICTIONS_BYTES - 11).into(),
            )]))
            .unwrap(),
            ..publisher
        };
        let named = publishers(&numbers(16)).into_iter().map(restrictions);
        let list = KeyList::new(KeyListFields {
            from: MAX_NUMBER,
            publishers: named.collect(),
            issued: UnixTime(u64::MAX - 1),
            expires: UnixTime(u64::MAX),
            ..fields(MAX_NUMBER, &numbers(8), &[0], 1)
        });
        let list = list.unwrap();
        assert!(list.to_text().len() <= MAX_KEY_LIST_BYTES);
        let signed: SignedKeyList = signed(&list, 0);
        assert_eq!(*signed.verify(TARGET, &keys(&[0])).unwrap(), list);
    }

    #[test]
    fn an_id_is_serial_number_and_digest() {
        let signed: SignedKeyList = signed(&key_list(), 0);
        let id = signed.verify(TARGET, &keys(&[0])).unwrap().id();
        assert_eq!(id.to_string(), format!("1-{}", signed.digest()));
        assert_eq!(id.to_string().parse(), Ok(id));
        let bad = format!("0{id}").parse::<KeyListId>().unwrap_err();
        insta::assert_snapshot!(messages(["1".parse::<KeyListId>().unwrap_err()]), @r#""1" is not a key list's id: a number without leading zeros, '-', and 64 lower-case hexadecimal digits"#);
        assert!(bad.to_string().starts_with("\"01-"), "{bad}");
    }

    #[test]
    fn error_messages() {
        let key = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
        let key: PublicKey = key.parse().unwrap();
        insta::assert_snapshot!(messages([
            KeyListError::Serial { serial: 0 },
            KeyListError::FromAhead { from: 1_795_086_401, issued: ISSUED },
            KeyListError::Roots { count: 9 },
            KeyListError::Publishers { count: 0 },
            KeyListError::RootTwice { key: key.clone() },
            KeyListError::PublisherTwice { key },
            KeyListError::Validity { issued: ISSUED, expires: ISSUED },
        ]), @"
        the serial number of a key list is 1 to 1099511627776, not 0
        key list for commits from 1795086401 on: the number is more than a day ahead of the time of signing, 1795000000 (Unix time): check the clock
        a key list has 1 to 8 root keys, not 9
        a key list has 1 to 16 publisher keys, not 0
        the key list has root key RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8 twice
        the key list has publisher key RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8 twice
        a key list is valid for up to 100 days after it is issued: issued 1795000000, expires 1795000000 (Unix time)
        ");
    }

    proptest! {
        /// Equal lists have equal texts, whatever order their publisher keys are given in. The
        /// order of the root keys is part of the list.
        #[test]
        fn equal_key_lists_have_equal_texts(
            roots in proptest::sample::subsequence(numbers(8), 1..=8).prop_shuffle(),
            named in proptest::sample::subsequence(numbers(16), 1..=16).prop_shuffle(),
        ) {
            let list = created(1, &roots, &named, 9).unwrap();
            let mut sorted = named;
            sorted.sort_unstable();
            let other = created(1, &roots, &sorted, 9).unwrap();
            let text = list.to_text();
            prop_assert_eq!(&other.to_text(), &text);
            prop_assert_eq!(list.roots(), keys(&roots));
            prop_assert_eq!(serde_json::from_str::<KeyList>(&text).unwrap(), list);
        }

        #[test]
        fn parsing_never_panics(text in ".{0,200}") {
            let _ = serde_json::from_str::<KeyList>(&text);
            let _ = text.parse::<KeyListId>();
        }
    }
}
