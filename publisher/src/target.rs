//! Targets: the installations that operations work on.

mod config;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_https::Route;
use packcast_protocol::ObjectPath;
use packcast_rollout::Pacing;
use packcast_store::{Directory, Objects, Records, RecordsConfig};

pub use self::config::TargetError;
use self::config::configured;
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

    /// Returns the path of the file that targets are configured in.
    fn config_file(&self) -> PathBuf {
        self.config.join("packcast.toml")
    }

    /// Returns where `packcast local` keeps everything.
    pub fn local(&self) -> PathBuf {
        self.state.join(LOCAL)
    }
}

/// The addresses of a running local system.
#[derive(Clone, Debug)]
pub struct LocalSystem {
    /// The address of its engine, as a URL.
    pub endpoint: String,
    pub table: String,
    pub objects_dir: PathBuf,
    /// The first part of all object paths.
    pub prefix: ObjectPath,
    /// The certificate authority of its edge.
    pub ca_file: PathBuf,
}

impl Target {
    /// Opens the target of that name: from `config`, or the running `packcast local`.
    pub async fn open(
        name: &str,
        config: Option<&Path>,
        places: &Places,
        secrets: Arc<dyn Secrets>,
    ) -> Result<Self, Failure> {
        let target = configured(name, config, &places.config_file())?;
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
        let named = configured(name, config, &places.config_file())?.key_file;
        Ok(named.unwrap_or_else(|| places.default_key_file(name)))
    }

    /// Connects to the local system that has its state in `state_dir`.
    pub async fn local(state_dir: &Path, system: LocalSystem, secrets: Arc<dyn Secrets>) -> Self {
        Self {
            name: LOCAL.to_owned(),
            records: Records::connect(RecordsConfig {
                table: system.table,
                region: None,
                endpoint: Some(system.endpoint),
                http_client: None,
            })
            .await,
            objects: Objects::Directory(Directory::new(system.objects_dir)),
            prefix: system.prefix,
            pace: Pacing::default(),
            ca_file: Some(system.ca_file),
            key_file: local_key_file(state_dir),
            memory_file: memory_file(state_dir),
            secrets,
            warnings: Warnings::default(),
        }
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
