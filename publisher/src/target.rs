//! Which installation a command works on.

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

/// One installation: its records, its objects, and what to sign with.
#[derive(Debug)]
pub struct Target {
    pub name: String,
    pub records: Records,
    pub objects: Objects,
    /// What all object paths begin with.
    pub prefix: ObjectPath,
    /// How its check-in function was set up to pace stock agents.
    pub pace: Pacing,
    /// Trusted instead of the system's authorities when locations are probed.
    pub ca_file: Option<PathBuf>,
    /// The secret key file, unless another is named.
    pub key_file: PathBuf,
    /// What this machine remembers of what it has signed.
    pub memory_file: PathBuf,
    /// Secrets that are not in files.
    pub secrets: Arc<dyn Secrets>,
    /// Warnings that operations could not return.
    pub warnings: Warnings,
}

/// `packcast.toml`.
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
    /// The region of table and bucket; the AWS configuration's own if absent.
    region: Option<String>,
    /// Where table and bucket answer, if not at AWS.
    endpoint: Option<String>,
    /// Where the bucket answers, if not where the table does.
    s3_endpoint: Option<String>,
    /// The folder that published objects are written to, unless they go to a bucket.
    directory: Option<PathBuf>,
    /// The name of the bucket that published objects are written to.
    bucket: Option<String>,
    #[serde(default = "packcast_store::key::default_prefix")]
    prefix: ObjectPath,
    /// As the check-in function was set up.
    #[serde(default)]
    strict: bool,
    fragment_pause_s: Option<PauseS>,
    cycle_pause_s: Option<PauseS>,
    period_pause_s: Option<PauseS>,
    ca_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

/// Where a target's objects are, before anything is asked of it.
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

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("{} cannot be read", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is not a configuration of packcast", path.display())]
    Parse {
        path: PathBuf,
        source: toml::de::Error,
    },
    #[error("a target's name is of letters, digits, '-' and '_', which {name:?} is not")]
    Name { name: String },
    #[error("target {name:?} is not in {}", path.display())]
    Unknown { name: String, path: PathBuf },
    #[error("target {name:?} has neither a bucket nor a directory for its objects")]
    NoPlace { name: String },
    #[error("target {name:?} has both a bucket and a directory, and objects go to one of them")]
    TwoPlaces { name: String },
    #[error("target {name:?} has an s3_endpoint, and no bucket that could answer there")]
    NoBucket { name: String },
}

/// The places that Packcast keeps its own files in.
#[derive(Clone, Debug)]
pub struct Places {
    pub config: PathBuf,
    pub state: PathBuf,
}

impl Places {
    /// Returns where the key of a target is unless its section names another file. Each has its
    /// own: nothing signed says for which target it is.
    pub fn default_key_file(&self, target: &str) -> PathBuf {
        self.config.join(format!("{target}.key"))
    }

    /// Returns where `packcast local` keeps everything.
    pub fn local(&self) -> PathBuf {
        self.state.join(LOCAL)
    }
}

impl Target {
    /// Opens the target of that name: from `config`, or the running `packcast local`.
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
        let objects = target.place(name).map_err(|error| {
            Failure::usage(error).hint(format!(
                "give [target.{name}] a bucket, or a directory for objects that are served from a disk"
            ))
        })?;
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

    /// Returns how the target's locations are reached.
    pub fn route(&self) -> Route {
        if self.name == LOCAL {
            Route::Loopback
        } else {
            Route::Proxies
        }
    }

    /// Returns the key file of the target of that name, which need not answer.
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

    /// Opens the system that runs on this machine with its state in `state_dir`.
    pub async fn local(state_dir: &Path, secrets: Arc<dyn Secrets>) -> Result<Self, Failure> {
        let state = LocalState::load(state_dir).map_err(|error| {
            Failure::failed(error)
                .hint("start it with 'packcast local', or name another target with --target")
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

/// Returns where a system on this machine keeps the key that it made.
pub fn local_key_file(state_dir: &Path) -> PathBuf {
    state_dir.join("packcast.key")
}

/// Returns where a target's state folder has what was signed for it from this machine.
fn memory_file(state_dir: &Path) -> PathBuf {
    state_dir.join("signed.json")
}

fn configured(name: &str, config: Option<&Path>, places: &Places) -> Result<TargetConfig, Failure> {
    // Files are called after it.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.bytes().all(is_plain) || name.is_empty() {
        let name = name.to_owned();
        return Err(Failure::usage(TargetError::Name { name }));
    }
    let path = config.map_or_else(|| places.config.join("packcast.toml"), Path::to_owned);
    read_config(&path)?.target.remove(name).ok_or_else(|| {
        let name = name.to_owned();
        let hint = format!(
            "add a [target.{name}] section with a table and a bucket or directory, or name another with --target"
        );
        Failure::usage(TargetError::Unknown { name, path }).hint(hint)
    })
}

/// Reads the configuration; an absent file configures nothing.
fn read_config(path: &Path) -> Result<ConfigFile, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(ConfigFile::default());
        }
        Err(source) => {
            return Err(Failure::failed(TargetError::Read {
                path: path.to_owned(),
                source,
            }));
        }
    };
    toml::from_str(&text).map_err(|source| {
        Failure::usage(TargetError::Parse {
            path: path.to_owned(),
            source,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(lines: &str) -> Result<ObjectsPlace, TargetError> {
        let target: TargetConfig = toml::from_str(&format!("table = \"t\"\n{lines}")).unwrap();
        target.place("prod")
    }

    #[test]
    fn objects_have_one_place() {
        assert!(matches!(
            place("directory = \"/srv\""),
            Ok(ObjectsPlace::Directory(root)) if root == Path::new("/srv")
        ));
        for (lines, refusal) in [
            ("", "target \"prod\" has neither"),
            (
                "bucket = \"b\"\ndirectory = \"/srv\"",
                "target \"prod\" has both",
            ),
            (
                "directory = \"/srv\"\ns3_endpoint = \"http://127.0.0.1:1\"",
                "target \"prod\" has an s3_endpoint, and no bucket",
            ),
        ] {
            let refused = place(lines).unwrap_err().to_string();
            assert!(refused.starts_with(refusal), "{refused}");
        }
    }

    #[test]
    fn a_bucket_answers_where_the_table_does_unless_told_otherwise() {
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
}
