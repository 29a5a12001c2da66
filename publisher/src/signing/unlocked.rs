//! A decrypted signing key that is kept for a while, so that commands need no passphrase.

use packcast_protocol::{Sha256Digest, UnixTime};
use zeroize::Zeroizing;

/// Length of the time in the stored form.
const TIME: usize = 8;

/// Length of the digest in the stored form.
const DIGEST: usize = 32;

/// A decrypted key, with the digest of its encrypted file and the time at which it is locked again.
///
/// The decrypted key is kept, and not the passphrase: other keys may have the same passphrase. Its
/// memory is wiped at the end.
#[derive(Clone)]
pub struct UnlockedKey {
    until: UnixTime,
    file: Sha256Digest,
    key: Zeroizing<Vec<u8>>,
}

impl UnlockedKey {
    /// Creates the form of a decrypted key whose file has this text.
    pub(super) fn new(until: UnixTime, text: &str, key: Vec<u8>) -> Self {
        Self {
            until,
            file: Sha256Digest::of(text.as_bytes()),
            key: key.into(),
        }
    }

    /// Returns the time at which the key is locked again.
    pub const fn until(&self) -> UnixTime {
        self.until
    }

    /// Returns the decrypted key, if `text` is the content of its file. A rotation writes another
    /// file.
    pub(super) fn key_of(&self, text: &str) -> Option<&[u8]> {
        (Sha256Digest::of(text.as_bytes()) == self.file).then_some(&self.key)
    }

    /// Returns the stored form, which contains the secret key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts: [&[u8]; 3] = [&self.until.0.to_be_bytes(), self.file.as_bytes(), &self.key];
        parts.concat()
    }

    /// Reads the stored form. `None` if it is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (until, rest) = bytes.split_first_chunk::<TIME>()?;
        let (file, key) = rest.split_first_chunk::<DIGEST>()?;
        Some(Self {
            until: UnixTime(u64::from_be_bytes(*until)),
            file: Sha256Digest::from_bytes(*file),
            key: key.to_vec().into(),
        })
    }
}

impl std::fmt::Debug for UnlockedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnlockedKey(until {})", self.until.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_an_unlocked_key_has_no_secret() {
        let unlocked = UnlockedKey::new(UnixTime(1_795_000_000), "file", b"secret".to_vec());
        assert_eq!(format!("{unlocked:?}"), "UnlockedKey(until 1795000000)");
        let stored = UnlockedKey::from_bytes(&unlocked.to_bytes()).unwrap();
        assert_eq!(stored.until(), unlocked.until());
        assert_eq!(stored.key_of("file"), Some(&b"secret"[..]));
        assert_eq!(stored.key_of("other file"), None);
    }
}
