//! `packcast.toml`: the targets that an administrator has configured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use packcast_protocol::ObjectPath;
use packcast_rollout::Pacing;
use packcast_rollout::pace::PauseS;
use packcast_store::{Directory, Objects, S3, S3Config};
use serde::Deserialize;

use crate::failure::Failure;

/// `packcast.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    target: BTreeMap<String, TargetConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetConfig {
    /// The name of the table.
    pub(super) table: String,
    /// The region of table and bucket; the AWS configuration's own if absent.
    pub(super) region: Option<String>,
    /// Where table and bucket answer, if not at AWS.
    pub(super) endpoint: Option<String>,
    /// Where the bucket answers, if not where the table does.
    s3_endpoint: Option<String>,
    /// The folder that published objects are written to, unless they go to a bucket.
    directory: Option<PathBuf>,
    /// The name of the bucket that published objects are written to.
    bucket: Option<String>,
    #[serde(default = "packcast_store::key::default_prefix")]
    pub(super) prefix: ObjectPath,
    /// As the check-in function was set up.
    #[serde(default)]
    strict: bool,
    fragment_pause_s: Option<PauseS>,
    cycle_pause_s: Option<PauseS>,
    period_pause_s: Option<PauseS>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
}

/// Where a target's objects are, before anything is asked of it.
#[derive(Debug)]
pub(super) enum ObjectsPlace {
    Directory(PathBuf),
    Bucket(S3Config),
}

impl TargetConfig {
    pub(super) fn pace(&self) -> Pacing {
        let default = Pacing::default();
        Pacing {
            fragment_pause_s: self.fragment_pause_s.unwrap_or(default.fragment_pause_s),
            cycle_pause_s: self.cycle_pause_s.unwrap_or(default.cycle_pause_s),
            period_pause_s: self.period_pause_s.unwrap_or(default.period_pause_s),
            strict: self.strict,
            ..default
        }
    }

    pub(super) fn place(&self, name: &str) -> Result<ObjectsPlace, TargetError> {
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
    pub(super) async fn open(self) -> Objects {
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

/// Reads the target with this name from `config`, or from `usual` if no file is named.
pub(super) fn configured(
    name: &str,
    config: Option<&Path>,
    usual: &Path,
) -> Result<TargetConfig, Failure> {
    // Files are called after it.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.bytes().all(is_plain) || name.is_empty() {
        let name = name.to_owned();
        return Err(Failure::usage(TargetError::Name { name }));
    }
    let path = config.unwrap_or(usual).to_owned();
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
