//! Enrolment batches: tokens that enrol a limited number of devices for a limited time.
//!
//! A token contains its own limits, with a message authentication code that only the holder of
//! the pass key can compute. So the function knows a genuine token without a read of the table.

use std::fmt;
use std::str::FromStr;

use ring::hmac;

use crate::api::Secret;
use crate::device::BASE32_LOWER;
use crate::time::UnixTime;

/// Largest number of devices of one batch.
pub const MAX_BATCH_DEVICES: u32 = 1_000_000;

/// Separates the codes of tokens from the passes, which the pass key creates, too.
const KEY_LABEL: &[u8] = b"packcast/enrolment-batch";

const PREFIX: &str = "batch-";

/// Id of a batch: 128 random bits, as 26 letters a-z and digits 2-7.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(String);

/// Text that is not the id of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a batch has 26 letters a-z and digits 2-7")]
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

impl BatchId {
    /// Creates the id of 16 random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(BASE32_LOWER.encode(&random))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BatchId {
    type Err = BatchIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match BASE32_LOWER.decode(text.as_bytes()) {
            Ok(bytes) if bytes.len() == 16 => Ok(Self(text.to_owned())),
            _ => Err(BatchIdError),
        }
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl EnrolmentBatch {
    /// Creates a batch of 1 to [`MAX_BATCH_DEVICES`] devices.
    pub fn new(id: BatchId, devices: u32, expires: UnixTime) -> Result<Self, BatchSizeError> {
        if (1..=MAX_BATCH_DEVICES).contains(&devices) {
            Ok(Self {
                id,
                devices,
                expires,
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
        let mut parts = text.strip_prefix(PREFIX)?.split('-');
        let (id, devices, expires) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
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
            .expect("at most 113 letters, digits and hyphens are a secret")
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
        EnrolmentBatch::new(BatchId::new([7; 16]), devices, UnixTime(expires)).unwrap()
    }

    #[test]
    fn a_token_verifies_with_its_key_and_names_its_limits() {
        let key = BatchKey::of_pass_key(&[9; 32]);
        for batch in [
            batch(1, 0),
            batch(500, 1_795_000_000),
            batch(1_000_000, u64::MAX),
        ] {
            let token = key.token(&batch);
            assert_eq!(key.verify(&token), Some(batch));
            assert_eq!(BatchKey::of_pass_key(&[8; 32]).verify(&token), None);
        }
    }

    #[test]
    fn the_form_of_a_token_does_not_change() {
        let token = BatchKey::of_pass_key(&[9; 32]).token(&batch(500, 1_795_000_000));
        insta::assert_snapshot!(token.reveal(), @"batch-a4dqobyha4dqobyha4dqobyha4-500-1795000000-kjtgrxuwjycwxud2fi36q5pftz54nrtmhawzgpywbv336bc56udq");
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
        let id = BatchId::new([7; 16]);
        for limits in [
            String::new(),
            format!("batch-{id}"),
            format!("batch-{id}-5"),
            format!("batch-{id}-0-5"),
            format!("batch-{id}-5-5-5"),
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
        insta::assert_snapshot!(id, @"the id of a batch has 26 letters a-z and digits 2-7");
        let size = EnrolmentBatch::new(BatchId::new([7; 16]), 0, UnixTime(0)).unwrap_err();
        insta::assert_snapshot!(size, @"a batch has 1 to 1000000 devices");
    }
}
