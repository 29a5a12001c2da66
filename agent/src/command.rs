//! The command line of the agent.

mod check;
mod check_in;
mod completions;
mod enrol;
mod logs;
mod man;
mod prepare;
pub mod version_role;
#[cfg(windows)]
mod windows_service;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use packcast_protocol::{DeviceId, terminal, with_causes};

use self::enrol::EnrolError;
use self::prepare::PrepareError;
use self::version_role::VersionRole;
use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::event::{Event, Observer};
#[cfg(windows)]
use crate::log_file;
use crate::platform::MachineIds;
use crate::run::RunError;
use crate::service::client::{self, RoundError};
use crate::starter::Invocation;
use crate::state::StateDir;
use crate::status::Status;
use crate::{output, platform, starter, state::identity};

const EXAMPLES: &str = "\
Examples:
  packcast-agent enrol --server https://packcast.example.net \\
      --trust TRUST_LINE --token-file /etc/packcast/enrolment-token
  systemctl enable --now packcast-agent
  packcast-agent status
  packcast-agent check-in
  packcast-agent check
  packcast-agent logs --follow";

/// Deploys the packages that a Packcast target assigns to this device
///
/// Exit codes: 0 done (a failed package is reported, and counts as done), 1 failed, 2 wrong usage
/// or configuration, 75 the server is unreachable, try again later.
#[derive(Debug, Parser)]
#[command(name = "packcast-agent", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Arguments of every command.
#[derive(Args, Debug)]
pub struct Global {
    /// Read the configuration from this file
    #[arg(long, global = true, env = "PACKCAST_AGENT_CONFIG", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// Write data in this form
    #[arg(
        long,
        global = true,
        value_enum,
        ignore_case = true,
        default_value = "text"
    )]
    pub format: Format,
}

/// The format of data output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people; `run` writes them to standard error.
    Text,
    /// JSON; `run` writes one event per line.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check in and deploy, again and again
    ///
    /// SIGTERM and Ctrl-C stop the agent after the package under way. Under systemd with 'Type=notify'
    /// the agent reports its readiness, its work and signs of life, and SIGHUP lets it read the
    /// configuration again. Without systemd, SIGHUP stops the agent, too.
    #[command(after_help = "\
Examples:
  packcast-agent run
  packcast-agent run --once --format json")]
    Run {
        /// Check in once, deploy the announced packages, and exit
        #[arg(long)]
        once: bool,
        /// Run as a version that the installed program has chosen
        #[arg(long = "as", value_enum, hide = true)]
        role: Option<VersionRole>,
        /// The process id of that program
        #[arg(long, hide = true)]
        starter: Option<u32>,
    },
    Enrol(Box<enrol::Args>),
    Check(check::Args),
    /// Show installed packages, packages under way or waiting, and the check-ins of the service
    #[command(after_help = "\
Examples:
  packcast-agent status
  packcast-agent status --format json | jq .service")]
    Status,
    CheckIn(check_in::Args),
    Logs(logs::Args),
    /// Show this device's id, and create it at first use
    Id,
    Prepare(prepare::Args),
    #[cfg(windows)]
    #[command(hide = true)]
    Service(windows_service::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Errors that end a command.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error(transparent)]
    Round(#[from] RoundError),
    #[cfg(windows)]
    #[error(transparent)]
    WindowsService(#[from] windows_service::ServiceCommandError),
    #[cfg(windows)]
    #[error("cannot read the log file of the service: run the command as administrator")]
    LogFile(#[source] io::Error),
    #[cfg(unix)]
    #[error(
        "cannot run journalctl: install it, or look for the log of `packcast-agent run` where the service manager writes it"
    )]
    Logs(#[source] io::Error),
    #[error("cannot write the manual into {}: make the folder writable for your user", folder.display())]
    Man {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::Run(error.into())
    }
}

impl CommandError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Enrol(error) => error.exit_code(),
            Self::Round(error) => error.exit_code(),
            Self::Prepare(PrepareError::Config(_)) => 2,
            #[cfg(unix)]
            Self::Logs(_) => 1,
            #[cfg(windows)]
            Self::LogFile(_) => 1,
            #[cfg(windows)]
            Self::WindowsService(error) => error.exit_code(),
            Self::Prepare(_) | Self::Man { .. } => 1,
        }
    }
}

/// Runs the command line to its end.
///
/// Creates its own async runtime, so it must not be called from inside one.
pub fn run(cli: &Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            output::problem(&with_causes(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(cli: &Cli) -> Result<ExitCode, CommandError> {
    let Global { config, format } = &cli.global;
    match &cli.command {
        Command::Run {
            once,
            role,
            starter,
        } => {
            let invocation = Invocation {
                config_file: config.clone(),
                is_json: *format == Format::Json,
                once: *once,
            };
            // Errors of the configuration come before the log.
            starter::check_config(config, *role)?;
            start_log(config, *role);
            platform::make_new_files_readable();
            let runtime = tokio::runtime::Runtime::new().map_err(RunError::Runtime)?;
            let observer = observer(*format);
            let ended = match role {
                None => runtime.block_on(starter::run(invocation, observer)),
                Some(role) => runtime
                    .block_on(starter::run_as(*role, *starter, invocation, observer))
                    .map(|()| ExitCode::SUCCESS),
            };
            runtime.shutdown_background();
            return Ok(ended?);
        }
        Command::Status => status(&load(config)?, *format)?,
        Command::Id => id(&load(config)?, *format)?,
        Command::CheckIn(check_in::Args {}) => {
            check_in::run(&load(config)?.state_dir, *format)?;
        }
        Command::Check(check::Args {}) => {
            adopt_proxies(config);
            return Ok(check::run(config, *format)?);
        }
        Command::Enrol(args) => {
            adopt_proxies(config);
            args.run(config, *format)?;
        }
        #[cfg(unix)]
        Command::Logs(args) => return args.run().map_err(CommandError::Logs),
        #[cfg(windows)]
        Command::Logs(args) => args.run(config).map_err(CommandError::LogFile)?,
        #[cfg(windows)]
        Command::Service(args) => args.run(config)?,
        Command::Prepare(prepare::Args {}) => prepare::run(config)?,
        Command::Completions(args) => args.run(Cli::command()),
        Command::Man(args) => args.run(Cli::command())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Uses the proxies of the service for a command, unless the environment names a proxy.
#[cfg(unix)]
fn adopt_proxies(config: &Path) {
    if let Err(error) = crate::service_environment::adopt(config) {
        output::warning(&format!("cannot use the proxies of the service: {error}"));
    }
}

/// Does nothing: a service of Windows has the environment of the system, as commands have.
#[cfg(windows)]
const fn adopt_proxies(_config: &Path) {}

/// Reads the configuration for a command.
fn load(file: &Path) -> Result<Config, ConfigError> {
    let config = Config::load(file)?;
    if let Some(ignored) = config.ignored_options() {
        output::warning(&ignored);
    }
    Ok(config)
}

#[cfg(unix)]
fn start_log(_config: &Path, _role: Option<VersionRole>) {
    output::start_log();
}

/// Starts the log of `run`. A version under a starter has the file of the service: a service has no
/// standard error.
#[cfg(windows)]
fn start_log(config: &Path, role: Option<VersionRole>) {
    if role.is_none() || output::start_service_log(log_file::path(config)).is_err() {
        output::start_log();
    }
}

fn observer(format: Format) -> Observer {
    Arc::new(move |event: Event| match format {
        Format::Json => output::json(&event),
        Format::Text => tracing::info!("{}", terminal::line(&event.to_string())),
    })
}

fn status(config: &Config, format: Format) -> Result<(), RunError> {
    let state = StateDir::open(&config.state_dir)?;
    let service = client::activity(&config.state_dir).unwrap_or_else(|error| {
        output::problem(&with_causes(&error));
        None
    });
    let status = Status::read(&state, config, service)?;
    match format {
        Format::Json => output::json(&status),
        Format::Text => output::text(&status.to_text()),
    }
    Ok(())
}

fn id(config: &Config, format: Format) -> Result<(), RunError> {
    let state = StateDir::open(&config.state_dir)?;
    let key = identity::load_or_create(&state, &MachineIds::here())?.key(&state)?;
    let device = DeviceId::Agent(key.id());
    match format {
        Format::Json => output::json(&serde_json::json!({ "device": device })),
        Format::Text => output::text(&format!("{device}\n")),
    }
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_commands_name_the_remedy() {
        let errors = [
            CommandError::Logs(io::ErrorKind::NotFound.into()),
            CommandError::Man {
                folder: "/usr/share/man/man1".into(),
                source: io::ErrorKind::PermissionDenied.into(),
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        cannot run journalctl: install it, or look for the log of `packcast-agent run` where the service manager writes it
        cannot write the manual into /usr/share/man/man1: make the folder writable for your user
        ");
    }
}
