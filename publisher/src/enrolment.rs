//! Enrolment tokens for a limited number of devices.

mod batches;

use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use packcast_protocol::UnixTime;
use packcast_protocol::api::Secret;
use packcast_protocol::device::BASE32_LOWER;
use packcast_protocol::enrolment::{BatchId, BatchKey, BatchName, BatchSizeError, EnrolmentBatch};
use serde::{Deserialize, Serialize};

pub use self::batches::{BatchReference, BatchRevoked, list_batches, revoke_batch};
use crate::failure::Failure;
use crate::text_file;

/// A new enrolment token, with its limits.
#[derive(Clone, Debug, Serialize)]
pub struct NewToken {
    /// The token itself, which is a secret.
    pub token: String,
    /// Batch of the token, which is no secret.
    pub batch: BatchId,
    /// Number of devices that the token enrols.
    pub devices: u32,
    /// Time from which the token enrols no device.
    pub expires: UnixTime,
}

/// Errors from creating an enrolment token.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("cannot read the target's secrets {}: copy the file from the machine that deployed the target, or pass --secrets FILE", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot create a token: {} contains no pass key: pass --secrets FILE with the secrets of the target", path.display())]
    NoPassKey { path: PathBuf },
    #[error("cannot find the enrolment token: {} contains none: pass --secrets FILE with the secrets of the target", path.display())]
    NoToken { path: PathBuf },
    #[error(transparent)]
    Size(#[from] BatchSizeError),
    #[error("cannot get random numbers from the system")]
    Random(#[from] getrandom::Error),
}

/// Creates an enrolment token for a number of devices.
///
/// `secrets` is the file of secrets that `infra/deploy` or `packcast local` has created. Nothing
/// is recorded: the function counts the devices from the first enrolment on.
pub fn create_token(
    secrets: &Path,
    name: Option<&BatchName>,
    devices: u32,
    expires: UnixTime,
) -> Result<NewToken, Failure> {
    let created = token(secrets, name, devices, expires);
    created.map_err(|error| match error {
        TokenError::Size(_) => Failure::usage(error),
        error => Failure::failed(error),
    })
}

/// Returns the enrolment token of a target, which enrols any number of devices.
///
/// `secrets` is the file of secrets that `infra/deploy` or `packcast local` has created.
pub fn enrolment_token(secrets: &Path) -> Result<Secret, Failure> {
    standing_token(secrets).map_err(Failure::failed)
}

fn standing_token(secrets: &Path) -> Result<Secret, TokenError> {
    let text = read(secrets)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("enrolment="));
    let token = match line {
        Some(token) => token.trim().parse().ok(),
        None => serde_json::from_str(&text)
            .ok()
            .map(|local: LocalToken| local.enrolment_token),
    };
    token.ok_or_else(|| TokenError::NoToken {
        path: secrets.to_owned(),
    })
}

fn read(secrets: &Path) -> Result<String, TokenError> {
    text_file::read(secrets).map_err(|source| TokenError::Read {
        path: secrets.to_owned(),
        source,
    })
}

fn token(
    secrets: &Path,
    name: Option<&BatchName>,
    devices: u32,
    expires: UnixTime,
) -> Result<NewToken, TokenError> {
    let path = || secrets.to_owned();
    let text = read(secrets)?;
    let key = pass_key(&text).ok_or_else(|| TokenError::NoPassKey { path: path() })?;
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    let batch = EnrolmentBatch::new(BatchId::new(name, random), devices, expires)?;
    Ok(NewToken {
        token: BatchKey::of_pass_key(&key)
            .token(&batch)
            .reveal()
            .to_owned(),
        batch: batch.id().clone(),
        devices,
        expires: batch.expires(),
    })
}

/// The part of the secrets of a local system that a token needs.
#[derive(Deserialize)]
struct LocalPassKey {
    pass_key: String,
}

/// The part of the secrets of a local system with the token of all agents.
#[derive(Deserialize)]
struct LocalToken {
    enrolment_token: Secret,
}

/// Reads the pass key from the secrets of a stack, or of a local system.
fn pass_key(text: &str) -> Option<[u8; 32]> {
    let line = text.lines().find_map(|line| line.strip_prefix("pass_key="));
    let bytes = if let Some(key) = line {
        HEXLOWER.decode(key.trim().as_bytes()).ok()?
    } else {
        let local: LocalPassKey = serde_json::from_str(text).ok()?;
        BASE32_LOWER.decode(local.pass_key.as_bytes()).ok()?
    };
    // Zeros come from a damaged file. The function refuses them, too.
    bytes.try_into().ok().filter(|bytes| *bytes != [0; 32])
}

#[cfg(test)]
mod tests {
    use packcast_protocol::with_causes;

    use super::*;

    const EXPIRES: UnixTime = UnixTime(1_795_000_000);

    fn created(secrets: &str, devices: u32) -> Result<NewToken, TokenError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), secrets).unwrap();
        token(file.path(), None, devices, EXPIRES)
    }

    #[test]
    fn a_token_verifies_with_the_pass_key_of_a_stack_and_of_a_local_system() {
        let stack = format!(
            "origin=0a\npass_key={}\npath=0a\n",
            HEXLOWER.encode(&[9; 32])
        );
        let local = format!("{{\"pass_key\":\"{}\"}}", BASE32_LOWER.encode(&[9; 32]));
        for secrets in [stack, local] {
            let created = created(&secrets, 500).unwrap();
            let batch = BatchKey::of_pass_key(&[9; 32]).verify(&created.token.parse().unwrap());
            let batch = batch.unwrap();
            assert_eq!((batch.devices(), batch.expires()), (500, EXPIRES));
        }
    }

    #[test]
    fn each_token_is_a_batch_of_its_own() {
        let secrets = format!("pass_key={}\n", HEXLOWER.encode(&[9; 32]));
        let tokens = [(); 2].map(|()| created(&secrets, 1).unwrap().token);
        assert_ne!(tokens[0], tokens[1]);
    }

    #[test]
    fn a_token_contains_the_name_of_its_batch() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secrets = format!("pass_key={}\n", HEXLOWER.encode(&[9; 32]));
        std::fs::write(file.path(), secrets).unwrap();
        let name = "berlin".parse().unwrap();
        let created = token(file.path(), Some(&name), 500, EXPIRES).unwrap();
        assert!(created.token.starts_with("batch-berlin-"), "{created:?}");
        assert_eq!(created.batch.name(), Some("berlin"));
    }

    #[test]
    fn secrets_without_a_pass_key_are_refused() {
        let zeros = format!("pass_key={}", "0".repeat(64));
        for secrets in [
            "",
            "path=0a",
            "pass_key=0a",
            "{}",
            "{\"pass_key\":\"a\"}",
            &zeros,
        ] {
            let refused = created(secrets, 1);
            assert!(
                matches!(refused, Err(TokenError::NoPassKey { .. })),
                "{secrets}"
            );
        }
    }

    #[test]
    fn the_token_of_all_agents_is_read_from_the_secrets() {
        let token = |secrets: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), secrets).unwrap();
            standing_token(file.path()).map(|token| token.reveal().to_owned())
        };
        let stack = "enrolment_before=0123456789abcdef\nenrolment=fedcba9876543210\n";
        assert_eq!(token(stack).unwrap(), "fedcba9876543210");
        let local = "{\"enrolment_token\":\"abcdefghijklmnop\",\"pass_key\":\"a\"}";
        assert_eq!(token(local).unwrap(), "abcdefghijklmnop");
        for secrets in ["", "enrolment=a", "{}", "pass_key=0a"] {
            let refused = token(secrets);
            assert!(
                matches!(refused, Err(TokenError::NoToken { .. })),
                "{secrets}"
            );
        }
    }

    #[test]
    fn error_messages() {
        let path = || PathBuf::from("/home/ann/.config/packcast/prod.secrets");
        let errors = [
            TokenError::Read {
                path: path(),
                source: io::ErrorKind::NotFound.into(),
            },
            TokenError::NoPassKey { path: path() },
            TokenError::NoToken { path: path() },
            TokenError::Size(BatchSizeError),
            TokenError::Random(getrandom::Error::UNSUPPORTED),
        ];
        let lines = errors.map(|error| with_causes(&error));
        insta::assert_snapshot!(lines.join("\n"), @"
        cannot read the target's secrets /home/ann/.config/packcast/prod.secrets: copy the file from the machine that deployed the target, or pass --secrets FILE: entity not found
        cannot create a token: /home/ann/.config/packcast/prod.secrets contains no pass key: pass --secrets FILE with the secrets of the target
        cannot find the enrolment token: /home/ann/.config/packcast/prod.secrets contains none: pass --secrets FILE with the secrets of the target
        a batch has 1 to 1000000 devices
        cannot get random numbers from the system: getrandom: this target is not supported
        ");
    }
}
