//! The command line of the agent.

mod completions;
mod man;
mod prepare;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use packcast_protocol::{DeviceId, terminal, with_causes};

use self::prepare::PrepareError;
use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::event::{Event, Observer};
use crate::platform::MachineIds;
use crate::run::{Agent, RunError};
use crate::state::StateDir;
use crate::status::Status;
use crate::{output, platform, retry, signals, state::identity};

/// Deploys the packages that a Packcast target assigns to this device
///
/// Exit codes: 0 done (a failed package is reported, and counts as done), 1 failed, 2 wrong usage
/// or configuration, 75 the server is unreachable, try again later.
#[derive(Debug, Parser)]
#[command(name = "packcast-agent", version)]
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
    Run {
        /// Check in once, deploy the announced packages, and exit
        #[arg(long)]
        once: bool,
    },
    /// Show the signed state, the packages under way or waiting, and the finished ones
    Status,
    /// Show this device's id, and create it at first use
    Id,
    Prepare(prepare::Args),
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
            Self::Prepare(PrepareError::Config(_)) => 2,
            Self::Prepare(_) | Self::Man { .. } => 1,
        }
    }
}

/// Runs the command line to its end.
///
/// Creates its own async runtime, so it must not be called from inside one.
pub fn run(cli: &Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::problem(&with_causes(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

impl RunError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NotEnrolled | Self::OtherMachine { .. } => 2,
            Self::Client(error) if error.is_temporary() => 75,
            _ => 1,
        }
    }
}

fn dispatch(cli: &Cli) -> Result<(), CommandError> {
    let Global { config, format } = &cli.global;
    match &cli.command {
        Command::Run { once } => {
            let config = Config::load(config)?;
            output::start_log();
            platform::make_new_files_readable();
            let runtime = tokio::runtime::Runtime::new().map_err(RunError::Runtime)?;
            let ended = runtime.block_on(run_agent(config, observer(*format), *once));
            runtime.shutdown_background();
            ended?;
        }
        Command::Status => status(&Config::load(config)?, *format)?,
        Command::Id => id(&Config::load(config)?, *format)?,
        Command::Prepare(args) => args.run(config)?,
        Command::Completions(args) => args.run(Cli::command()),
        Command::Man(args) => args.run(Cli::command())?,
    }
    Ok(())
}

async fn run_agent(config: Config, observer: Observer, once: bool) -> Result<(), RunError> {
    let stop = signals::token();
    let agent = Agent::open(config, observer, stop)?;
    if once {
        return agent.round().await.map(drop);
    }
    while !agent.stop().is_cancelled() {
        // The loop never ends on an error, so that a server or a full disk cannot silence the
        // device for good.
        let next = agent.round().await.unwrap_or_else(|error| {
            tracing::error!(error = with_causes(&error), "cannot complete the check-in");
            error.pause_s()
        });
        let pause = retry::spread(next, retry::random());
        let sleep = tokio::time::sleep(pause);
        agent.stop().run_until_cancelled(sleep).await;
    }
    Ok(())
}

fn observer(format: Format) -> Observer {
    Arc::new(move |event: Event| match format {
        Format::Json => output::json(&event),
        Format::Text => tracing::info!("{}", terminal::line(&event.to_string())),
    })
}

fn status(config: &Config, format: Format) -> Result<(), RunError> {
    let status = Status::read(&StateDir::open(&config.state_dir)?, config)?;
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
