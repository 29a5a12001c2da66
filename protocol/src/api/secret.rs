//! Bearer secrets: enrolment tokens and passes.

use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256Digest;
use crate::text_form::text_form;

/// A bearer secret: its holder is admitted. It has 16 to 128 letters, digits, `-` and `_`.
///
/// The `Debug` form hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Text that is not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token has 16 to 128 letters, digits, '-' and '_'")]
pub struct SecretError;

impl Secret {
    /// Returns the secret itself, to send it or to store it in a file that only its owner can
    /// read.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the digest, which is enough to compare secrets.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.0.as_bytes())
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (16..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SecretError)
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Serialisation alone may write the secret out; a public `Display` would leak it into logs.
mod wire {
    use super::{Secret, fmt, text_form};

    struct Shown<'a>(&'a Secret);

    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0.reveal())
        }
    }

    text_form!(Secret, "Secret", "^[A-Za-z0-9_-]{16,128}$", |secret| Shown(
        secret
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(SecretError, @"a token has 16 to 128 letters, digits, '-' and '_'");
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let secret: Secret = "0123456789abcdef".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
