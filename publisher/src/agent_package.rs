//! The package with which OCS agents install the Packcast agent on Linux.

mod install_script;
mod proxy;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packcast_protocol::api::Secret;
use packcast_protocol::enrolment::{BatchKey, EnrolmentBatch};
use packcast_protocol::{PackageVersion, UnixTime};
use tempfile::TempDir;

use self::install_script::install_script;
pub use self::proxy::{ProxyAddress, ProxyAddressError};
use crate::agent_config::{AgentConfig, DeviceCa};
use crate::failure::Failure;
use crate::text_file;

/// The program of the package.
pub const PROGRAM: &str = "install.sh";

const TOKEN: &str = "enrolment-token";
const CA: &str = "ca.pem";

/// The content of the package, in a folder that is removed when this is dropped.
#[derive(Debug)]
pub struct AgentPackage {
    folder: TempDir,
    /// Version of the agent.
    pub version: PackageVersion,
    /// Batch of the token in the package.
    pub batch: EnrolmentBatch,
}

/// Errors from creating the content of the package.
#[derive(Debug, thiserror::Error)]
enum AgentPackageError {
    #[error(
        "cannot read version and architecture from the name of {}: expected a name such as packcast-agent_0.1.0-1_amd64.deb or packcast-agent-0.1.0-1.x86_64.rpm",
        path.display()
    )]
    Name { path: PathBuf },
    #[error(
        "cannot pack two files with the architecture and format of {on_device}: pass one of them"
    )]
    Twice { on_device: String },
    #[error("the files have different versions: expected {expected}, found {found}")]
    Versions { expected: String, found: String },
    #[error("cannot read the enrolment token {}: create it with 'packcast token'", path.display())]
    Token { path: PathBuf, source: io::Error },
    #[error("{} is not an enrolment token: create one with 'packcast token'", path.display())]
    NotToken { path: PathBuf },
    #[error(
        "the token in {} enrols any number of devices, and everybody with the package can read it: create a token for these devices with 'packcast token'",
        path.display()
    )]
    Unlimited { path: PathBuf },
    #[error("the token in {} has expired: create another one with 'packcast token'", path.display())]
    Expired { path: PathBuf },
    #[error("cannot copy {}", path.display())]
    Copy { path: PathBuf, source: io::Error },
    #[error("cannot create a temporary folder")]
    Folder(#[source] io::Error),
}

impl AgentPackage {
    /// Creates the content from packages of the agent (`.deb` and `.rpm`), and from the enrolment token
    /// of a batch. `proxy` is the proxy of the devices.
    pub fn create(
        files: &[PathBuf],
        token_file: &Path,
        config: &AgentConfig,
        proxy: Option<&ProxyAddress>,
        now: UnixTime,
    ) -> Result<Self, Failure> {
        create(files, token_file, config, proxy, now).map_err(|error| match error {
            AgentPackageError::Folder(_) | AgentPackageError::Copy { .. } => Failure::failed(error),
            error => Failure::usage(error),
        })
    }

    /// Returns the folder with the content.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn create(
    files: &[PathBuf],
    token_file: &Path,
    config: &AgentConfig,
    proxy: Option<&ProxyAddress>,
    now: UnixTime,
) -> Result<AgentPackage, AgentPackageError> {
    let (version, files) = named_files(files)?;
    let (token, batch) = batch_token(token_file, now)?;
    let folder = tempfile::tempdir().map_err(AgentPackageError::Folder)?;
    let place = |name: &str| folder.path().join(name);
    for (on_device, path) in files {
        copy(&path, &place(&on_device))?;
    }
    let ca = match &config.ca {
        Some(DeviceCa::ThisMachine(path) | DeviceCa::CopyOf(path)) => {
            copy(path, &place(CA))?;
            Some(CA)
        }
        None => None,
    };
    let script = install_script(&config.server, &config.trust, ca, proxy);
    write(&place(PROGRAM), 0o755, &script).map_err(AgentPackageError::Folder)?;
    let token = format!("{}\n", token.reveal());
    write(&place(TOKEN), 0o600, &token).map_err(AgentPackageError::Folder)?;
    Ok(AgentPackage {
        folder,
        version,
        batch,
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), AgentPackageError> {
    match fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(source) => Err(AgentPackageError::Copy {
            path: from.to_owned(),
            source,
        }),
    }
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    // Windows has no modes. There, the packed files get the modes of every archive.
    #[cfg(not(unix))]
    let _ = mode;
    io::Write::write_all(&mut options.open(path)?, text.as_bytes())
}

/// Reads the token of a batch.
fn batch_token(file: &Path, now: UnixTime) -> Result<(Secret, EnrolmentBatch), AgentPackageError> {
    let path = || file.to_owned();
    let text = text_file::read(file).map_err(|source| AgentPackageError::Token {
        path: path(),
        source,
    })?;
    let token: Secret = text
        .trim()
        .parse()
        .map_err(|_| AgentPackageError::NotToken { path: path() })?;
    let batch = BatchKey::read_unverified(&token);
    let batch = batch.ok_or_else(|| AgentPackageError::Unlimited { path: path() })?;
    if batch.expires() <= now {
        return Err(AgentPackageError::Expired { path: path() });
    }
    Ok((token, batch))
}

/// Returns the version of the files, and the files by their names on a device.
fn named_files(
    files: &[PathBuf],
) -> Result<(PackageVersion, BTreeMap<String, PathBuf>), AgentPackageError> {
    let mut version: Option<PackageVersion> = None;
    let mut named = BTreeMap::new();
    for path in files {
        let no_name = || AgentPackageError::Name { path: path.clone() };
        let name = path.file_name().and_then(|name| name.to_str());
        let (found, on_device) = name.and_then(name_on_device).ok_or_else(no_name)?;
        let found: PackageVersion = found.parse().map_err(|_| no_name())?;
        match &version {
            None => version = Some(found),
            Some(expected) if *expected != found => {
                return Err(AgentPackageError::Versions {
                    expected: expected.to_string(),
                    found: found.to_string(),
                });
            }
            Some(_) => {}
        }
        if named.insert(on_device.clone(), path.clone()).is_some() {
            return Err(AgentPackageError::Twice { on_device });
        }
    }
    match version {
        Some(version) => Ok((version, named)),
        None => Err(AgentPackageError::Name {
            path: PathBuf::new(),
        }),
    }
}

/// Returns the version in the name of a package of the agent, and the name of the file on the device:
/// the architecture and the format.
fn name_on_device(name: &str) -> Option<(&str, String)> {
    if let Some(rest) = name.strip_suffix(".deb") {
        let (version, architecture) = rest.strip_prefix("packcast-agent_")?.rsplit_once('_')?;
        let known = ["amd64", "arm64"].contains(&architecture);
        known.then(|| (version, format!("{architecture}.deb")))
    } else {
        let rest = name.strip_suffix(".rpm")?;
        let (version, architecture) = rest.strip_prefix("packcast-agent-")?.rsplit_once('.')?;
        let known = ["x86_64", "aarch64"].contains(&architecture);
        known.then(|| (version, format!("{architecture}.rpm")))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use packcast_protocol::enrolment::BatchId;

    use super::*;
    use crate::agent_config::DeviceSystem;
    use crate::rendered::messages;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn token(expires: UnixTime) -> String {
        let id = BatchId::new(Some(&"ocs".parse().unwrap()), [7; 16]);
        let batch = EnrolmentBatch::new(id, 500, expires).unwrap();
        let token = BatchKey::of_pass_key(&[9; 32]).token(&batch);
        token.reveal().to_owned()
    }

    fn config(ca: Option<DeviceCa>) -> AgentConfig {
        let key = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
        AgentConfig {
            target: "prod".to_owned(),
            server: "https://packcast.example.net".parse().unwrap(),
            trust: format!("a4dqobyha4dqobyha4dqobyha4:{key}").parse().unwrap(),
            system: DeviceSystem::Unix,
            enrolment_token_file: None,
            ca,
        }
    }

    #[test]
    fn the_content_has_the_files_under_the_names_of_architectures() {
        let from = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = from.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let files = [
            file("packcast-agent_0.1.0-1_amd64.deb", "deb"),
            file("packcast-agent-0.1.0-1.aarch64.rpm", "rpm"),
        ];
        let token_file = file("token", &token(NOW.plus(60)));
        let ca = Some(DeviceCa::CopyOf(file("my.pem", "certificate")));
        let package = create(&files, &token_file, &config(ca), None, NOW).unwrap();
        assert_eq!(package.version.to_string(), "0.1.0-1");
        assert_eq!(package.batch.id().name(), Some("ocs"));
        let mut found: Vec<String> = fs::read_dir(package.folder())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o111;
                format!("{} {mode:o}", entry.file_name().to_string_lossy())
            })
            .collect();
        found.sort_unstable();
        insta::assert_snapshot!(found.join("\n"), @"
        aarch64.rpm 0
        amd64.deb 0
        ca.pem 0
        enrolment-token 0
        install.sh 111
        ");
        let token = fs::metadata(package.folder().join(TOKEN)).unwrap();
        assert_eq!(token.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_token_without_limits_and_an_expired_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            let file = folder.path().join("token");
            fs::write(&file, text).unwrap();
            batch_token(&file, NOW).unwrap_err()
        };
        assert!(matches!(
            refused("enrolment-token-1"),
            AgentPackageError::Unlimited { .. }
        ));
        assert!(matches!(
            refused(&token(NOW)),
            AgentPackageError::Expired { .. }
        ));
        assert!(matches!(
            refused("short"),
            AgentPackageError::NotToken { .. }
        ));
    }

    #[test]
    fn names_have_a_version_and_a_known_architecture() {
        let deb = "packcast-agent_0.1.0~rc1-1_arm64.deb";
        assert_eq!(
            name_on_device(deb),
            Some(("0.1.0~rc1-1", "arm64.deb".to_owned()))
        );
        for bad in [
            "packcast-agent.deb",
            "packcast-agent_0.1.0-1_armhf.deb",
            "packcast_0.1.0-1_amd64.deb",
            "packcast-agent-0.1.0-1.noarch.rpm",
            "packcast-agent.msi",
        ] {
            assert_eq!(name_on_device(bad), None, "{bad}");
        }
        let two = |names: [&str; 2]| named_files(&names.map(PathBuf::from)).unwrap_err();
        let deb = "a/packcast-agent_0.1.0-1_amd64.deb";
        assert!(matches!(
            two([deb, "b/packcast-agent_0.1.0-1_amd64.deb"]),
            AgentPackageError::Twice { .. }
        ));
        assert!(matches!(
            two([deb, "packcast-agent-0.2.0-1.x86_64.rpm"]),
            AgentPackageError::Versions { .. }
        ));
    }

    #[test]
    fn error_messages() {
        let path = || PathBuf::from("enrolment-token");
        let errors = [
            AgentPackageError::Name {
                path: "agent.deb".into(),
            },
            AgentPackageError::Twice {
                on_device: "amd64.deb".to_owned(),
            },
            AgentPackageError::Versions {
                expected: "0.1.0-1".to_owned(),
                found: "0.2.0-1".to_owned(),
            },
            AgentPackageError::Token {
                path: path(),
                source: io::ErrorKind::NotFound.into(),
            },
            AgentPackageError::NotToken { path: path() },
            AgentPackageError::Unlimited { path: path() },
            AgentPackageError::Expired { path: path() },
            AgentPackageError::Copy {
                path: path(),
                source: io::ErrorKind::NotFound.into(),
            },
            AgentPackageError::Folder(io::ErrorKind::StorageFull.into()),
        ];
        insta::assert_snapshot!(messages(errors), @"
        cannot read version and architecture from the name of agent.deb: expected a name such as packcast-agent_0.1.0-1_amd64.deb or packcast-agent-0.1.0-1.x86_64.rpm
        cannot pack two files with the architecture and format of amd64.deb: pass one of them
        the files have different versions: expected 0.1.0-1, found 0.2.0-1
        cannot read the enrolment token enrolment-token: create it with 'packcast token'
        enrolment-token is not an enrolment token: create one with 'packcast token'
        the token in enrolment-token enrols any number of devices, and everybody with the package can read it: create a token for these devices with 'packcast token'
        the token in enrolment-token has expired: create another one with 'packcast token'
        cannot copy enrolment-token
        cannot create a temporary folder
        ");
    }
}
