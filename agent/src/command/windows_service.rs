//! `packcast-agent service`: the agent as a Windows service.
//!
//! The Windows Installer package registers the service, and calls `configure`. The service control
//! manager calls `run`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use packcast_protocol::api::SiteLabel;
use packcast_protocol::state::TrustedRoots;
use packcast_protocol::with_causes;

use super::prepare::{self, PrepareError};
use super::{Format, observer};
use crate::config::edit::{EditError, GivenOptions, with_options};
use crate::config::{Config, ConfigError, DEFAULT_STATE_DIR, Server};
use crate::platform::{self, EventKind, NoServiceManager, SettingError};
use crate::run::RunError;
use crate::starter::{self, Invocation};
use crate::state::durable;
use crate::{log_file, output};

/// The name of the file with the enrolment token, beside the configuration.
const TOKEN_FILE: &str = "enrolment-token";

/// Run or configure the agent as a Windows service
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Run the service; only the service control manager can use this command
    Run,
    Configure(Box<Configure>),
}

/// Prepare the folders and the registered service, and start the service
///
/// The Windows Installer package runs this command. With --server and --trust, the command also writes
/// a configuration, unless there is one. Without a configuration, it does not start the service.
/// An empty value counts as an absent option.
#[derive(clap::Args, Debug)]
struct Configure {
    /// Address of the target, with 'https://'
    #[arg(long, value_name = "URL", default_value = "")]
    server: String,
    /// Trust line of the target, as 'packcast keys show' prints it
    #[arg(long, value_name = "LINE", default_value = "")]
    trust: String,
    /// File with the enrolment token, which is copied to a private file beside the configuration
    #[arg(long, value_name = "FILE", default_value = "")]
    token_file: String,
    /// CA certificates (PEM) to trust instead of the system's
    #[arg(long, value_name = "FILE", default_value = "")]
    ca_file: String,
    /// Label of the device's site, for lists
    #[arg(long, value_name = "TEXT", default_value = "")]
    site: String,
}

/// Errors from running or configuring the service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceCommandError {
    #[error(transparent)]
    Manager(#[from] NoServiceManager),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error("cannot make configuration folder {} private: remove files of other users from it", folder.display())]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write log file {}: run the command as administrator", path.display())]
    Log {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write a configuration from {option}: pass both --server and --trust")]
    Incomplete { option: &'static str },
    #[error("cannot read the value of {option}")]
    Invalid {
        option: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("cannot write configuration {}", path.display())]
    Edit {
        path: PathBuf,
        #[source]
        source: EditError,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot copy enrolment token {}: pass the absolute path of a file that the system account can read", path.display())]
    Token {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}: run the command as administrator", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl ServiceCommandError {
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Incomplete { .. }
            | Self::Invalid { .. }
            | Self::Edit { .. }
            | Self::Config(_)
            | Self::Prepare(PrepareError::Config(_)) => 2,
            Self::Manager(_)
            | Self::Prepare(_)
            | Self::Folder { .. }
            | Self::Log { .. }
            | Self::Token { .. }
            | Self::Write { .. } => 1,
        }
    }
}

impl Args {
    pub(super) fn run(&self, config: &Path) -> Result<(), ServiceCommandError> {
        match &self.command {
            Command::Run => {
                let config = config.to_owned();
                platform::run_service(move || serve(&config)).map_err(Into::into)
            }
            Command::Configure(options) => options.run(config),
        }
    }
}

/// Runs the agent until the service control manager stops it. Returns the exit code of the service.
fn serve(file: &Path) -> u8 {
    // The event log still gets the errors.
    let _ = output::start_service_log(log_file::path(file));
    let version = env!("CARGO_PKG_VERSION");
    let started = format!("packcast-agent {version} has started");
    tracing::info!("{started}");
    platform::write_event(EventKind::Started, &started);
    match run_agent(file) {
        Ok(code) => {
            tracing::info!("packcast-agent has stopped");
            platform::write_event(EventKind::Stopped, "packcast-agent has stopped");
            u8::from(code != ExitCode::SUCCESS)
        }
        Err(error) => {
            let code = error.exit_code();
            let error = with_causes(&error);
            tracing::error!(error, "packcast-agent has ended");
            code
        }
    }
}

fn run_agent(file: &Path) -> Result<ExitCode, RunError> {
    let invocation = Invocation {
        config_file: file.to_owned(),
        is_json: false,
        once: false,
    };
    platform::make_new_files_readable();
    let runtime = tokio::runtime::Runtime::new().map_err(RunError::Runtime)?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = starter::run(invocation, observer(Format::Text)) => ended,
            () = platform::stop_limit() => {
                tracing::warn!("stopped beside the package under way: its program goes on, and the next start of the agent looks for it");
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    runtime.shutdown_background();
    ended
}

impl Configure {
    fn run(&self, config: &Path) -> Result<(), ServiceCommandError> {
        let folder = config.parent().unwrap_or(Path::new(""));
        private_folder(folder)?;
        let log = log_file::path(config);
        output::start_service_log(log.clone())
            .map_err(|source| ServiceCommandError::Log { path: log, source })?;
        let configured = self.configure(config, folder);
        // The installer shows no output of this command.
        if let Err(error) = &configured {
            let error = with_causes(error);
            tracing::error!(error, "cannot configure the service");
        }
        configured
    }

    fn configure(&self, config: &Path, folder: &Path) -> Result<(), ServiceCommandError> {
        let is_configured = config.exists();
        self.write_configuration(config, folder)?;
        match prepare::run(config) {
            // The configuration may be for a later version, and must not keep an upgrade from its end.
            // The service ends with the same error, until somebody corrects the file.
            Err(error) if is_configured => {
                let error = with_causes(&error);
                tracing::error!(error, "cannot prepare the folders of the service");
            }
            prepared => prepared?,
        }
        // A service without one of these settings still works, so the installation does not fail.
        for SettingError { setting, source } in platform::configure_service(config.exists()) {
            let error = with_causes(&*source);
            tracing::warn!(error, setting, "cannot configure the service completely");
        }
        Ok(())
    }

    /// Writes the configuration, unless there is one already.
    fn write_configuration(&self, path: &Path, folder: &Path) -> Result<(), ServiceCommandError> {
        let Some((server, trust)) = self.target()? else {
            return Ok(());
        };
        if path.exists() {
            tracing::info!(
                "configuration {} stays as it is: change it with `packcast-agent enrol --force`",
                path.display()
            );
            return Ok(());
        }
        let site = Some(self.site.trim()).filter(|site| !site.is_empty());
        let site = site
            .map(|site| SiteLabel::try_from(site.to_owned()))
            .transpose();
        let site = site.map_err(|source| ServiceCommandError::Invalid {
            option: "--site",
            source: Box::new(source),
        })?;
        let token = self.copy_token(folder)?;
        let options = GivenOptions {
            server: &server,
            trust: &trust,
            state_dir: None,
            token_file: token.as_deref(),
            ca_file: present(&self.ca_file),
            site: site.as_ref(),
        };
        let text = with_options("", &options, DEFAULT_STATE_DIR, false).map_err(|source| {
            let path = path.to_owned();
            ServiceCommandError::Edit { path, source }
        })?;
        let config = Config::parse(&text).map_err(|source| ConfigError::Invalid {
            path: path.to_owned(),
            source,
        })?;
        config.enrolment_token()?;
        write(path, text.as_bytes())?;
        tracing::info!("wrote configuration {}", path.display());
        Ok(())
    }

    /// Returns server and trust line; `None` if neither is given.
    fn target(&self) -> Result<Option<(Server, TrustedRoots)>, ServiceCommandError> {
        let (server, trust) = (
            given(&self.server, "--server")?,
            given(&self.trust, "--trust")?,
        );
        let others = [
            (server.is_some(), "--server"),
            (trust.is_some(), "--trust"),
            (present(&self.token_file).is_some(), "--token-file"),
            (present(&self.ca_file).is_some(), "--ca-file"),
            (!self.site.is_empty(), "--site"),
        ];
        let found = others.into_iter().find(|(is_given, _)| *is_given);
        match (server, trust, found) {
            (Some(server), Some(trust), _) => Ok(Some((server, trust))),
            (_, _, Some((_, option))) => Err(ServiceCommandError::Incomplete { option }),
            (_, _, None) => Ok(None),
        }
    }

    /// Copies the enrolment token into a file that the agent keeps, because the given file may be on
    /// a network share, or may be removed after the installation.
    fn copy_token(&self, folder: &Path) -> Result<Option<PathBuf>, ServiceCommandError> {
        let Some(path) = present(&self.token_file) else {
            return Ok(None);
        };
        let unread = |source| ServiceCommandError::Token {
            path: path.to_owned(),
            source,
        };
        if !path.is_absolute() {
            return Err(unread(io::ErrorKind::InvalidFilename.into()));
        }
        let token = Config::read_text(path).map_err(|error| match error {
            ConfigError::Read { source, .. } => unread(source),
            error => error.into(),
        })?;
        let copy = folder.join(TOKEN_FILE);
        write(&copy, token.as_bytes())?;
        platform::make_file_private(&copy).map_err(|source| ServiceCommandError::Write {
            path: copy.clone(),
            source,
        })?;
        Ok(Some(copy))
    }
}

/// Creates the folder of the configuration, or makes an existing one private.
///
/// Any user can create folders in `C:\ProgramData`, and so prepare this folder.
fn private_folder(folder: &Path) -> Result<(), ServiceCommandError> {
    let failed = |source| ServiceCommandError::Folder {
        folder: folder.to_owned(),
        source,
    };
    platform::private_folder(folder).map_err(failed)?;
    if fs::symlink_metadata(folder).map_err(failed)?.is_symlink() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    platform::make_private(folder).map_err(failed)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ServiceCommandError> {
    durable::replace(path, bytes).map_err(|source| ServiceCommandError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Reads the value of an option; `None` if it is empty.
fn given<T: std::str::FromStr>(
    text: &str,
    option: &'static str,
) -> Result<Option<T>, ServiceCommandError>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|source: T::Err| ServiceCommandError::Invalid {
            option,
            source: Box::new(source),
        })
}

/// Returns the path of an option; `None` if it is empty. (Options of type path refuse empty values.)
fn present(path: &str) -> Option<&Path> {
    (!path.is_empty()).then(|| Path::new(path))
}
