//! Digests: Packcast trusts SHA-256, OCS agents compare MD5.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::text_form::text_form;

/// A SHA-256 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

/// An MD5 digest, written as 32 lower-case hexadecimal digits.
///
/// OCS agents know no better digest (protocol reference §4.1, `DIGEST`); Packcast does not
/// trust it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Md5Digest([u8; 16]);

/// Text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a digest of {digits} lower-case hexadecimal digits")]
pub struct DigestError {
    given: String,
    digits: usize,
}

impl Sha256Digest {
    /// Computes the digest of bytes held in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Md5Digest {
    /// Computes the digest of bytes held in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Md5Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Computes the MD5 of bytes that arrive in parts.
pub struct Md5Hasher(fast_md5::Md5);

impl Default for Md5Hasher {
    fn default() -> Self {
        Self(fast_md5::Md5::new())
    }
}

impl Md5Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> Md5Digest {
        Md5Digest(self.0.finalize())
    }
}

impl fmt::Debug for Md5Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Md5Hasher").finish_non_exhaustive()
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], DigestError> {
    HEXLOWER
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| DigestError {
            given: text.chars().take(80).collect(),
            digits: N * 2,
        })
}

impl FromStr for Sha256Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode(text).map(Self)
    }
}

impl FromStr for Md5Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode(text).map(Self)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Display for Md5Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl fmt::Debug for Md5Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "md5:{self}")
    }
}

text_form!(Sha256Digest, "Sha256Digest", "^[0-9a-f]{64}$");
text_form!(Md5Digest, "Md5Digest", "^[0-9a-f]{32}$");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn md5_is_that_of_rfc_1321() {
        let known = [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "abcdefghijklmnopqrstuvwxyz",
                "c3fcd3d76192e4007dfb496cca67e13b",
            ),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ];
        for (text, digest) in known {
            assert_eq!(Md5Digest::of(text.as_bytes()).to_string(), digest, "{text}");
        }
    }

    proptest! {
        #[test]
        fn md5_does_not_depend_on_the_parts(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8),
        ) {
            let mut hasher = Md5Hasher::default();
            for part in &parts {
                hasher.update(part);
            }
            prop_assert_eq!(hasher.finish(), Md5Digest::of(&parts.concat()));
        }
    }

    #[test]
    fn upper_case_and_wrong_lengths_are_refused() {
        let good = Sha256Digest::of(b"").to_string();
        assert!(good.parse::<Sha256Digest>().is_ok());
        for bad in [
            good.to_uppercase(),
            good[1..].to_owned(),
            format!("{good}00"),
            String::new(),
        ] {
            assert!(bad.parse::<Sha256Digest>().is_err(), "{bad}");
            assert!(bad.parse::<Md5Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn error_messages() {
        let error = "ABC".parse::<Sha256Digest>().unwrap_err();
        insta::assert_snapshot!(error, @r#""ABC" is not a digest of 64 lower-case hexadecimal digits"#);
    }
}
