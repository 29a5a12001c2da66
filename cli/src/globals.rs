//! The options that every command has, and the target that they name.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use packcast_publisher::target::LOCAL;
use packcast_publisher::warning::Warnings;
use packcast_publisher::{Failure, Target};

use crate::output::Format;
use crate::secrets::FromPerson;
use crate::{local_target, places};

/// The options that every command has.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Work on the target of this name
    ///
    /// 'local' is the system that 'packcast local' runs; others are sections of packcast.toml.
    #[arg(long, global = true, env = "PACKCAST_TARGET", default_value = LOCAL, value_name = "NAME")]
    pub(crate) target: String,
    /// Read targets from this file
    ///
    /// The default is packcast.toml in the configuration folder of this user.
    #[arg(long, global = true, env = "PACKCAST_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print results in this form
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) format: Format,
    /// The warnings of the target that the command has opened.
    #[arg(skip)]
    warnings: OnceLock<Warnings>,
}

impl Globals {
    /// Opens the target that the command works on.
    pub(crate) async fn open(&self) -> Result<Target, Failure> {
        let (config, places) = (self.config.as_deref(), places::find()?);
        let secrets = Arc::new(FromPerson);
        let target = if self.target == LOCAL {
            local_target::open(&places.local(), secrets).await?
        } else {
            Target::open(&self.target, config, &places, secrets).await?
        };
        // A command opens one target.
        let _ = self.warnings.set(target.warnings.clone());
        Ok(target)
    }

    /// Returns the warnings of the opened target; `None` if the command opened none.
    pub(crate) fn warnings(&self) -> Option<&Warnings> {
        self.warnings.get()
    }
}
