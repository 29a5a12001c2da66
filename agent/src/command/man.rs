//! `packcast-agent man`: writes the manual, from the texts of the help.

use std::path::PathBuf;

use super::CommandError;

/// Write the manual pages
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  packcast-agent man /usr/share/man/man1")]
pub struct Args {
    /// Write a page for each command into this folder, which is created if missing
    folder: PathBuf,
}

impl Args {
    /// Writes the pages of a program.
    pub(super) fn run(&self, program: clap::Command) -> Result<(), CommandError> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(program, &self.folder))
            .map_err(|source| CommandError::Man {
                folder: self.folder.clone(),
                source,
            })
    }
}
