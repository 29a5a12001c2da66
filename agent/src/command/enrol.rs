//! `packcast-agent enrol`: configures the agent, and makes the first check-in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packcast_protocol::DeviceId;
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
    /// Address of the target: https://host or https://host:port
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
        "wrote configuration {}, but the checks found problems ({problems}): correct them, and run the command again",
        path.display()
    )]
    Checks { path: PathBuf, problems: usize },
}

impl EnrolError {
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Prepare(_) | Self::Write { .. } | Self::Checks { .. } => 1,
            Self::Config(_) | Self::Edit { .. } => 2,
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

impl Args {
    pub(super) fn run(&self, path: &Path, format: Format) -> Result<(), EnrolError> {
        let is_text = format == Format::Text;
        let print = |line: &str| {
            if is_text {
                output::text(line);
            }
        };
        let config = self.write(path, &print)?;
        let checks = run_checks(path, |line| print(&line))?;
        let problems = checks.iter().filter(|result| !result.is_ok()).count();
        if problems > 0 {
            let path = path.to_owned();
            return Err(EnrolError::Checks { path, problems });
        }
        let service = first_check_in(&config, format)?;
        let device = device(&config)?;
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

    /// Writes the configuration, unless it already has the options.
    fn write(&self, path: &Path, print: impl Fn(&str)) -> Result<Config, EnrolError> {
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            prepare::config_folder(folder)?;
        }
        let absolute = |given: &Option<PathBuf>| {
            let path = given.as_deref().map(std::path::absolute).transpose();
            path.map_err(|source| EnrolError::Write {
                path: path_of(given),
                source,
            })
        };
        let [state_dir, token_file, ca_file] =
            [&self.state_dir, &self.token_file, &self.ca_file].map(absolute);
        let (state_dir, token_file, ca_file) = (state_dir?, token_file?, ca_file?);
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
        };
        let text =
            with_options(&before, &given, DEFAULT_STATE_DIR, self.force).map_err(|source| {
                EnrolError::Edit {
                    path: path.to_owned(),
                    source,
                }
            })?;
        // Nothing is written before the whole configuration is known to be valid.
        let config = Config::parse(&text).map_err(|source| ConfigError::Invalid {
            path: path.to_owned(),
            source,
        })?;
        if self.token_file.is_some() {
            config.enrolment_token()?;
        }
        Connections::new(&config).map_err(RunError::Tls)?;
        if text == before {
            print(&format!(
                "configuration {} stays as it is\n",
                path.display()
            ));
            return Ok(config);
        }
        durable::replace(path, text.as_bytes()).map_err(|source| EnrolError::Write {
            path: path.to_owned(),
            source,
        })?;
        print(&format!("wrote configuration {}\n", path.display()));
        Ok(config)
    }
}

fn path_of(path: &Option<PathBuf>) -> PathBuf {
    path.clone().unwrap_or_default()
}

/// Checks in, by the service if it runs. Returns `true` in this case.
fn first_check_in(config: &Config, format: Format) -> Result<bool, EnrolError> {
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
    } else if platform::has_systemd() {
        format!(
            "start the service with `systemctl enable --now {}`\n",
            platform::UNIT
        )
    } else {
        "let the system start `packcast-agent run` as root\n".to_owned()
    }
}
