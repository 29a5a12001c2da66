//! Enrolment batches: tokens that enrol a limited number of devices for a limited time.
//!
//! A token contains its own limits, with a message authentication code that only the holder of
//! the pass key can compute. So the function knows a genuine token without a read of the table.

use std::fmt;
use std::str::FromStr;

use ring::hmac;

use crate::api::Secret;
use crate::device::BASE32_LOWER;
use crate::text_form::text_form;
use crate::time::UnixTime;

/// Largest number of devices of one batch.
pub const MAX_BATCH_DEVICES: u32 = 1_000_000;

/// Latest expiry of a batch, in the year 5138. With this limit the longest token is a [`Secret`].
const LATEST_EXPIRY: UnixTime = UnixTime(99_999_999_999);

/// Number of characters of the random part of a batch's id.
const RANDOM_CHARS: usize = 26;

/// Separates the codes of tokens from the passes, which the pass key creates, too.
const KEY_LABEL: &[u8] = b"packcast/enrolment-batch";

const PREFIX: &str = "batch-";

/// Name of a batch: 1 to 20 lower-case letters, digits, `_` and `-`, the first a letter or digit.
///
/// The name is a part of the token, so that the function learns it without a read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchName(String);

/// Text that is not the name of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a batch's name: 1 to 20 lower-case letters, digits, '_' or '-', the first a letter or digit"
)]
pub struct BatchNameError {
    given: String,
}

/// Id of a batch: 128 random bits, as 26 letters a-z and digits 2-7. The name of the batch, if it has
/// one, and a hyphen come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(String);

/// Text that is not the id of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a batch has 26 letters a-z and digits 2-7, with the name of the batch and a hyphen before them if the batch has a name"
)]
pub struct BatchIdError;

/// A number that is not a number of devices in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch has 1 to {MAX_BATCH_DEVICES} devices")]
pub struct BatchSizeError;

/// The limits of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentBatch {
    id: BatchId,
    devices: u32,
    expires: UnixTime,
}

/// The key of the tokens of one target, derived from its pass key.
#[derive(Clone)]
pub struct BatchKey(hmac::Key);

impl BatchName {
    /// Length of the longest name, in characters.
    pub const MAX_CHARS: usize = 20;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BatchName {
    type Err = BatchNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = (1..=Self::MAX_CHARS).contains(&text.len())
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|b| plain(b) || b"_-".contains(&b));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(BatchNameError {
                given: text.chars().take(64).collect(),
            })
        }
    }
}

impl fmt::Display for BatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_form!(BatchName, "BatchName", "^[a-z0-9][a-z0-9_-]{0,19}$");

impl BatchId {
    /// Creates the id of a batch from its name and 16 random bytes.
    pub fn new(name: Option<&BatchName>, random: [u8; 16]) -> Self {
        let random = BASE32_LOWER.encode(&random);
        Self(match name {
            Some(name) => format!("{name}-{random}"),
            None => random,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the batch.
    pub fn name(&self) -> Option<&str> {
        let (name, _) = self.0.rsplit_once('-')?;
        Some(name)
    }
}

impl FromStr for BatchId {
    type Err = BatchIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let random = match text.rsplit_once('-') {
            Some((name, random)) => {
                name.parse::<BatchName>().map_err(|_| BatchIdError)?;
                random
            }
            None => text,
        };
        match BASE32_LOWER.decode(random.as_bytes()) {
            Ok(bytes) if bytes.len() == 16 && random.len() == RANDOM_CHARS => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(BatchIdError),
        }
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_form!(
    BatchId,
    "BatchId",
    "^([a-z0-9][a-z0-9_-]{0,19}-)?[a-z2-7]{26}$"
);

impl EnrolmentBatch {
    /// Creates a batch of 1 to [`MAX_BATCH_DEVICES`] devices. It expires at the latest in the year
    /// 5138.
    pub fn new(id: BatchId, devices: u32, expires: UnixTime) -> Result<Self, BatchSizeError> {
        if (1..=MAX_BATCH_DEVICES).contains(&devices) {
            Ok(Self {
                id,
                devices,
                expires: expires.min(LATEST_EXPIRY),
            })
        } else {
            Err(BatchSizeError)
        }
    }

    pub const fn id(&self) -> &BatchId {
        &self.id
    }

    /// Returns the number of devices that the token enrols.
    pub const fn devices(&self) -> u32 {
        self.devices
    }

    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// Returns the text of the limits, which is the authenticated part of the token.
    fn limits(&self) -> String {
        let Self {
            id,
            devices,
            expires,
        } = self;
        format!("{PREFIX}{id}-{devices}-{expires}")
    }

    fn from_limits(text: &str) -> Option<Self> {
        // From the end, because the name of a batch may contain hyphens.
        let mut parts = text.strip_prefix(PREFIX)?.rsplitn(3, '-');
        let (expires, devices, id) = (parts.next()?, parts.next()?, parts.next()?);
        let expires = UnixTime(expires.parse().ok()?);
        Self::new(id.parse().ok()?, devices.parse().ok()?, expires).ok()
    }
}

impl BatchKey {
    /// Derives the key from the pass key of a target.
    pub fn of_pass_key(pass_key: &[u8; 32]) -> Self {
        let pass_key = hmac::Key::new(hmac::HMAC_SHA256, pass_key);
        let derived = hmac::sign(&pass_key, KEY_LABEL);
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// Creates the token of a batch.
    pub fn token(&self, batch: &EnrolmentBatch) -> Secret {
        let limits = batch.limits();
        let code = BASE32_LOWER.encode(hmac::sign(&self.0, limits.as_bytes()).as_ref());
        format!("{limits}-{code}")
            .parse()
            .expect("at most 128 letters, digits, underscores and hyphens are a secret")
    }

    /// Returns the batch that a token names, without proof that a target has created the token.
    ///
    /// `None` if the token has another form, such as the token of all agents of a target.
    pub fn read_unverified(token: &Secret) -> Option<EnrolmentBatch> {
        let (limits, _) = token.reveal().rsplit_once('-')?;
        EnrolmentBatch::from_limits(limits)
    }

    /// Returns the batch of a token, if this key created the token.
    pub fn verify(&self, token: &Secret) -> Option<EnrolmentBatch> {
        let (limits, code) = token.reveal().rsplit_once('-')?;
        let code = BASE32_LOWER.decode(code.as_bytes()).ok()?;
        hmac::verify(&self.0, limits.as_bytes(), &code).ok()?;
        EnrolmentBatch::from_limits(limits)
    }
}

impl fmt::Debug for BatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BatchKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(devices: u32, expires: u64) -> EnrolmentBatch {
        EnrolmentBatch::new(BatchId::new(None, [7; 16]), devices, UnixTime(expires)).unwrap()
    }

    fn named(name: &str, devices: u32, expires: u64) -> EnrolmentBatch {
        let name = name.parse().unwrap();
        let id = BatchId::new(Some(&name), [7; 16]);
        EnrolmentBatch::new(id, devices, UnixTime(expires)).unwrap()
    }

    #[test]
    fn a_token_verifies_with_its_key_and_names_its_limits() {
        let key = BatchKey::of_pass_key(&[9; 32]);
        for batch in [
            batch(1, 0),
            batch(500, 1_795_000_000),
            batch(1_000_000, u64::MAX),
            named("rollout-2026_a", 500, 1_795_000_000),
            named(&"x".repeat(20), 1_000_000, u64::MAX),
        ] {
            let token = key.token(&batch);
            assert_eq!(BatchKey::read_unverified(&token), Some(batch.clone()));
            assert_eq!(key.verify(&token), Some(batch));
            assert_eq!(BatchKey::of_pass_key(&[8; 32]).verify(&token), None);
        }
    }

    #[test]
    fn the_form_of_a_token_does_not_change() {
        let token = BatchKey::of_pass_key(&[9; 32]).token(&batch(500, 1_795_000_000));
        insta::assert_snapshot!(token.reveal(), @"batch-a4dqobyha4dqobyha4dqobyha4-500-1795000000-kjtgrxuwjycwxud2fi36q5pftz54nrtmhawzgpywbv336bc56udq");
        let named = named("berlin-2", 500, 1_795_000_000);
        insta::assert_snapshot!(named.limits(), @"batch-berlin-2-a4dqobyha4dqobyha4dqobyha4-500-1795000000");
    }

    #[test]
    fn the_id_of_a_batch_contains_its_name() {
        let random = "a4dqobyha4dqobyha4dqobyha4";
        for (text, name) in [
            (random.to_owned(), None),
            (format!("berlin-{random}"), Some("berlin")),
            (format!("berlin-2-{random}"), Some("berlin-2")),
        ] {
            let id: BatchId = text.parse().unwrap();
            assert_eq!((id.as_str(), id.name()), (text.as_str(), name));
        }
        for bad in [
            "",
            "berlin",
            &random[1..],
            &format!("-{random}"),
            &format!("Berlin-{random}"),
            &format!("{}-{random}", "x".repeat(21)),
            &format!("berlin-{random}-"),
        ] {
            assert_eq!(bad.parse::<BatchId>(), Err(BatchIdError), "{bad}");
        }
    }

    #[test]
    fn the_token_of_all_agents_names_no_batch() {
        for other in [
            "enrolment-token-1",
            "0123456789abcdef",
            "batch-a-1-1-abcdefgh",
        ] {
            assert_eq!(BatchKey::read_unverified(&other.parse().unwrap()), None);
        }
    }

    #[test]
    fn every_changed_character_invalidates_a_token() {
        let key = BatchKey::of_pass_key(&[9; 32]);
        let token = key.token(&batch(500, 1_795_000_000));
        let text = token.reveal();
        for index in 0..text.len() {
            let other = if &text[index..=index] == "a" {
                "b"
            } else {
                "a"
            };
            let changed = format!("{}{other}{}", &text[..index], &text[index + 1..]);
            assert_eq!(key.verify(&changed.parse().unwrap()), None, "{changed}");
        }
        for other in ["enrolment-token-1", &format!("{text}a"), &text[1..]] {
            assert_eq!(key.verify(&other.parse().unwrap()), None, "{other}");
        }
    }

    #[test]
    fn an_authentic_text_of_another_form_is_no_token() {
        let key = BatchKey::of_pass_key(&[9; 32]);
        let id = BatchId::new(None, [7; 16]);
        for limits in [
            String::new(),
            format!("batch-{id}"),
            format!("batch-{id}-5"),
            format!("batch-{id}-0-5"),
            format!("batch-{id}-5-5-5"),
            format!("batch--{id}-5-5"),
            format!("batch-{id}-x-5"),
            format!("other-{id}-5-5"),
        ] {
            let code = BASE32_LOWER.encode(hmac::sign(&key.0, limits.as_bytes()).as_ref());
            let token = format!("{limits}-{code}").parse().unwrap();
            assert_eq!(key.verify(&token), None, "{limits}");
        }
    }

    #[test]
    fn error_messages() {
        let id = "x".parse::<BatchId>().unwrap_err();
        insta::assert_snapshot!(id, @"the id of a batch has 26 letters a-z and digits 2-7, with the name of the batch and a hyphen before them if the batch has a name");
        let name = "Berlin".parse::<BatchName>().unwrap_err();
        insta::assert_snapshot!(name, @r#""Berlin" is not a batch's name: 1 to 20 lower-case letters, digits, '_' or '-', the first a letter or digit"#);
        let id = BatchId::new(None, [7; 16]);
        let size = EnrolmentBatch::new(id, 0, UnixTime(0)).unwrap_err();
        insta::assert_snapshot!(size, @"a batch has 1 to 1000000 devices");
    }
}
