//! `packcast-agent enrol`: configures the agent, and makes the first check-in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packcast_protocol::DeviceId;
use packcast_protocol::api::SiteLabel;
use packcast_protocol::state::TrustedRoots;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::check::run_checks;
use super::prepare::{self, PrepareError};
use super::{Format, check_in};
use crate::check::CheckResult;
use crate::config::edit::{EditError, GivenOptions, with_options};
use crate::config::{Config, ConfigError, DEFAULT_STATE_DIR, Server};
use crate::event::Observer;
use crate::output;
use crate::platform::{self, MachineIds};
use crate::run::{Agent, Connections, RunError};
use crate::service::client::{self, RoundError, ServiceError};
use crate::state::{StateDir, durable, identity};

/// Write the configuration, check it, and make the first check-in
///
/// Creates the configuration file and the folders, which other users cannot read or enter. An
/// existing file keeps its comments and other options; an option with another value is changed only
/// with --force. The first check-in enrols the device, and begins no package: the service does.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  packcast-agent enrol --server https://packcast.example.net \\
      --trust TRUST_LINE --token-file /etc/packcast/enrolment-token
  packcast-agent enrol --server https://new.example.net --trust TRUST_LINE --force

'packcast agent-config' prints the server and the trust line of a target, and 'packcast token'
creates an enrolment token.")]
pub struct Args {
    /// Address of the target, with 'https://'
    #[arg(long, value_name = "URL")]
    server: Server,
    /// Trust line of the target, as 'packcast keys show' prints it
    #[arg(long, value_name = "LINE")]
    trust: TrustedRoots,
    /// File with the enrolment token, which only the agent's user can read
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// CA certificates (PEM) to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Folder for identity, downloads, journal and results
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Label of the device's site, for lists
    #[arg(long, value_name = "TEXT", value_parser = site_label)]
    site: Option<SiteLabel>,
    /// Change options that have other values in an existing configuration
    #[arg(long)]
    force: bool,
}

/// Errors from enrolling the device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot find {}: pass an absolute path", path.display())]
    Given {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot change configuration {}", path.display())]
    Edit {
        path: PathBuf,
        #[source]
        source: EditError,
    },
    #[error("cannot write configuration {}: run the command as root", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Round(#[from] RoundError),
    #[error(
        "the agent service runs with state folder {}: stop it with `{}`, and run the command again",
        state_dir.display(),
        platform::STOP_SERVICE
    )]
    OtherStateDir { state_dir: PathBuf },
    #[error("the running service does not use configuration {}: {detail}", path.display())]
    Reload {
        path: PathBuf,
        detail: String,
        exit_code: u8,
    },
    #[error(
        "wrote configuration {}, but the checks found {}: correct the configuration or this machine, and run the command again",
        path.display(),
        counted(*problems)
    )]
    Checks { path: PathBuf, problems: usize },
    #[error(
        "did not write configuration {}, because the checks found {}: correct the options or this machine, and run the command again",
        path.display(),
        counted(*problems)
    )]
    NotWritten { path: PathBuf, problems: usize },
    #[error("configuration {} is a symbolic link: pass its target with --config", path.display())]
    Link { path: PathBuf },
}

fn site_label(text: &str) -> Result<SiteLabel, <SiteLabel as TryFrom<String>>::Error> {
    SiteLabel::try_from(text.to_owned())
}

/// Writes a number of problems.
fn counted(problems: usize) -> String {
    match problems {
        1 => "a problem".to_owned(),
        _ => format!("{problems} problems"),
    }
}

impl EnrolError {
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Prepare(_)
            | Self::Write { .. }
            | Self::Checks { .. }
            | Self::NotWritten { .. }
            | Self::OtherStateDir { .. } => 1,
            Self::Reload { exit_code, .. } => *exit_code,
            Self::Config(_) | Self::Edit { .. } | Self::Given { .. } | Self::Link { .. } => 2,
            Self::Run(error) => error.exit_code(),
            Self::Round(error) => error.exit_code(),
        }
    }
}

/// The result of the command, for JSON.
#[derive(Debug, Serialize)]
struct Enrolled {
    device: DeviceId,
    config: PathBuf,
    checks: Vec<CheckResult>,
    /// `true` if the running service has made the check-in.
    service: bool,
}

/// The configuration to write, and the text of the present one, which is empty if there is none.
#[derive(Debug)]
struct Planned {
    config: Config,
    before: String,
    text: String,
}

impl Args {
    pub(super) fn run(&self, path: &Path, format: Format) -> Result<(), EnrolError> {
        let is_text = format == Format::Text;
        let print = |line: &str| {
            if is_text {
                output::text(line);
            }
        };
        let planned = self.plan(path)?;
        let config = &planned.config;
        let checks = run_checks(path, Some(config), |line| print(&line))?;
        let problems = checks.iter().filter(|result| !result.is_ok()).count();
        // A working configuration must survive a wrong address.
        if planned.changes() && checks.iter().any(CheckResult::forbids_writing) {
            let path = path.to_owned();
            return Err(EnrolError::NotWritten { path, problems });
        }
        planned.write(path, print)?;
        if problems > 0 {
            let path = path.to_owned();
            return Err(EnrolError::Checks { path, problems });
        }
        let service = first_check_in(path, config, format)?;
        let device = device(config)?;
        print(&format!("enrolled as {device}\n{}", next_step(service)));
        if !is_text {
            output::json(&Enrolled {
                device,
                config: path.to_owned(),
                checks,
                service,
            });
        }
        Ok(())
    }

    /// Returns the configuration with the options, which is valid. Writes nothing but its folder.
    fn plan(&self, path: &Path) -> Result<Planned, EnrolError> {
        // The rights of a link's target are not those of the file that would replace the link.
        if path.is_symlink() {
            let path = path.to_owned();
            return Err(EnrolError::Link { path });
        }
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            prepare::config_folder(folder)?;
        }
        let absolute = |given: &Option<PathBuf>| -> Result<Option<PathBuf>, EnrolError> {
            let Some(given) = given else {
                return Ok(None);
            };
            let absolute = std::path::absolute(given).map_err(|source| EnrolError::Given {
                path: given.clone(),
                source,
            });
            absolute.map(Some)
        };
        let state_dir = absolute(&self.state_dir)?;
        let token_file = absolute(&self.token_file)?;
        let ca_file = absolute(&self.ca_file)?;
        let before = match fs::exists(path) {
            Ok(false) => String::new(),
            _ => Config::read_text(path)?,
        };
        let given = GivenOptions {
            server: &self.server,
            trust: &self.trust,
            state_dir: state_dir.as_deref(),
            token_file: token_file.as_deref(),
            ca_file: ca_file.as_deref(),
            site: self.site.as_ref(),
        };
        let text =
            with_options(&before, &given, DEFAULT_STATE_DIR, self.force).map_err(|source| {
                EnrolError::Edit {
                    path: path.to_owned(),
                    source,
                }
            })?;
        // Nothing is written before the whole configuration is known to be valid.
        let config =
            Config::parse_for_any_version(&text).map_err(|source| ConfigError::Invalid {
                path: path.to_owned(),
                source,
            })?;
        if self.token_file.is_some() {
            config.enrolment_token()?;
        }
        Connections::new(&config).map_err(RunError::Tls)?;
        expect_no_other_service(&before, &config)?;
        Ok(Planned {
            config,
            before,
            text,
        })
    }
}

impl Planned {
    fn changes(&self) -> bool {
        self.text != self.before
    }

    /// Writes the configuration, unless it already has the options.
    fn write(&self, path: &Path, print: impl Fn(&str)) -> Result<(), EnrolError> {
        if !self.changes() {
            print(&format!("configuration {} is unchanged\n", path.display()));
            return Ok(());
        }
        durable::replace(path, self.text.as_bytes()).map_err(|source| EnrolError::Write {
            path: path.to_owned(),
            source,
        })?;
        print(&format!("wrote configuration {}\n", path.display()));
        Ok(())
    }
}

/// Checks that no service runs with the state folder of the configuration so far, if the new one has
/// another folder: the device would get a second identity beside the running one.
fn expect_no_other_service(before: &str, config: &Config) -> Result<(), EnrolError> {
    // The configuration so far may be invalid, so only this option is read.
    let before: Option<toml::Table> = before.parse().ok();
    let state_dir = before.as_ref().and_then(|before| before.get("state_dir"));
    let state_dir = state_dir.and_then(toml::Value::as_str).map(PathBuf::from);
    match state_dir {
        // An error means that something listens, which this command cannot ask.
        Some(state_dir)
            if state_dir != config.state_dir
                && !matches!(client::activity(&state_dir), Ok(None)) =>
        {
            Err(EnrolError::OtherStateDir { state_dir })
        }
        _ => Ok(()),
    }
}

/// Checks in, by the service if it runs. Returns `true` in this case.
fn first_check_in(path: &Path, config: &Config, format: Format) -> Result<bool, EnrolError> {
    match client::reload(&config.state_dir) {
        Ok(()) => {
            client::check_in(&config.state_dir, |reply| {
                if format == Format::Text {
                    check_in::show(reply, format);
                }
            })?;
            return Ok(true);
        }
        Err(RoundError::Service(ServiceError::NotRunning { .. })) => {}
        Err(RoundError::Failed { detail, exit_code }) => {
            let path = path.to_owned();
            return Err(EnrolError::Reload {
                path,
                detail,
                exit_code,
            });
        }
        Err(error) => return Err(error.into()),
    }
    let observer: Observer = std::sync::Arc::new(move |event| {
        if format == Format::Text {
            output::text(&(packcast_protocol::terminal::line(&event.to_string()) + "\n"));
        }
    });
    let runtime = tokio::runtime::Runtime::new().map_err(RunError::Runtime)?;
    let config = config.clone();
    let enrolled = runtime.block_on(async {
        let agent = Agent::open(config, observer, CancellationToken::new())?;
        agent.check_in_only().await
    });
    runtime.shutdown_background();
    enrolled?;
    Ok(false)
}

fn device(config: &Config) -> Result<DeviceId, RunError> {
    let state = StateDir::open(&config.state_dir)?;
    let key = identity::load_or_create(&state, &MachineIds::here())?.key(&state)?;
    Ok(DeviceId::Agent(key.id()))
}

/// Returns the next step of a person, as a line.
fn next_step(service: bool) -> String {
    if service {
        "the service is running: `packcast-agent status` shows its work\n".to_owned()
    } else if let Some(command) = platform::enable_service() {
        format!("start the service with `{command}`\n")
    } else {
        "let the system start `packcast-agent run` as root\n".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_file_and_the_remedy() {
        let path = || PathBuf::from("/etc/packcast/agent.toml");
        let errors = [
            EnrolError::Given {
                path: "token".into(),
                source: io::ErrorKind::NotFound.into(),
            },
            EnrolError::Edit {
                path: path(),
                source: EditError::NotOneLine { option: "server" },
            },
            EnrolError::Write {
                path: path(),
                source: io::ErrorKind::PermissionDenied.into(),
            },
            EnrolError::Checks {
                path: path(),
                problems: 2,
            },
            EnrolError::NotWritten {
                path: path(),
                problems: 1,
            },
            EnrolError::Link { path: path() },
            EnrolError::Reload {
                path: path(),
                detail: "trust changed".to_owned(),
                exit_code: 1,
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        cannot find token: pass an absolute path
        cannot change configuration /etc/packcast/agent.toml
        cannot write configuration /etc/packcast/agent.toml: run the command as root
        wrote configuration /etc/packcast/agent.toml, but the checks found 2 problems: correct the configuration or this machine, and run the command again
        did not write configuration /etc/packcast/agent.toml, because the checks found a problem: correct the options or this machine, and run the command again
        configuration /etc/packcast/agent.toml is a symbolic link: pass its target with --config
        the running service does not use configuration /etc/packcast/agent.toml: trust changed
        ");
    }
}
