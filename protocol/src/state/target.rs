//! Targets: their ids, and the root keys that an agent's configuration trusts for a target.

use std::fmt;
use std::str::FromStr;

use crate::device::BASE32_LOWER;
use crate::signature::{PublicKey, PublicKeyError};
use crate::text_form::text_form;

/// Largest number of root keys of a target.
pub const MAX_ROOTS: usize = 8;

/// The id of a target: 128 random bits, created once, written as 26 letters a-z and digits 2-7.
///
/// Each signed document contains the id, so a key that signs for two targets cannot mix them up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId([u8; 16]);

/// Text that is not the id of a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a target id: 26 letters a-z and digits 2-7")]
pub struct TargetIdError {
    given: String,
}

/// The root keys that an agent's configuration trusts for a target, highest rank first, written
/// `<target id>:<root key>[,<root key>...]`.
///
/// One line has all root keys, because their order decides between key lists and must be the same
/// on all devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedRoots {
    target: TargetId,
    roots: Vec<PublicKey>,
}

/// Errors in the root keys of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedRootsError {
    #[error("{given:?} is not a trust line: write <target id>:<root key>[,<root key>...]")]
    Form { given: String },
    #[error("cannot read the trust line")]
    Target(#[from] TargetIdError),
    #[error("cannot read the trust line")]
    Root(#[from] PublicKeyError),
    #[error("a trust line names 1 to {MAX_ROOTS} root keys, not {count}")]
    Count { count: usize },
    #[error("the trust line names root key {root} twice")]
    Twice { root: PublicKey },
}

impl TargetId {
    /// Returns the id with these random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl FromStr for TargetId {
    type Err = TargetIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        BASE32_LOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| TargetIdError {
                given: text.chars().take(80).collect(),
            })
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_LOWER.encode(&self.0))
    }
}

impl fmt::Debug for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetId({self})")
    }
}

impl TrustedRoots {
    /// Combines root keys of a target. Their order is their rank.
    pub fn new(target: TargetId, roots: Vec<PublicKey>) -> Result<Self, TrustedRootsError> {
        let count = roots.len();
        if !(1..=MAX_ROOTS).contains(&count) {
            return Err(TrustedRootsError::Count { count });
        }
        let mut indices = 1..count;
        if let Some(index) = indices.find(|index| roots[..*index].contains(&roots[*index])) {
            let root = roots[index].clone();
            return Err(TrustedRootsError::Twice { root });
        }
        Ok(Self { target, roots })
    }

    pub const fn target(&self) -> TargetId {
        self.target
    }

    /// Returns the root keys, highest rank first.
    pub fn roots(&self) -> &[PublicKey] {
        &self.roots
    }
}

impl FromStr for TrustedRoots {
    type Err = TrustedRootsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (target, roots) = text
            .split_once(':')
            .ok_or_else(|| TrustedRootsError::Form {
                given: text.chars().take(80).collect(),
            })?;
        let target = target.parse()?;
        // One more than allowed, so that a long line is not parsed to its end.
        let roots = roots.split(',').take(MAX_ROOTS + 1).map(str::parse);
        Self::new(target, roots.collect::<Result<_, PublicKeyError>>()?)
    }
}

impl fmt::Display for TrustedRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.target)?;
        for (index, root) in self.roots.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{root}")?;
        }
        Ok(())
    }
}

text_form!(TargetId, "TargetId", "^[a-z2-7]{26}$");
text_form!(
    TrustedRoots,
    "TrustedRoots",
    "^[a-z2-7]{26}:RW[A-Za-z0-9+/]{54}(,RW[A-Za-z0-9+/]{54}){0,7}$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    const ROOT: &str = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
    const OTHER: &str = "RWQKBxCvKf1z0d/imauM5Sp+0mh2sJfaohmn+lXeYr5T4KRSu4X/1ECc";

    const TARGET: &str = "a4dqobyha4dqobyha4dqobyha4";

    fn trusted(roots: &[&str]) -> Result<TrustedRoots, TrustedRootsError> {
        let roots = roots.iter().map(|root| root.parse().unwrap());
        TrustedRoots::new(TargetId::from_bytes([7; 16]), roots.collect())
    }

    #[test]
    fn a_trust_line_names_target_and_root_keys_by_rank() {
        for roots in [&[ROOT][..], &[OTHER, ROOT], &[ROOT, OTHER]] {
            let text = format!("{TARGET}:{}", roots.join(","));
            let trusted = trusted(roots).unwrap();
            assert_eq!(trusted.to_string(), text);
            assert_eq!(text.parse(), Ok(trusted.clone()));
            assert_eq!(format!(" {text}\n").parse(), Ok(trusted.clone()));
            let named: Vec<String> = trusted.roots().iter().map(ToString::to_string).collect();
            assert_eq!(named, roots);
            assert_eq!(trusted.target().to_string(), TARGET);
            for bad in [
                &text[1..],
                &text[..60],
                &format!("{text},"),
                &format!("{text};{ROOT}"),
            ] {
                assert!(bad.parse::<TrustedRoots>().is_err(), "{bad:?}");
            }
        }
        for bad in ["", ":", ROOT, "a4dq:RWx", TARGET, &format!("{TARGET}:")] {
            assert!(bad.parse::<TrustedRoots>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn each_target_id_has_one_text() {
        let id = TargetId::from_bytes([255; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        // The last character has unused bits, which must be zero.
        for bad in ["77777777777777777777777777", "A4DQOBYHA4DQOBYHA4DQOBYHA4"] {
            assert!(bad.parse::<TargetId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn error_messages() {
        let error = |text: &str| text.parse::<TrustedRoots>().unwrap_err();
        let nine = format!("{TARGET}:{}", [ROOT; 20].join(","));
        insta::assert_snapshot!(messages([
            error("lab"),
            error("lab:RWx"),
            error("a4dqobyha4dqobyha4dqobyha4:RWx"),
            trusted(&[]).unwrap_err(),
            error(&nine),
            trusted(&[ROOT, ROOT]).unwrap_err(),
        ]), @r#"
        "lab" is not a trust line: write <target id>:<root key>[,<root key>...]
        cannot read the trust line: "lab" is not a target id: 26 letters a-z and digits 2-7
        cannot read the trust line: "RWx" is not a minisign public key: 56 characters of base64 that start with RW
        a trust line names 1 to 8 root keys, not 0
        a trust line names 1 to 8 root keys, not 9
        the trust line names root key RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8 twice
        "#);
    }
}
