//! `packcast completions`: prints scripts that complete the command line in a shell.

use clap_complete::Shell;
use packcast_publisher::Failure;

use crate::completion;
use crate::output;

/// Print the completion script for a shell
///
/// The script runs 'packcast' for candidates: commands, options, and the names of packages, groups,
/// devices, locations and targets. For names it reads at most 200 records of the table, the newest
/// packages and the devices with the first ids, and waits at most two seconds. Load the script at each
/// start of the shell, because another version of packcast can need another script.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo 'source <(packcast completions bash)' >> ~/.bashrc
  echo 'source <(packcast completions zsh)' >> ~/.zshrc
  echo 'packcast completions fish | source' \\
      > ~/.config/fish/completions/packcast.fish")]
pub(crate) struct Args {
    /// Shell that reads the script
    shell: Shell,
}

impl Args {
    /// Prints the completion script of a program called `name`.
    pub(crate) fn run(self, name: &str) -> Result<(), Failure> {
        let script = completion::registration(self.shell, name).map_err(Failure::failed)?;
        output::data(&script);
        Ok(())
    }
}
