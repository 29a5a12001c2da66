//! The agent's configuration: one TOML file.

mod server;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use packcast_archive::Limits;
use packcast_protocol::GroupName;
use packcast_protocol::api::Secret;
use packcast_protocol::assignments::MAX_GROUPS;
use packcast_protocol::keys::MAX_KEYS;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::TrustedRoots;
use serde::Deserialize;

pub(crate) use self::server::Server;
use crate::fetch::rate::Rate;
use crate::platform;

/// The path of the configuration file if no other is given.
pub(crate) const DEFAULT_PATH: &str = platform::DEFAULT_CONFIG;

/// The size limit of the configuration file and the token file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The upper limit of parallel downloads.
const MAX_PARALLEL_DOWNLOADS: usize = 16;

/// The agent's configuration, with valid values.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) state_dir: PathBuf,
    pub(crate) enrolment_token_file: Option<PathBuf>,
    pub(crate) trust: TrustConfig,
    /// A PEM file of the certificate authorities to trust instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The number of fragments to fetch in parallel: 1 to 16.
    pub(crate) parallel_downloads: NonZeroUsize,
    /// The rate limit of all downloads together; `None` if unlimited.
    pub(crate) max_download_rate: Option<Rate>,
    pub(crate) limits: Limits,
}

/// The form of trust that the configuration chooses.
#[derive(Clone, Debug)]
pub(crate) enum TrustConfig {
    /// The signed state of one target, by its root keys.
    State(TrustedRoots),
    /// Signed documents of the old form.
    Keys(KeyConfig),
}

/// The options of the old form of trust.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyConfig {
    /// The keys that the agent trusts until it has a key list of the publisher.
    ///
    /// Empty only if neither packages nor assignments need a signature.
    pub(crate) trusted_keys: Vec<PublicKey>,
    /// The groups that the device is in regardless of the publisher, without `all`.
    pub(crate) groups: BTreeSet<GroupName>,
    /// `true` if packages need no signature.
    pub(crate) run_unsigned_packages: bool,
    /// `true` if the check-in function alone decides on assignments.
    pub(crate) trust_server_assignments: bool,
}

/// The option that accepts unsigned packages.
pub(crate) const UNSIGNED_PACKAGES: &str = "dangerously_run_unsigned_packages";

/// The option that accepts unsigned assignments.
pub(crate) const SERVER_ASSIGNMENTS: &str = "dangerously_trust_server_assignments";

/// Errors from loading the configuration or the enrolment token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read configuration {}: create it, or pass --config", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("invalid configuration {}", path.display())]
    Invalid {
        path: PathBuf,
        #[source]
        source: InvalidConfig,
    },
    #[error("cannot read enrolment token {}: write the target's token there, or correct enrolment_token_file in the configuration", path.display())]
    TokenRead {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("other users can read enrolment token {}, or one of them owns it: protect it with `{}`", path.display(), platform::KEEP_PRIVATE)]
    TokenOpen { path: PathBuf },
    #[error("invalid enrolment token in {}: expected 16 to 128 letters, digits, '-' and '_'", path.display())]
    TokenText { path: PathBuf },
}

/// Errors in the content of a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidConfig {
    #[error("{}", .0.to_string().trim_end())]
    Toml(toml::de::Error),
    #[error(
        "neither trust nor trusted_keys is set: set trust to the trust line that `packcast keys show` prints"
    )]
    NoTrust,
    #[error("trust and trusted_keys are both set: remove trusted_keys")]
    BothForms,
    #[error("{option} has no effect together with trust: {remedy}")]
    NotWithTrust {
        option: &'static str,
        remedy: &'static str,
    },
    #[error("trusted_keys is empty: add the public key that `packcast keys show` prints")]
    NoKeys,
    #[error("trusted_keys has more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("groups names all, the group that every device is in: remove all from groups")]
    GroupAll,
    #[error("groups has more than {MAX_GROUPS} names")]
    TooManyGroups,
    #[error("state_dir is a relative path: write an absolute one")]
    RelativeStateDir,
    #[error("parallel_downloads is not between 1 and {MAX_PARALLEL_DOWNLOADS}")]
    ParallelDownloads,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    server: Server,
    state_dir: PathBuf,
    enrolment_token_file: Option<PathBuf>,
    trust: Option<TrustedRoots>,
    trusted_keys: Option<Vec<PublicKey>>,
    #[serde(default)]
    groups: BTreeSet<GroupName>,
    #[serde(default)]
    dangerously_run_unsigned_packages: bool,
    #[serde(default)]
    dangerously_trust_server_assignments: bool,
    ca_file: Option<PathBuf>,
    #[serde(default = "default_parallel_downloads")]
    parallel_downloads: usize,
    max_download_rate: Option<Rate>,
    #[serde(default = "default_unpacked_bytes")]
    max_unpacked_bytes: u64,
}

const fn default_parallel_downloads() -> usize {
    4
}

fn default_unpacked_bytes() -> u64 {
    Limits::default().unpacked_bytes
}

impl Config {
    /// Reads and checks the file.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_bounded(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|source| ConfigError::Invalid {
            path: path.to_owned(),
            source,
        })
    }

    fn parse(text: &str) -> Result<Self, InvalidConfig> {
        let file: ConfigFile = toml::from_str(text).map_err(InvalidConfig::Toml)?;
        let trust = TrustConfig::of(&file)?;
        if !file.state_dir.is_absolute() {
            return Err(InvalidConfig::RelativeStateDir);
        }
        let parallel_downloads = NonZeroUsize::new(file.parallel_downloads)
            .filter(|count| count.get() <= MAX_PARALLEL_DOWNLOADS)
            .ok_or(InvalidConfig::ParallelDownloads)?;
        Ok(Self {
            server: file.server,
            state_dir: file.state_dir,
            enrolment_token_file: file.enrolment_token_file,
            trust,
            ca_file: file.ca_file,
            parallel_downloads,
            max_download_rate: file.max_download_rate,
            limits: Limits {
                unpacked_bytes: file.max_unpacked_bytes,
                ..Limits::default()
            },
        })
    }

    /// Warns in the log about options that accept unsigned content.
    pub(crate) fn warn_of_dangers(&self) {
        let TrustConfig::Keys(keys) = &self.trust else {
            return;
        };
        if keys.run_unsigned_packages {
            tracing::warn!(
                "{UNSIGNED_PACKAGES} is set: anybody who can write to the server's bucket and table can run programs on this device"
            );
        }
        if keys.trust_server_assignments {
            tracing::warn!(
                "{SERVER_ASSIGNMENTS} is set: the server alone chooses which packages this device deploys"
            );
        }
    }

    /// Reads the enrolment token, if the configuration names a file for it.
    pub(crate) fn enrolment_token(&self) -> Result<Option<Secret>, ConfigError> {
        let Some(path) = &self.enrolment_token_file else {
            return Ok(None);
        };
        let read_error = |source| ConfigError::TokenRead {
            path: path.clone(),
            source,
        };
        if platform::others_can_read(path).map_err(read_error)? {
            return Err(ConfigError::TokenOpen { path: path.clone() });
        }
        let text = read_bounded(path).map_err(read_error)?;
        text.trim()
            .parse()
            .map(Some)
            .map_err(|_| ConfigError::TokenText { path: path.clone() })
    }
}

impl TrustConfig {
    fn of(file: &ConfigFile) -> Result<Self, InvalidConfig> {
        match (&file.trust, &file.trusted_keys) {
            (Some(_), Some(_)) => Err(InvalidConfig::BothForms),
            (Some(trust), None) => {
                check_unused(file)?;
                Ok(Self::State(trust.clone()))
            }
            (None, keys) => {
                let keys = keys.as_deref();
                check_keys(file, keys)?;
                check_groups(&file.groups)?;
                Ok(Self::Keys(KeyConfig {
                    trusted_keys: keys.unwrap_or_default().to_vec(),
                    groups: file.groups.clone(),
                    run_unsigned_packages: file.dangerously_run_unsigned_packages,
                    trust_server_assignments: file.dangerously_trust_server_assignments,
                }))
            }
        }
    }

    /// Returns `true` if the function alone decides on assignments.
    pub(crate) const fn trusts_server_assignments(&self) -> bool {
        matches!(
            self,
            Self::Keys(KeyConfig {
                trust_server_assignments: true,
                ..
            })
        )
    }
}

/// Checks that no option is set that only the old form of trust has.
fn check_unused(file: &ConfigFile) -> Result<(), InvalidConfig> {
    const SIGNED: &str = "the signed state names every package, so remove the option";
    let groups = "add the device with `packcast group add`, and remove groups";
    let unused = [
        (!file.groups.is_empty(), "groups", groups),
        (
            file.dangerously_run_unsigned_packages,
            UNSIGNED_PACKAGES,
            SIGNED,
        ),
        (
            file.dangerously_trust_server_assignments,
            SERVER_ASSIGNMENTS,
            SIGNED,
        ),
    ];
    match unused.into_iter().find(|(is_set, ..)| *is_set) {
        Some((_, option, remedy)) => Err(InvalidConfig::NotWithTrust { option, remedy }),
        None => Ok(()),
    }
}

fn check_keys(file: &ConfigFile, keys: Option<&[PublicKey]>) -> Result<(), InvalidConfig> {
    let nothing_is_signed =
        file.dangerously_run_unsigned_packages && file.dangerously_trust_server_assignments;
    match keys {
        None if !nothing_is_signed => Err(InvalidConfig::NoTrust),
        Some([]) if !nothing_is_signed => Err(InvalidConfig::NoKeys),
        Some(keys) if keys.len() > MAX_KEYS => Err(InvalidConfig::TooManyKeys),
        _ => Ok(()),
    }
}

fn check_groups(groups: &BTreeSet<GroupName>) -> Result<(), InvalidConfig> {
    if groups.contains(&GroupName::all()) {
        return Err(InvalidConfig::GroupAll);
    }
    if groups.len() > MAX_GROUPS {
        return Err(InvalidConfig::TooManyGroups);
    }
    Ok(())
}

fn read_bounded(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?
        // The path may lead to a device file that never ends.
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn text(lines: &str) -> String {
        format!("state_dir = \"/var/lib/packcast\"\n{lines}")
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = Config::parse(&text(&format!(
            "server = \"https://ocs.example:8443\"\ntrusted_keys = [\"{KEY}\"]"
        )))
        .unwrap();
        assert_eq!(config.parallel_downloads.get(), 4);
        assert_eq!(config.limits, Limits::default());
        assert_eq!(
            config.server.url("/v1/check-in").as_str(),
            "https://ocs.example:8443/v1/check-in"
        );
    }

    #[test]
    fn no_key_is_needed_if_no_signature_is_needed() {
        let config = Config::parse(&text(
            "server = \"https://h\"\ndangerously_run_unsigned_packages = true\n\
             dangerously_trust_server_assignments = true",
        ));
        let trust = config.unwrap().trust;
        assert!(matches!(&trust, TrustConfig::Keys(keys) if keys.trusted_keys.is_empty()));
    }

    #[test]
    fn a_trust_line_replaces_every_option_of_the_old_form() {
        let line = format!("trust = \"{}:{KEY}\"\n", "a".repeat(26));
        let server = "server = \"https://h\"\n";
        let parsed = Config::parse(&text(&format!("{server}{line}"))).unwrap();
        let TrustConfig::State(roots) = parsed.trust else {
            panic!("the agent follows the signed state");
        };
        assert_eq!(roots.to_string(), format!("{}:{KEY}", "a".repeat(26)));
        let check = |lines: &str, expected: &str| {
            let refused = Config::parse(&text(&format!("{server}{lines}")));
            let error = packcast_protocol::with_causes(&refused.unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        let both = format!("{line}trusted_keys = [\"{KEY}\"]");
        check(&both, "remove trusted_keys");
        check(&format!("{line}trusted_keys = []"), "remove trusted_keys");
        check(&format!("{line}groups = [\"lab\"]"), "packcast group add");
        for option in [UNSIGNED_PACKAGES, SERVER_ASSIGNMENTS] {
            check(&format!("{line}{option} = true"), option);
        }
        check("trust = \"x\"", "is not a trust line");
        let longer = format!("trust = \"{}:{KEY}\"", "a".repeat(27));
        check(&longer, "cannot read the trust line");
    }

    #[test]
    fn errors_name_the_option_and_the_remedy() {
        let check = |lines: &str, expected: &str| {
            let error = Config::parse(&text(lines)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let good = format!("server = \"https://h\"\ntrusted_keys = [\"{KEY}\"]\n");
        check(
            "server = \"https://h\"\ntrusted_keys = []",
            "packcast keys show",
        );
        check(
            "server = \"https://h\"\ntrusted_keys = [\"x\"]",
            "minisign public key",
        );
        check("server = \"https://h\"", "trusted_keys");
        let unsigned = "server = \"https://h\"\ndangerously_run_unsigned_packages = true";
        check(unsigned, "trusted_keys");
        check(
            &format!("{good}groups = [\"all\"]"),
            "remove all from groups",
        );
        check(&format!("{good}groups = [\"A\"]"), "not a group's name");
        check(&format!("{good}typo = 1"), "typo");
        check(
            &format!("{good}parallel_downloads = 17"),
            "between 1 and 16",
        );
        check(&format!("{good}max_download_rate = \"2\""), "write 2MiB/s");
        for server in [
            "http://h",
            "h",
            "https://h/path",
            "https://u:p@h",
            "https://h?x",
        ] {
            let lines = format!("server = \"{server}\"\ntrusted_keys = [\"{KEY}\"]");
            check(&lines, "https://host");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "0123456789abcdef\n").unwrap();
        let mut config = Config::parse(&text(&format!(
            "server = \"https://h\"\ntrusted_keys = [\"{KEY}\"]"
        )))
        .unwrap();
        assert!(config.enrolment_token().unwrap().is_none());
        config.enrolment_token_file = Some(path.clone());
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        assert!(matches!(
            config.enrolment_token(),
            Err(ConfigError::TokenOpen { .. })
        ));
        mode(0o600);
        assert!(config.enrolment_token().unwrap().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn messages_name_the_file_and_the_remedy() {
        let path = || PathBuf::from("/etc/packcast/agent.toml");
        let token = || PathBuf::from("/etc/packcast/token");
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let errors = [
            ConfigError::Read {
                path: path(),
                source: missing(),
            },
            ConfigError::Invalid {
                path: path(),
                source: InvalidConfig::NoKeys,
            },
            ConfigError::TokenRead {
                path: token(),
                source: missing(),
            },
            ConfigError::TokenOpen { path: token() },
            ConfigError::TokenText { path: token() },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        cannot read configuration /etc/packcast/agent.toml: create it, or pass --config
        invalid configuration /etc/packcast/agent.toml
        cannot read enrolment token /etc/packcast/token: write the target's token there, or correct enrolment_token_file in the configuration
        other users can read enrolment token /etc/packcast/token, or one of them owns it: protect it with `chown AGENT FILE; chmod 600 FILE`
        invalid enrolment token in /etc/packcast/token: expected 16 to 128 letters, digits, '-' and '_'
        ");
    }

    #[test]
    fn messages_of_an_invalid_configuration_name_the_option() {
        let toml = toml::from_str::<ConfigFile>("server = 1").err().unwrap();
        let errors = [
            InvalidConfig::Toml(toml),
            InvalidConfig::NoTrust,
            InvalidConfig::BothForms,
            InvalidConfig::NotWithTrust {
                option: "groups",
                remedy: "add the device with `packcast group add`, and remove groups",
            },
            InvalidConfig::NoKeys,
            InvalidConfig::TooManyKeys,
            InvalidConfig::GroupAll,
            InvalidConfig::TooManyGroups,
            InvalidConfig::RelativeStateDir,
            InvalidConfig::ParallelDownloads,
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        TOML parse error at line 1, column 10
          |
        1 | server = 1
          |          ^
        invalid type: integer `1`, expected a string
        neither trust nor trusted_keys is set: set trust to the trust line that `packcast keys show` prints
        trust and trusted_keys are both set: remove trusted_keys
        groups has no effect together with trust: add the device with `packcast group add`, and remove groups
        trusted_keys is empty: add the public key that `packcast keys show` prints
        trusted_keys has more than 8 keys
        groups names all, the group that every device is in: remove all from groups
        groups has more than 64 names
        state_dir is a relative path: write an absolute one
        parallel_downloads is not between 1 and 16
        ");
    }
}
