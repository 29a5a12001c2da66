//! The agent's configuration: one TOML file.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use packcast_protocol::api::Secret;
use packcast_protocol::signature::PublicKey;
use reqwest::Url;
use serde::Deserialize;

use crate::archive::Limits;
use crate::platform;
use crate::tls::Route;

/// Where the file is when nobody says.
pub const DEFAULT_PATH: &str = platform::DEFAULT_CONFIG;

/// The largest configuration or token file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the agent was told by its administrator.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub state_dir: PathBuf,
    pub enrolment_token_file: Option<PathBuf>,
    /// The keys whose manifests are acted on, at least one.
    pub trusted_keys: Vec<PublicKey>,
    /// A PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How many fragments are fetched at a time: 1 to 16.
    pub parallel_downloads: NonZeroUsize,
    pub limits: Limits,
}

/// The check-in function's address: `https://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(Url);

impl Server {
    /// Returns how requests reach the server, and the locations beside it.
    pub(crate) fn route(&self) -> Route {
        let address = self.0.host_str().map(|host| host.trim_matches(['[', ']']));
        let loopback = address.is_some_and(|host| {
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        });
        if loopback {
            Route::Loopback
        } else {
            Route::Proxies
        }
    }

    /// Returns the address of one of the API's paths.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }
}

impl TryFrom<String> for Server {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |url: &Url| {
            url.scheme() == "https"
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        Url::parse(&text)
            .ok()
            .filter(plain)
            .map(Self)
            .ok_or_else(|| {
                format!(
                    "{text:?} is not a server's address: write https://host or https://host:port"
                )
            })
    }
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("configuration {} cannot be read: make it, or name another with --config", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("configuration {} is not usable: {}", path.display(), reason.trim_end())]
    Invalid { path: PathBuf, reason: String },
    #[error("enrolment token {} cannot be read: put the target's token there, or correct enrolment_token_file in the configuration", path.display())]
    TokenRead {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("enrolment token {} can be read by other users: chmod 600 it", path.display())]
    TokenOpen { path: PathBuf },
    #[error("enrolment token {} does not hold a token: 16 to 128 letters, digits, '-' and '_'", path.display())]
    TokenText { path: PathBuf },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    server: Text<Server>,
    state_dir: PathBuf,
    enrolment_token_file: Option<PathBuf>,
    trusted_keys: Vec<PublicKey>,
    ca_file: Option<PathBuf>,
    #[serde(default = "default_parallel_downloads")]
    parallel_downloads: usize,
    #[serde(default = "default_unpacked_bytes")]
    max_unpacked_bytes: u64,
}

/// Text that its type has checked.
#[derive(Deserialize)]
#[serde(try_from = "String", bound = "T: TryFrom<String, Error = String>")]
struct Text<T>(T);

impl<T: TryFrom<String, Error = String>> TryFrom<String> for Text<T> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        T::try_from(text).map(Self)
    }
}

const fn default_parallel_downloads() -> usize {
    4
}

fn default_unpacked_bytes() -> u64 {
    Limits::default().unpacked_bytes
}

impl Config {
    /// Reads and checks the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_bounded(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| ConfigError::Invalid {
            path: path.to_owned(),
            reason,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: Raw = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.trusted_keys.is_empty() {
            return Err(
                "trusted_keys is empty: add the public key that `packcast keys show` prints"
                    .to_owned(),
            );
        }
        if !file.state_dir.is_absolute() {
            return Err("state_dir is not an absolute path".to_owned());
        }
        let parallel_downloads = NonZeroUsize::new(file.parallel_downloads)
            .filter(|count| count.get() <= 16)
            .ok_or("parallel_downloads is not between 1 and 16")?;
        Ok(Self {
            server: file.server.0,
            state_dir: file.state_dir,
            enrolment_token_file: file.enrolment_token_file,
            trusted_keys: file.trusted_keys,
            ca_file: file.ca_file,
            parallel_downloads,
            limits: Limits {
                unpacked_bytes: file.max_unpacked_bytes,
                ..Limits::default()
            },
        })
    }

    /// Reads the enrolment token, if the configuration names a file for it.
    pub(crate) fn enrolment_token(&self) -> Result<Option<Secret>, ConfigError> {
        let Some(path) = &self.enrolment_token_file else {
            return Ok(None);
        };
        let unread = |source| ConfigError::TokenRead {
            path: path.clone(),
            source,
        };
        if platform::others_can_read(&fs::metadata(path).map_err(unread)?) {
            return Err(ConfigError::TokenOpen { path: path.clone() });
        }
        let text = read_bounded(path).map_err(unread)?;
        text.trim()
            .parse()
            .map(Some)
            .map_err(|_| ConfigError::TokenText { path: path.clone() })
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?
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
    fn no_proxy_leads_back_to_this_machine() {
        let route = |text: &str| Server::try_from(text.to_owned()).unwrap().route();
        for here in [
            "https://127.0.0.1:8443",
            "https://localhost",
            "https://[::1]:1",
        ] {
            assert_eq!(route(here), Route::Loopback, "{here}");
        }
        for there in [
            "https://ocs.example",
            "https://192.0.2.1",
            "https://127.example",
        ] {
            assert_eq!(route(there), Route::Proxies, "{there}");
        }
    }

    #[test]
    fn errors_name_the_key_and_what_to_do() {
        let check = |lines: &str, expected: &str| {
            let error = Config::parse(&text(lines)).unwrap_err();
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
        check(&format!("{good}typo = 1"), "typo");
        check(
            &format!("{good}parallel_downloads = 17"),
            "between 1 and 16",
        );
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
}
