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
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
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
    use super::*;

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
