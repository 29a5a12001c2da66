//! Targets: the installations that operations work on.

mod config;
mod name;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_https::Route;
use packcast_protocol::ObjectPath;
use packcast_protocol::state::TrustedRoots;
use packcast_rollout::{ChangedBy, Pacing};
use packcast_store::records::ReadMeter;
use packcast_store::{Directory, Objects, Records, RecordsConfig};

pub use self::config::TargetError;
use self::config::configured;
pub use self::name::LOCAL;
use crate::agent_config::ServerAddress;
use crate::author::Author;
use crate::clock::event_time;
use crate::failure::Failure;
use crate::signing::Secrets;
use crate::signing::memory_file::MemoryFile;
use crate::warning::Warnings;

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
    /// The file with target id, root keys and known commits (see [`MemoryFile`]).
    pub state_memory: PathBuf,
    /// The person who changes the target, for the history of its state.
    pub author: Author,
    /// Secrets that are not in files.
    pub secrets: Arc<dyn Secrets>,
    /// Warnings that operations could not return.
    pub warnings: Warnings,
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
    /// Each target has a key of its own, so that a stolen key endangers no other target.
    pub fn default_key_file(&self, target: &str) -> PathBuf {
        self.config.join(format!("{target}.key"))
    }

    /// Returns the file with the secrets of a target's function: `infra/deploy` or `packcast local`
    /// has created the file.
    pub fn secrets_file(&self, target: &str) -> PathBuf {
        if target == LOCAL {
            self.local().join("secrets.json")
        } else {
            self.config.join(format!("{target}.secrets"))
        }
    }

    /// Returns the file with target id, root keys and known commits of a target.
    pub fn state_memory(&self, target: &str) -> PathBuf {
        state_memory(&self.state.join(target))
    }

    /// Returns the path of the configuration of targets.
    fn config_file(&self) -> PathBuf {
        self.config.join("packcast.toml")
    }

    /// Returns the folder for all files of `packcast local`.
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
    /// The prefix of all object paths.
    pub prefix: ObjectPath,
    /// The certificate authority of its edge.
    pub ca_file: PathBuf,
}

impl Target {
    /// Opens the target with this name in the configuration.
    pub async fn open(
        name: &str,
        config: Option<&Path>,
        places: &Places,
        secrets: Arc<dyn Secrets>,
    ) -> Result<Self, Failure> {
        let target = configured(name, config, &places.config_file())?;
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
            state_memory: state_memory(&places.state.join(name)),
            author: Author::default(),
            secrets,
            warnings: Warnings::default(),
        })
    }

    /// Returns the same target for one display, with warnings of its own, and the meter of its reads.
    ///
    /// Lists and counts may be some seconds old: see [`Records::for_display`].
    pub fn for_display(&self) -> (Self, ReadMeter) {
        let (records, meter) = self.records.for_display();
        (self.with_records(records), meter)
    }

    /// Returns the same target for one change, with warnings of its own.
    #[must_use]
    pub fn for_change(&self) -> Self {
        self.with_records(self.records.clone())
    }

    /// Returns the same target for one change, with warnings of its own, and the meter of its reads.
    pub fn for_metered_change(&self) -> (Self, ReadMeter) {
        let (records, meter) = self.records.metered();
        (self.with_records(records), meter)
    }

    fn with_records(&self, records: Records) -> Self {
        Self {
            name: self.name.clone(),
            records,
            objects: self.objects.clone(),
            prefix: self.prefix.clone(),
            pace: self.pace,
            ca_file: self.ca_file.clone(),
            key_file: self.key_file.clone(),
            state_memory: self.state_memory.clone(),
            author: self.author.clone(),
            secrets: Arc::clone(&self.secrets),
            warnings: Warnings::default(),
        }
    }

    /// Returns the author of a change that is made now, for its event.
    pub(crate) fn changed_by(&self) -> ChangedBy {
        ChangedBy::shortened(&self.author.user, &self.author.host, event_time())
    }

    /// Returns target id and root keys, as this machine knows them.
    ///
    /// The table is never asked for them.
    pub fn trust(&self) -> Result<TrustedRoots, Failure> {
        known_trust(&self.name, &self.state_memory)
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
        let named = configured(name, config, &places.config_file())?.key_file;
        Ok(named.unwrap_or_else(|| places.default_key_file(name)))
    }

    /// Returns the names of all targets.
    pub fn names(config: Option<&Path>, places: &Places) -> Result<Vec<String>, Failure> {
        let mut names = config::names(config, &places.config_file())?;
        names.push(LOCAL.to_owned());
        Ok(names)
    }

    /// Returns the file with the passphrase of a target's signing key; `None` if the configuration
    /// names none. The target need not be reachable.
    pub fn passphrase_file(
        name: &str,
        config: Option<&Path>,
        places: &Places,
    ) -> Result<Option<PathBuf>, Failure> {
        if name == LOCAL {
            return Ok(None);
        }
        Ok(configured(name, config, &places.config_file())?.passphrase_file)
    }

    /// Returns target id and present root keys of a target, for new devices. The target need not be
    /// reachable.
    pub fn present_trust(name: &str, places: &Places) -> Result<TrustedRoots, Failure> {
        let memory = MemoryFile::present_trust(&places.state_memory(name))?;
        memory.ok_or_else(|| unknown_trust(name))
    }

    /// Returns the address at which the devices of a configured target check in, and the file of
    /// its certificate authorities; `None` if the configuration does not name them.
    pub fn check_in_address(
        name: &str,
        config: Option<&Path>,
        places: &Places,
    ) -> Result<(Option<ServerAddress>, Option<PathBuf>), Failure> {
        let target = configured(name, config, &places.config_file())?;
        Ok((target.server, target.ca_file))
    }

    /// Connects to the local system whose state is in `state_dir`.
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
            state_memory: state_memory(state_dir),
            author: Author::default(),
            secrets,
            warnings: Warnings::default(),
        }
    }
}

/// Returns the key file of a local system.
pub fn local_key_file(state_dir: &Path) -> PathBuf {
    state_dir.join("packcast.key")
}

/// Returns target id and root keys in the memory of a target.
pub(crate) fn known_trust(target: &str, state_memory: &Path) -> Result<TrustedRoots, Failure> {
    MemoryFile::trust(state_memory)?.ok_or_else(|| unknown_trust(target))
}

fn unknown_trust(target: &str) -> Failure {
    let why = format!("this machine does not know the root keys of target {target}");
    Failure::failed(why)
        .hint("run 'packcast keys generate' to create the target")
        .hint("if another machine has created it, run 'packcast keys show' there, and then 'packcast keys accept-trust LINE' here")
}

/// Returns the file with target id, root keys and known commits in the state folder of a target.
pub(crate) fn state_memory(state_dir: &Path) -> PathBuf {
    state_dir.join("commits.jsonl")
}
