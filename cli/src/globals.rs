//! The options of every command, and the target that they name.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use packcast_publisher::shell::Shell;
use packcast_publisher::target::LOCAL;
use packcast_publisher::warning::Warnings;
use packcast_publisher::{Failure, Places, Target};

use crate::invocation::Invocation;
use crate::output::Format;
use crate::secrets::FromPerson;
use crate::{author, local_target, places};

/// The options of every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Use this target
    ///
    /// 'local' is the system of 'packcast local'. The other targets are sections of packcast.toml.
    #[arg(long, global = true, env = "PACKCAST_TARGET", default_value = LOCAL, value_name = "NAME")]
    pub(crate) target: String,
    /// Read targets from this file
    ///
    /// The default is packcast.toml in your configuration folder.
    #[arg(long, global = true, env = "PACKCAST_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print results in this format
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// The command of the run.
    #[arg(skip)]
    pub(crate) invocation: Invocation,
    /// The warnings of the opened target.
    #[arg(skip)]
    warnings: OnceLock<Warnings>,
}

impl Globals {
    /// Opens the target that the command works on.
    pub(crate) async fn open(&self) -> Result<Target, Failure> {
        let (config, places) = (self.config.as_deref(), places::find()?);
        let secrets = Arc::new(self.secrets(&places)?);
        let mut target = if self.target == LOCAL {
            local_target::open(&places.local(), secrets).await?
        } else {
            Target::open(&self.target, config, &places, secrets).await?
        };
        target.author = author::find();
        // A command opens one target.
        let _ = self.warnings.set(target.warnings.clone());
        Ok(target)
    }

    /// Returns the secrets of the target. Its configuration can name a file with the passphrase.
    pub(crate) fn secrets(&self, places: &Places) -> Result<FromPerson, Failure> {
        let config = self.config.as_deref();
        Ok(FromPerson {
            passphrase_file: Target::passphrase_file(&self.target, config, places)?,
            asks_nobody: false,
        })
    }

    /// Creates the options of a command line that was not parsed.
    pub(crate) fn new(target: &str, config: Option<&str>, format: Format) -> Self {
        Self {
            target: target.to_owned(),
            config: config.map(PathBuf::from),
            format,
            invocation: Invocation::default(),
            warnings: OnceLock::new(),
        }
    }

    /// Returns the warnings of the opened target; `None` if the command opened none.
    pub(crate) fn warnings(&self) -> Option<&Warnings> {
        self.warnings.get()
    }

    /// Returns the options that name the target in a command line; empty for the default target.
    pub(crate) fn target_options(&self) -> String {
        let (mut options, shell) = (Vec::new(), Shell::of_system());
        if self.target != LOCAL {
            options.push(format!("--target {}", shell.quoted(&self.target)));
        }
        if let Some(config) = &self.config {
            let config = config.display().to_string();
            options.push(format!("--config {}", shell.quoted(&config)));
        }
        options.join(" ")
    }

    /// Returns the length of a list: all rows for scripts, some for people.
    pub(crate) fn limit(&self, given: Option<usize>, for_people: usize) -> usize {
        match self.format {
            Format::Text => given.unwrap_or(for_people),
            Format::Json | Format::Csv => given.unwrap_or(usize::MAX),
        }
    }

    /// Returns a command line of this program that works on the same target, for notes and hints.
    pub(crate) fn command(&self, rest: &str) -> String {
        let options = self.target_options();
        format!("packcast {rest} {options}").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_command_in_a_hint_names_the_target_unless_it_is_the_local_one() {
        let command = |target, config| Globals::new(target, config, Format::Text).command("list");
        assert_snapshot!(command(LOCAL, None), @"packcast list");
        assert_snapshot!(command("production", None), @"packcast list --target production");
        assert_snapshot!(command("production", Some("x.toml")), @"packcast list --target production --config x.toml");
        #[cfg(unix)]
        assert_snapshot!(command("production", Some("/srv/a;$(b)")), @"packcast list --target production --config '/srv/a;$(b)'");
    }
}
