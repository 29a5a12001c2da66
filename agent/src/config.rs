//! The agent's configuration: one TOML file.

pub(crate) mod edit;
mod fixed_options;
mod other_version;
mod server;

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use packcast_archive::Limits;
use packcast_protocol::api::{Secret, SiteLabel};
use packcast_protocol::state::TrustedRoots;
use packcast_protocol::text_input;
use serde::Deserialize;
use serde::de::IgnoredAny;

pub(crate) use self::fixed_options::{FixedOptions, FixedOptionsChanged};
pub(crate) use self::server::Server;
use crate::fetch::rate::Rate;
use crate::platform;

/// The path of the configuration file if no other is given.
pub(crate) const DEFAULT_PATH: &str = platform::DEFAULT_CONFIG;

/// The state folder of a configuration that the agent itself writes.
///
/// `packcast agent-config` prints the same folder.
pub(crate) const DEFAULT_STATE_DIR: &str = platform::DEFAULT_STATE_DIR;

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
    /// The target whose signed state the agent follows, with its root keys.
    pub(crate) trust: TrustedRoots,
    /// A PEM file of the certificate authorities to trust instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The number of fragments to fetch in parallel: 1 to 16.
    pub(crate) parallel_downloads: NonZeroUsize,
    /// The rate limit of all downloads together; `None` if unlimited.
    pub(crate) max_download_rate: Option<Rate>,
    /// The label of the device's site, for lists.
    pub(crate) site: Option<SiteLabel>,
    pub(crate) limits: Limits,
    /// The options that only another version of the agent knows.
    pub(crate) ignored: Vec<String>,
}

/// Errors from loading the configuration or the enrolment token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read configuration {}{}", path.display(), remedy(source))]
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
    #[error(
        "other users can change configuration {}, or one of them owns it: protect it with `{}`",
        path.display(),
        platform::KEEP_PRIVATE
    )]
    Changeable { path: PathBuf },
    #[error(
        "other users can change folder {} of configuration {}: make it a folder of root that only root can change",
        folder.display(),
        path.display()
    )]
    FolderChangeable {
        path: PathBuf,
        folder: PathBuf,
        #[source]
        source: io::Error,
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

/// Returns the next step after a failed read, after a colon. The cause of other failures follows the
/// message.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => ": create it, or pass --config",
        io::ErrorKind::PermissionDenied => ": run the command as root",
        _ => "",
    }
}

/// Errors in the content of a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidConfig {
    #[error("{}", .0.to_string().trim_end())]
    Toml(toml::de::Error),
    #[error("trust is not set: set it to the trust line that `packcast keys show` prints")]
    NoTrust,
    #[error("{option} is not an option any more: {remedy}")]
    OldOption {
        option: &'static str,
        remedy: &'static str,
    },
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
    ca_file: Option<PathBuf>,
    #[serde(default = "default_parallel_downloads")]
    parallel_downloads: usize,
    max_download_rate: Option<Rate>,
    site: Option<SiteLabel>,
    #[serde(default = "default_unpacked_bytes")]
    max_unpacked_bytes: u64,
    // Options of older agents, which are refused with a remedy.
    trusted_keys: Option<IgnoredAny>,
    groups: Option<IgnoredAny>,
    dangerously_run_unsigned_packages: Option<IgnoredAny>,
    dangerously_trust_server_assignments: Option<IgnoredAny>,
}

/// The options that a starter needs, in a file that may be for another version of the agent.
///
/// The updated version may know options that the installed one does not, so unknown ones are ignored.
#[derive(Clone, Debug)]
pub(crate) struct StarterConfig {
    pub(crate) state_dir: PathBuf,
    /// `None` if this version cannot read the address of the server.
    pub(crate) contact: Option<Contact>,
}

/// The options for requests to the function.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Contact {
    pub(crate) server: Server,
    pub(crate) ca_file: Option<PathBuf>,
}

const fn default_parallel_downloads() -> usize {
    4
}

fn default_unpacked_bytes() -> u64 {
    Limits::default().unpacked_bytes
}

impl Config {
    /// Reads and checks the file, which may be for another version of the agent.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = Self::read_text(path)?;
        Self::parse_for_any_version(&text).map_err(|source| ConfigError::Invalid {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads and checks the file of a service, which runs programs as root.
    ///
    /// # Errors
    /// Others than root and the agent's user can change the file.
    pub(crate) fn load_unchangeable(path: &Path) -> Result<Self, ConfigError> {
        expect_unchangeable(path)?;
        Self::load(path)
    }

    /// Reads the text of the file.
    pub(crate) fn read_text(path: &Path) -> Result<String, ConfigError> {
        read_bounded(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads and checks the text of a file for this version of the agent.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidConfig> {
        let file = toml::from_str(text).map_err(InvalidConfig::Toml)?;
        Self::of(file, Vec::new())
    }

    /// Reads and checks the text of a file. On a device with updates of the agent, ignores options that
    /// this version does not know.
    pub(crate) fn parse_for_any_version(text: &str) -> Result<Self, InvalidConfig> {
        match other_version::without_unknown(text) {
            Some(read) => {
                let (file, ignored) = read.map_err(InvalidConfig::Toml)?;
                Self::of(file, ignored)
            }
            None => Self::parse(text),
        }
    }

    /// Describes the options that this version ignores; `None` if there is none.
    pub(crate) fn ignored_options(&self) -> Option<String> {
        let version = env!("CARGO_PKG_VERSION");
        let names = self.ignored.join(", ");
        (!names.is_empty()).then(|| {
            format!("version {version} of the agent ignores options that it does not know: {names}")
        })
    }

    fn of(file: ConfigFile, ignored: Vec<String>) -> Result<Self, InvalidConfig> {
        file.check_old_options()?;
        let trust = file.trust.ok_or(InvalidConfig::NoTrust)?;
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
            site: file.site.filter(|site| !site.as_str().trim().is_empty()),
            limits: Limits {
                unpacked_bytes: file.max_unpacked_bytes,
                ..Limits::default()
            },
            ignored,
        })
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

impl StarterConfig {
    /// Reads the file of a service.
    ///
    /// # Errors
    /// Others than root and the agent's user can change the file, or it names no state folder.
    pub(crate) fn load_unchangeable(path: &Path) -> Result<Self, ConfigError> {
        expect_unchangeable(path)?;
        let text = Config::read_text(path)?;
        Self::parse(&text).map_err(|source| ConfigError::Invalid {
            path: path.to_owned(),
            source,
        })
    }

    fn parse(text: &str) -> Result<Self, InvalidConfig> {
        #[derive(Deserialize)]
        struct OnlyStateDir {
            state_dir: PathBuf,
        }
        let OnlyStateDir { state_dir } = toml::from_str(text).map_err(InvalidConfig::Toml)?;
        if !state_dir.is_absolute() {
            return Err(InvalidConfig::RelativeStateDir);
        }
        let contact = toml::from_str(text).ok();
        Ok(Self { state_dir, contact })
    }
}

impl ConfigFile {
    fn check_old_options(&self) -> Result<(), InvalidConfig> {
        const SIGNED: &str = "the signed state names every package, so remove the option";
        let trust = "remove it, and set trust to the trust line that `packcast keys show` prints";
        let groups = "add the device with `packcast group add`, and remove the option";
        let options = [
            (&self.trusted_keys, "trusted_keys", trust),
            (&self.groups, "groups", groups),
            (
                &self.dangerously_run_unsigned_packages,
                "dangerously_run_unsigned_packages",
                SIGNED,
            ),
            (
                &self.dangerously_trust_server_assignments,
                "dangerously_trust_server_assignments",
                SIGNED,
            ),
        ];
        match options.into_iter().find(|(value, ..)| value.is_some()) {
            Some((_, option, remedy)) => Err(InvalidConfig::OldOption { option, remedy }),
            None => Ok(()),
        }
    }
}

/// Checks that only root and the agent's user can change a configuration file.
///
/// # Errors
/// Other users can change the file, its folder, or a folder above. If the path is a link, the same
/// holds for its target.
pub(crate) fn expect_unchangeable(path: &Path) -> Result<(), ConfigError> {
    let unread = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let path = std::path::absolute(path).map_err(unread)?;
    let target = match path.canonicalize() {
        // Of a file that does not exist yet, only the folder matters.
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.clone(),
        target => target.map_err(unread)?,
    };
    for path in [&path, &target] {
        let folder = path.parent().unwrap_or(path);
        platform::expect_unchangeable(folder).map_err(|found| match found.error.kind() {
            io::ErrorKind::NotFound => unread(found.error),
            _ => ConfigError::FolderChangeable {
                path: path.clone(),
                folder: found.path,
                source: found.error,
            },
        })?;
    }
    match platform::others_can_change(&target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unread(error)),
        Ok(true) => Err(ConfigError::Changeable { path }),
        Ok(false) => Ok(()),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?
        // The path may lead to a device file that never ends.
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let reason = format!("expected at most {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(text_input::decode(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn text(lines: &str) -> String {
        format!("state_dir = \"/var/lib/packcast\"\n{lines}")
    }

    /// Returns the required options besides the state folder.
    fn required() -> String {
        format!("server = \"https://ocs.example:8443\"\n{}", trust())
    }

    fn trust() -> String {
        format!("trust = \"{}:{KEY}\"\n", "a".repeat(26))
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = Config::parse(&text(&required())).unwrap();
        assert_eq!(config.parallel_downloads.get(), 4);
        assert_eq!(config.limits, Limits::default());
        assert_eq!(
            config.server.url("/v1/check-in").as_str(),
            "https://ocs.example:8443/v1/check-in"
        );
        assert_eq!(format!("trust = \"{}\"\n", config.trust), trust());
    }

    #[test]
    fn a_starter_ignores_options_that_it_does_not_know() {
        let newer = text(&format!("{}new_option = 1\n[table]\nx = 2\n", required()));
        assert!(Config::parse(&newer).is_err());
        let config = StarterConfig::parse(&newer).unwrap();
        assert_eq!(config.state_dir, Path::new("/var/lib/packcast"));
        assert!(config.contact.is_some());
        // Even the options that it knows may have another form.
        let changed = StarterConfig::parse(&text("server = [1]\n")).unwrap();
        assert!(changed.contact.is_none());
        assert!(StarterConfig::parse("state_dir = \"relative\"").is_err());
        assert!(StarterConfig::parse(&required()).is_err());
    }

    #[test]
    fn a_site_is_a_short_printable_text() {
        let site = |value: &str| {
            let parsed = Config::parse(&text(&format!("{}site = \"{value}\"", required())));
            parsed.map(|config| config.site.map(String::from))
        };
        assert_eq!(site("Zürich, Süd").unwrap().as_deref(), Some("Zürich, Süd"));
        assert_eq!(site(" ").unwrap(), None);
        for value in ["s".repeat(49), "a\\u001bb".to_owned()] {
            assert!(site(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn errors_name_the_option_and_the_remedy() {
        let check = |lines: &str, expected: &str| {
            let refused = Config::parse(&text(lines)).unwrap_err();
            let error = packcast_protocol::with_causes(&refused);
            assert!(error.contains(expected), "{error}");
        };
        let server = "server = \"https://h\"\n";
        check(server, "packcast keys show");
        check(&format!("{server}trust = \"x\""), "is not a trust line");
        let longer = format!("{server}trust = \"{}:{KEY}\"", "a".repeat(27));
        check(&longer, "cannot read the trust line");
        let good = required();
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
            let lines = format!("server = \"{server}\"\n{}", trust());
            check(&lines, "https://host");
        }
    }

    #[test]
    fn options_of_older_agents_are_refused_with_a_remedy() {
        let options = [
            "trusted_keys = [\"RWQ\"]",
            "groups = [\"lab\"]",
            "dangerously_run_unsigned_packages = false",
            "dangerously_trust_server_assignments = true",
        ];
        let refused = options.map(|option| {
            let with_trust = Config::parse(&text(&format!("{}{option}", required())));
            let without = Config::parse(&text(&format!("server = \"https://h\"\n{option}")));
            let [message, same] =
                [with_trust, without].map(|refused| refused.unwrap_err().to_string());
            assert_eq!(message, same);
            message
        });
        insta::assert_snapshot!(refused.join("\n"), @r"
        trusted_keys is not an option any more: remove it, and set trust to the trust line that `packcast keys show` prints
        groups is not an option any more: add the device with `packcast group add`, and remove the option
        dangerously_run_unsigned_packages is not an option any more: the signed state names every package, so remove the option
        dangerously_trust_server_assignments is not an option any more: the signed state names every package, so remove the option
        ");
    }

    #[test]
    fn files_may_begin_with_a_byte_order_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        let marked = format!("\u{FEFF}{}", text(&required()));
        fs::write(&path, &marked).unwrap();
        Config::load(&path).unwrap();
        let wide: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(&path, wide).unwrap();
        let refused = packcast_protocol::with_causes(&Config::load(&path).unwrap_err());
        let refused = refused.replace(&path.display().to_string(), "agent.toml");
        insta::assert_snapshot!(refused, @"cannot read configuration agent.toml: the text is UTF-16: save it as UTF-8");
    }

    #[test]
    fn a_file_is_read_completely_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        let padded = |bytes: u64| {
            let mut config = text(&required());
            let comment = usize::try_from(bytes).unwrap() - config.len() - 1;
            config.push('#');
            config.push_str(&"x".repeat(comment));
            fs::write(&path, config).unwrap();
            Config::load(&path)
        };
        padded(MAX_FILE_BYTES).unwrap();
        let refused = packcast_protocol::with_causes(&padded(MAX_FILE_BYTES + 1).unwrap_err());
        let refused = refused.replace(&path.display().to_string(), "agent.toml");
        insta::assert_snapshot!(refused, @"cannot read configuration agent.toml: expected at most 1048576 bytes");
    }

    #[cfg(unix)]
    #[test]
    fn a_missing_folder_of_the_configuration_is_no_folder_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("agent.toml");
        let refused = Config::load_unchangeable(&path).unwrap_err();
        assert!(matches!(refused, ConfigError::Read { .. }), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn a_token_may_begin_with_a_byte_order_mark() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "\u{FEFF}0123456789abcdef\r\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mut config = Config::parse(&text(&required())).unwrap();
        config.enrolment_token_file = Some(path);
        let token = config.enrolment_token().unwrap().unwrap();
        assert_eq!(token.reveal(), "0123456789abcdef");
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "0123456789abcdef\n").unwrap();
        let mut config = Config::parse(&text(&required())).unwrap();
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
    fn a_configuration_that_others_can_change_is_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().canonicalize().unwrap();
        let folder = above.join("etc");
        fs::create_dir(&folder).unwrap();
        let (file, link) = (folder.join("agent.toml"), above.join("link.toml"));
        fs::write(&file, text(&required())).unwrap();
        symlink(&file, &link).unwrap();
        let check = |folder_bits, bits, expected: &str| {
            let set = |path, bits| fs::set_permissions(path, fs::Permissions::from_mode(bits));
            set(&folder, folder_bits).unwrap();
            set(&file, bits).unwrap();
            for path in [&file, &link] {
                let loaded = Config::load_unchangeable(path);
                let found =
                    loaded.map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
                assert!(
                    found.contains(expected),
                    "{folder_bits:o} {bits:o}: {found}"
                );
            }
        };
        check(0o755, 0o644, "accepted");
        check(0o700, 0o600, "accepted");
        check(
            0o755,
            0o664,
            "protect it with `chown AGENT FILE; chmod 600 FILE`",
        );
        check(0o755, 0o646, "protect it with");
        let folder_error = format!("other users can change folder {}", folder.display());
        check(0o775, 0o644, &folder_error);
        check(0o757, 0o600, &folder_error);
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
            ConfigError::Read {
                path: path(),
                source: io::ErrorKind::PermissionDenied.into(),
            },
            ConfigError::Invalid {
                path: path(),
                source: InvalidConfig::NoTrust,
            },
            ConfigError::Changeable { path: path() },
            ConfigError::FolderChangeable {
                path: path(),
                folder: "/etc".into(),
                source: missing(),
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
        cannot read configuration /etc/packcast/agent.toml: run the command as root
        invalid configuration /etc/packcast/agent.toml
        other users can change configuration /etc/packcast/agent.toml, or one of them owns it: protect it with `chown AGENT FILE; chmod 600 FILE`
        other users can change folder /etc of configuration /etc/packcast/agent.toml: make it a folder of root that only root can change
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
            InvalidConfig::OldOption {
                option: "groups",
                remedy: "add the device with `packcast group add`, and remove the option",
            },
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
        trust is not set: set it to the trust line that `packcast keys show` prints
        groups is not an option any more: add the device with `packcast group add`, and remove the option
        state_dir is a relative path: write an absolute one
        parallel_downloads is not between 1 and 16
        ");
    }
}
