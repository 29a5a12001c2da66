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

/// A root key of a target, written `<target id>:<root key>`: a line `trust` of `agent.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustLine {
    pub target: TargetId,
    pub root: PublicKey,
}

/// Errors in a trust line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustLineError {
    #[error("{given:?} is not a trust line: write <target id>:<root key>")]
    Form { given: String },
    #[error("cannot read the trust line")]
    Target(#[from] TargetIdError),
    #[error("cannot read the trust line")]
    Root(#[from] PublicKeyError),
}

/// The root keys that an agent's configuration trusts, highest rank first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedRoots {
    target: TargetId,
    roots: Vec<PublicKey>,
}

/// Errors in the trust lines of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedRootsError {
    #[error("an agent trusts 1 to {MAX_ROOTS} root keys, not {count}")]
    Count { count: usize },
    #[error("the trust lines name two targets: {first} and {second}")]
    TwoTargets { first: TargetId, second: TargetId },
    #[error("the trust lines name root key {root} twice")]
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

impl FromStr for TrustLine {
    type Err = TrustLineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (target, root) = text
            .trim()
            .split_once(':')
            .ok_or_else(|| TrustLineError::Form {
                given: text.chars().take(80).collect(),
            })?;
        Ok(Self {
            target: target.parse()?,
            root: root.parse()?,
        })
    }
}

impl fmt::Display for TrustLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.target, self.root)
    }
}

impl TrustedRoots {
    /// Combines the trust lines of a configuration. Their order is the rank of the root keys.
    pub fn new(lines: Vec<TrustLine>) -> Result<Self, TrustedRootsError> {
        let count = lines.len();
        let Some(first) = lines.first().filter(|_| count <= MAX_ROOTS) else {
            return Err(TrustedRootsError::Count { count });
        };
        let target = first.target;
        let mut roots: Vec<PublicKey> = Vec::with_capacity(count);
        for line in lines {
            if line.target != target {
                return Err(TrustedRootsError::TwoTargets {
                    first: target,
                    second: line.target,
                });
            }
            if roots.contains(&line.root) {
                return Err(TrustedRootsError::Twice { root: line.root });
            }
            roots.push(line.root);
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

text_form!(TargetId, "TargetId", "^[a-z2-7]{26}$");
text_form!(TrustLine, "TrustLine", "^[a-z2-7]{26}:RW[A-Za-z0-9+/]{54}$");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    const ROOT: &str = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
    const OTHER: &str = "RWQKBxCvKf1z0d/imauM5Sp+0mh2sJfaohmn+lXeYr5T4KRSu4X/1ECc";

    fn line(target: u8, root: &str) -> TrustLine {
        TrustLine {
            target: TargetId::from_bytes([target; 16]),
            root: root.parse().unwrap(),
        }
    }

    #[test]
    fn a_trust_line_names_target_and_root_key() {
        let text = format!("a4dqobyha4dqobyha4dqobyha4:{ROOT}");
        assert_eq!(line(7, ROOT).to_string(), text);
        assert_eq!(text.parse(), Ok(line(7, ROOT)));
        assert_eq!(format!(" {text}\n").parse(), Ok(line(7, ROOT)));
        for bad in ["", ":", ROOT, &text[1..], &text[..60], "a4dq:RWx"] {
            assert!(bad.parse::<TrustLine>().is_err(), "{bad:?}");
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
    fn trust_lines_of_one_target_keep_their_order() {
        let roots = TrustedRoots::new(vec![line(7, OTHER), line(7, ROOT)]).unwrap();
        assert_eq!(roots.target(), TargetId::from_bytes([7; 16]));
        let texts: Vec<String> = roots.roots().iter().map(ToString::to_string).collect();
        assert_eq!(texts, [OTHER, ROOT]);
    }

    #[test]
    fn error_messages() {
        let error = |text: &str| text.parse::<TrustLine>().unwrap_err();
        insta::assert_snapshot!(messages([
            error("lab"),
            error("lab:RWx"),
            error("a4dqobyha4dqobyha4dqobyha4:RWx"),
        ]), @r#"
        "lab" is not a trust line: write <target id>:<root key>
        cannot read the trust line: "lab" is not a target id: 26 letters a-z and digits 2-7
        cannot read the trust line: "RWx" is not a minisign public key: 56 characters of base64 that start with RW
        "#);
        let error = |lines| TrustedRoots::new(lines).unwrap_err();
        insta::assert_snapshot!(messages([
            error(vec![]),
            error(vec![line(7, ROOT), line(8, OTHER)]),
            error(vec![line(7, ROOT), line(7, ROOT)]),
        ]), @"
        an agent trusts 1 to 8 root keys, not 0
        the trust lines name two targets: a4dqobyha4dqobyha4dqobyha4 and baeaqcaibaeaqcaibaeaqcaiba
        the trust lines name root key RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8 twice
        ");
    }
}
