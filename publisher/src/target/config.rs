//! The configuration of targets in `packcast.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use packcast_protocol::ObjectPath;
use packcast_rollout::Pacing;
use packcast_rollout::pacing::PauseS;
use packcast_store::{Directory, Objects, S3, S3Config};
use serde::Deserialize;

use crate::agent_config::ServerAddress;
use crate::failure::Failure;
use crate::text_file;

/// The content of `packcast.toml`.
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
    /// The region of table and bucket; if absent, the region of the AWS configuration.
    pub(super) region: Option<String>,
    /// The address of table and bucket, if they are not at AWS.
    pub(super) endpoint: Option<String>,
    /// The address of the bucket, if it differs from the address of the table.
    s3_endpoint: Option<String>,
    /// The folder for published objects, if they are not stored in a bucket.
    directory: Option<PathBuf>,
    /// The name of the bucket for published objects.
    bucket: Option<String>,
    #[serde(default = "packcast_store::key::default_prefix")]
    pub(super) prefix: ObjectPath,
    /// The same value as in the settings of the check-in function; so are the pauses below.
    #[serde(default)]
    strict: bool,
    fragment_pause_s: Option<PauseS>,
    cycle_pause_s: Option<PauseS>,
    period_pause_s: Option<PauseS>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    /// The file with the passphrase of the signing key.
    pub(super) passphrase_file: Option<PathBuf>,
    /// The address at which devices check in.
    pub(super) server: Option<ServerAddress>,
}

/// The configured place of a target's objects, before it is opened.
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

/// Reads the target with this name from `config`, or from `usual` if `config` is `None`.
pub(super) fn configured(
    name: &str,
    config: Option<&Path>,
    usual: &Path,
) -> Result<TargetConfig, Failure> {
    // The name becomes a part of file names, so it must not contain a path separator.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.bytes().all(is_plain) || name.is_empty() {
        let name = name.to_owned();
        return Err(TargetError::Name { name }.into());
    }
    let path = config.unwrap_or(usual).to_owned();
    read_config(&path)?.target.remove(name).ok_or_else(|| {
        let name = name.to_owned();
        TargetError::Unknown { name, path }.into()
    })
}

/// Returns the names of the targets in `config`, or in `usual` if `config` is `None`.
pub(super) fn names(config: Option<&Path>, usual: &Path) -> Result<Vec<String>, TargetError> {
    let targets = read_config(config.unwrap_or(usual))?.target;
    Ok(targets.into_keys().collect())
}

/// Reads the configuration. A missing file is an empty configuration.
fn read_config(path: &Path) -> Result<ConfigFile, TargetError> {
    let text = match text_file::read(path) {
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
    fn a_configuration_may_begin_with_a_byte_order_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packcast.toml");
        let text = "\u{FEFF}[target.prod]\ntable = \"t\"\nbucket = \"b\"\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!(configured("prod", None, &path).unwrap().table, "t");
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(&path, wide).unwrap();
        let refused = configured("prod", None, &path).unwrap_err().to_string();
        let refused = refused.replace(&path.display().to_string(), "packcast.toml");
        insta::assert_snapshot!(refused, @"cannot read configuration packcast.toml: the text is UTF-16: save it as UTF-8");
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
