//! The secrets that admit agents, created once for each state directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packcast_check_in::{FunctionSettings, PassKey};
use packcast_protocol::api::Secret;
use packcast_protocol::device::BASE32_LOWER;
use packcast_protocol::state::TrustedRoots;
use packcast_rollout::Pacing;
use serde::{Deserialize, Serialize};

use crate::private;

/// Seconds between the check-ins of a Packcast agent: a person waits for the next one.
const CHECK_IN_INTERVAL_S: u32 = 60;

/// The tokens and the key of a local system, in `secrets.json` (mode 0600).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LocalSecrets {
    /// The path token, a part of the server address of OCS agents.
    pub(crate) ocs_path_token: Secret,
    /// The enrolment token, which Packcast agents send with their first check-in.
    pub(crate) enrolment_token: Secret,
    /// The key of the passes: 32 bytes in base32.
    pass_key: Secret,
}

/// Errors from reading or creating the secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("cannot read the secrets file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the secrets file {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the secrets file {} is damaged: restore it, or remove it and enrol all agents again", path.display())]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("the pass key in the secrets file {} is not 32 bytes in base32, or all of them are zero: restore the file, or remove it and enrol all agents again", path.display())]
    PassKey { path: PathBuf },
    #[error("cannot get random numbers from the system")]
    Random(#[from] getrandom::Error),
}

impl LocalSecrets {
    /// Reads the secrets, or creates them at the first start.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, SecretsError> {
        match fs::read(path) {
            Ok(text) => Self::read(path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(source) => Err(SecretsError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Returns the settings of a function that accepts these secrets.
    pub(crate) fn settings(&self, trust: TrustedRoots) -> FunctionSettings {
        FunctionSettings {
            origin_secrets: Vec::new(),
            path_tokens: vec![self.ocs_path_token.digest()],
            enrolment_tokens: vec![self.enrolment_token.digest()],
            pass_key: decode(&self.pass_key)
                .map(PassKey::new)
                .expect("the key was checked when it was read or created"),
            trust,
            check_in_interval_s: CHECK_IN_INTERVAL_S,
            pace: Pacing::default(),
            // Caches are emptied after each change by an administrator.
            group_cache_s: FunctionSettings::DEFAULT_GROUP_CACHE_S,
        }
    }

    fn read(path: &Path, text: &[u8]) -> Result<Self, SecretsError> {
        let secrets: Self =
            serde_json::from_slice(text).map_err(|source| SecretsError::Damaged {
                path: path.to_owned(),
                source,
            })?;
        match decode(&secrets.pass_key) {
            Some(_) => Ok(secrets),
            None => Err(SecretsError::PassKey {
                path: path.to_owned(),
            }),
        }
    }

    fn create(path: &Path) -> Result<Self, SecretsError> {
        let secrets = Self {
            ocs_path_token: random::<16>()?,
            enrolment_token: random::<16>()?,
            pass_key: random::<32>()?,
        };
        let mut text = serde_json::to_vec_pretty(&secrets).expect("the fields are text");
        text.push(b'\n');
        private::replace(path, &text).map_err(|source| SecretsError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(secrets)
    }
}

/// Returns the key; `None` if it is damaged. Everybody could compute passes with a key of zeros.
fn decode(key: &Secret) -> Option<[u8; 32]> {
    let bytes = BASE32_LOWER.decode(key.reveal().as_bytes()).ok()?;
    bytes.try_into().ok().filter(|bytes| *bytes != [0; 32])
}

fn random<const BYTES: usize>() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    let text = BASE32_LOWER.encode(&bytes);
    Ok(text
        .parse()
        .expect("16 to 80 bytes in base32 have the form of a secret"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_and_differ_from_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        let first = LocalSecrets::load_or_create(&path).unwrap();
        let again = LocalSecrets::load_or_create(&path).unwrap();
        assert_eq!(first.enrolment_token, again.enrolment_token);
        assert_eq!(first.pass_key, again.pass_key);
        assert_ne!(first.enrolment_token, first.ocs_path_token);
    }

    #[test]
    fn a_damaged_file_is_refused_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        let short = r#"{"ocs_path_token":"aaaaaaaaaaaaaaaa","enrolment_token":"aaaaaaaaaaaaaaaa","pass_key":"aaaaaaaaaaaaaaaa"}"#;
        let zeros = short.replace(
            r#""pass_key":"aaaaaaaaaaaaaaaa""#,
            &format!(r#""pass_key":"{}""#, "a".repeat(52)),
        );
        for text in ["", "{}", short, &zeros] {
            fs::write(&path, text).unwrap();
            let error = LocalSecrets::load_or_create(&path).unwrap_err();
            assert!(error.to_string().contains("secrets.json"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = LocalSecrets::load_or_create(&directory.path().join("secrets.json")).unwrap();
        let shown = format!("{secrets:?}");
        for secret in [
            &secrets.enrolment_token,
            &secrets.ocs_path_token,
            &secrets.pass_key,
        ] {
            assert!(!shown.contains(secret.reveal()));
        }
    }

    #[test]
    fn each_error_has_a_message() {
        let path = || PathBuf::from("state/secrets.json");
        let errors = [
            SecretsError::Read {
                path: path(),
                source: io::ErrorKind::PermissionDenied.into(),
            },
            SecretsError::Write {
                path: path(),
                source: io::ErrorKind::StorageFull.into(),
            },
            SecretsError::Damaged {
                path: path(),
                source: serde_json::from_str::<LocalSecrets>("").unwrap_err(),
            },
            SecretsError::PassKey { path: path() },
            SecretsError::Random(getrandom::Error::UNSUPPORTED),
        ];
        let messages = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(messages, @r"
        cannot read the secrets file state/secrets.json
        cannot write the secrets file state/secrets.json
        the secrets file state/secrets.json is damaged: restore it, or remove it and enrol all agents again
        the pass key in the secrets file state/secrets.json is not 32 bytes in base32, or all of them are zero: restore the file, or remove it and enrol all agents again
        cannot get random numbers from the system
        ");
    }
}
