//! Targets: the installations that operations work on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_https::Route;
use packcast_local::LocalState;
use packcast_protocol::ObjectPath;
use packcast_rollout::Pacing;
use packcast_rollout::pace::PauseS;
use packcast_store::{Directory, Objects, Records, RecordsConfig, S3, S3Config};
use serde::Deserialize;

use crate::failure::Failure;
use crate::signing::Secrets;
use crate::warning::Warnings;

/// The name of the target that `packcast local` serves.
pub const LOCAL: &str = "local";

/// One installation: its records, its objects, and its signing key.
#[derive(Debug)]
pub struct Target {
    pub name: String,
    pub records: Records,
    pub objects: Objects,
    /// The prefix of all object paths.
    pub prefix: ObjectPath,
    /// The pacing of OCS agents that its check-in function was set up with.
    pub pace: Pacing,
    /// The certificate authorities that probes of locations trust, instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// The secret key file, unless an operation names another file.
    pub key_file: PathBuf,
    /// The file with the memory of this machine (see [`Memory`](crate::signing::Memory)).
    pub memory_file: PathBuf,
    /// Secrets that are not in files.
    pub secrets: Arc<dyn Secrets>,
    /// Warnings that operations could not return.
    pub warnings: Warnings,
}

/// The content of `packcast.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    target: BTreeMap<String, TargetConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetConfig {
    /// The name of the table.
    table: String,
    /// The region of table and bucket; if absent, the region of the AWS configuration.
    region: Option<String>,
    /// The address of table and bucket, if they are not at AWS.
    endpoint: Option<String>,
    /// The address of the bucket, if it differs from the address of the table.
    s3_endpoint: Option<String>,
    /// The folder for published objects, if they are not stored in a bucket.
    directory: Option<PathBuf>,
    /// The name of the bucket for published objects.
    bucket: Option<String>,
    #[serde(default = "packcast_store::key::default_prefix")]
    prefix: ObjectPath,
    /// The same value as in the settings of the check-in function; so are the pauses below.
    #[serde(default)]
    strict: bool,
    fragment_pause_s: Option<PauseS>,
    cycle_pause_s: Option<PauseS>,
    period_pause_s: Option<PauseS>,
    ca_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

/// The configured place of a target's objects, before it is opened.
#[derive(Debug)]
enum ObjectsPlace {
    Directory(PathBuf),
    Bucket(S3Config),
}

impl TargetConfig {
    fn pace(&self) -> Pacing {
        let default = Pacing::default();
        Pacing {
            fragment_pause_s: self.fragment_pause_s.unwrap_or(default.fragment_pause_s),
            cycle_pause_s: self.cycle_pause_s.unwrap_or(default.cycle_pause_s),
            period_pause_s: self.period_pause_s.unwrap_or(default.period_pause_s),
            strict: self.strict,
            ..default
        }
    }

    fn place(&self, name: &str) -> Result<ObjectsPlace, TargetError> {
        let name = name.to_owned();
        match (&self.directory, &self.bucket) {
            (Some(_), Some(_)) => Err(TargetError::TwoPlaces { name }),
            (None, None) => Err(TargetError::NoPlace { name }),
            (Some(_), None) if self.s3_endpoint.is_some() => Err(TargetError::NoBucket { name }),
            (Some(directory), None) => Ok(ObjectsPlace::Directory(directory.clone())),
            (None, Some(bucket)) => Ok(ObjectsPlace::Bucket(S3Config {
                bucket: bucket.clone(),
                region: self.region.clone(),
                endpoint: self
                    .s3_endpoint
                    .as_ref()
                    .or(self.endpoint.as_ref())
                    .cloned(),
                http_client: None,
            })),
        }
    }
}

impl ObjectsPlace {
    async fn open(self) -> Objects {
        match self {
            Self::Directory(root) => Objects::Directory(Directory::new(root)),
            Self::Bucket(config) => Objects::S3(S3::connect(config).await),
        }
    }
}

/// Errors from opening a target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("cannot read configuration {}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot parse configuration {}", path.display())]
    Parse {
        path: PathBuf,
        source: toml::de::Error,
    },
    #[error("cannot use {name:?} as the name of a target: expected letters, digits, '-' and '_'")]
    Name { name: String },
    #[error("cannot find target {name:?} in {}", path.display())]
    Unknown { name: String, path: PathBuf },
    #[error("cannot use target {name:?}: it has neither a bucket nor a directory for its objects")]
    NoPlace { name: String },
    #[error("cannot use target {name:?}: it has both a bucket and a directory for its objects")]
    TwoPlaces { name: String },
    #[error("cannot use target {name:?}: it has an s3_endpoint, but no bucket")]
    NoBucket { name: String },
}

/// The folders for the files of Packcast on this machine.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder with `packcast.toml` and the signing keys.
    pub config: PathBuf,
    /// The folder with a state folder for each target.
    pub state: PathBuf,
}

impl Places {
    /// Returns the default key file of a target.
    ///
    /// Each target has a key of its own, because signed documents do not name their target.
    pub fn default_key_file(&self, target: &str) -> PathBuf {
        self.config.join(format!("{target}.key"))
    }

    /// Returns the folder for all files of `packcast local`.
    pub fn local(&self) -> PathBuf {
        self.state.join(LOCAL)
    }
}

impl Target {
    /// Opens a target by its name: a section of `config`, or the running `packcast local`.
    pub async fn open(
        name: &str,
        config: Option<&Path>,
        places: &Places,
        secrets: Arc<dyn Secrets>,
    ) -> Result<Self, Failure> {
        if name == LOCAL {
            return Self::local(&places.local(), secrets).await;
        }
        let target = configured(name, config, places)?;
        let objects = target.place(name)?;
        let pace = target.pace();
        Ok(Self {
            name: name.to_owned(),
            objects: objects.open().await,
            records: Records::connect(RecordsConfig {
                table: target.table,
                region: target.region,
                endpoint: target.endpoint,
                http_client: None,
            })
            .await,
            prefix: target.prefix,
            pace,
            ca_file: target.ca_file,
            key_file: target
                .key_file
                .unwrap_or_else(|| places.default_key_file(name)),
            memory_file: memory_file(&places.state.join(name)),
            secrets,
            warnings: Warnings::default(),
        })
    }

    /// Returns the network route to the locations of the target.
    pub fn route(&self) -> Route {
        if self.name == LOCAL {
            Route::Loopback
        } else {
            Route::Proxies
        }
    }

    /// Returns the key file of a target. The target need not be reachable.
    pub fn key_file(
        name: &str,
        config: Option<&Path>,
        places: &Places,
    ) -> Result<PathBuf, Failure> {
        if name == LOCAL {
            return Ok(local_key_file(&places.local()));
        }
        let named = configured(name, config, places)?.key_file;
        Ok(named.unwrap_or_else(|| places.default_key_file(name)))
    }

    /// Opens the local system, whose state is in `state_dir`.
    pub async fn local(state_dir: &Path, secrets: Arc<dyn Secrets>) -> Result<Self, Failure> {
        let state = LocalState::load(state_dir).map_err(|error| {
            Failure::failed(error)
                .hint("run 'packcast local' to start the local system, or pass another target with --target")
        })?;
        Ok(Self {
            name: LOCAL.to_owned(),
            records: Records::connect(RecordsConfig {
                table: state.table,
                region: None,
                endpoint: Some(state.endpoint),
                http_client: None,
            })
            .await,
            objects: Objects::Directory(Directory::new(state.objects_dir)),
            prefix: state.prefix,
            pace: Pacing::default(),
            ca_file: Some(state.ca_file),
            key_file: local_key_file(state_dir),
            memory_file: memory_file(state_dir),
            secrets,
            warnings: Warnings::default(),
        })
    }
}

/// Returns the key file of a local system.
pub fn local_key_file(state_dir: &Path) -> PathBuf {
    state_dir.join("packcast.key")
}

/// Returns the memory file in the state folder of a target.
fn memory_file(state_dir: &Path) -> PathBuf {
    state_dir.join("signed.json")
}

fn configured(name: &str, config: Option<&Path>, places: &Places) -> Result<TargetConfig, Failure> {
    // The name becomes a part of file names, so it must not contain a path separator.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.bytes().all(is_plain) || name.is_empty() {
        let name = name.to_owned();
        return Err(TargetError::Name { name }.into());
    }
    let path = config.map_or_else(|| places.config.join("packcast.toml"), Path::to_owned);
    read_config(&path)?.target.remove(name).ok_or_else(|| {
        let name = name.to_owned();
        TargetError::Unknown { name, path }.into()
    })
}

/// Reads the configuration. A missing file is an empty configuration.
fn read_config(path: &Path) -> Result<ConfigFile, TargetError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(ConfigFile::default());
        }
        Err(source) => {
            return Err(TargetError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    toml::from_str(&text).map_err(|source| TargetError::Parse {
        path: path.to_owned(),
        source,
    })
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        let hint = match &error {
            TargetError::Read { .. } => return Self::failed(error),
            TargetError::Parse { .. } | TargetError::Name { .. } => return Self::usage(error),
            TargetError::Unknown { name, .. } => format!(
                "add a section [target.{name}] with a table and a bucket or directory, or pass another target with --target"
            ),
            TargetError::NoPlace { name } => {
                format!("add bucket or directory to the section [target.{name}]")
            }
            TargetError::TwoPlaces { name } => {
                format!("remove bucket or directory from the section [target.{name}]")
            }
            TargetError::NoBucket { name } => format!(
                "add bucket to the section [target.{name}] instead of directory, or remove s3_endpoint"
            ),
        };
        Self::usage(error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::converted;

    fn place(lines: &str) -> Result<ObjectsPlace, TargetError> {
        let target: TargetConfig = toml::from_str(&format!("table = \"t\"\n{lines}")).unwrap();
        target.place("prod")
    }

    #[test]
    fn objects_are_in_a_bucket_or_a_directory() {
        assert!(matches!(
            place("directory = \"/srv\""),
            Ok(ObjectsPlace::Directory(root)) if root == Path::new("/srv")
        ));
        for (lines, refusal) in [
            ("", "cannot use target \"prod\": it has neither"),
            (
                "bucket = \"b\"\ndirectory = \"/srv\"",
                "cannot use target \"prod\": it has both",
            ),
            (
                "directory = \"/srv\"\ns3_endpoint = \"http://127.0.0.1:1\"",
                "cannot use target \"prod\": it has an s3_endpoint, but no bucket",
            ),
        ] {
            let refused = place(lines).unwrap_err().to_string();
            assert!(refused.starts_with(refusal), "{refused}");
        }
    }

    #[test]
    fn a_bucket_has_the_endpoint_of_the_table_unless_it_has_its_own() {
        let endpoint = |lines: &str| match place(&format!("bucket = \"b\"\n{lines}")) {
            Ok(ObjectsPlace::Bucket(config)) => config.endpoint,
            other => panic!("{other:?}"),
        };
        let (both, own) = (
            "endpoint = \"http://a:1\"\n",
            "s3_endpoint = \"http://b:2\"",
        );
        assert_eq!(endpoint(""), None);
        assert_eq!(endpoint(both).as_deref(), Some("http://a:1"));
        assert_eq!(endpoint(own).as_deref(), Some("http://b:2"));
        assert_eq!(
            endpoint(&format!("{both}{own}")).as_deref(),
            Some("http://b:2")
        );
    }

    #[test]
    fn errors_of_targets_have_next_steps() {
        let (name, path) = (|| "prod".to_owned(), || "/c/packcast.toml".into());
        let errors = [
            TargetError::Read {
                path: path(),
                source: std::io::Error::other("cause"),
            },
            TargetError::Parse {
                path: path(),
                source: toml::from_str::<ConfigFile>("target = 1").unwrap_err(),
            },
            TargetError::Name {
                name: "a b".to_owned(),
            },
            TargetError::Unknown {
                name: name(),
                path: path(),
            },
            TargetError::NoPlace { name: name() },
            TargetError::TwoPlaces { name: name() },
            TargetError::NoBucket { name: name() },
        ];
        insta::assert_snapshot!(converted(errors), @r#"
        Failed: cannot read configuration /c/packcast.toml
        Usage: cannot parse configuration /c/packcast.toml
        Usage: cannot use "a b" as the name of a target: expected letters, digits, '-' and '_'
        Usage: cannot find target "prod" in /c/packcast.toml
          hint: add a section [target.prod] with a table and a bucket or directory, or pass another target with --target
        Usage: cannot use target "prod": it has neither a bucket nor a directory for its objects
          hint: add bucket or directory to the section [target.prod]
        Usage: cannot use target "prod": it has both a bucket and a directory for its objects
          hint: remove bucket or directory from the section [target.prod]
        Usage: cannot use target "prod": it has an s3_endpoint, but no bucket
          hint: add bucket to the section [target.prod] instead of directory, or remove s3_endpoint
        "#);
    }
}
