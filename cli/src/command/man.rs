//! `packcast man`: prints or writes the manual, from the texts of the help.

use std::path::PathBuf;

use clap_mangen::{Man, generate_to};
use packcast_publisher::Failure;

use crate::output;

/// Print or write the manual pages
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast man | man -l -
  packcast man ~/.local/share/man/man1 && man packcast-publish")]
pub(crate) struct Args {
    /// Write a page for each command into this folder, which is created if missing
    ///
    /// Without a folder, the page of packcast itself is printed.
    folder: Option<PathBuf>,
}

impl Args {
    /// Prints or writes the manual of the program.
    pub(crate) fn run(self, cli: clap::Command) -> Result<(), Failure> {
        let Some(folder) = self.folder else {
            let mut page = Vec::new();
            Man::new(cli).render(&mut page).map_err(Failure::failed)?;
            output::data(&String::from_utf8_lossy(&page));
            return Ok(());
        };
        std::fs::create_dir_all(&folder)
            .and_then(|()| generate_to(cli, &folder))
            .map_err(|error| {
                Failure::failed(error).hint(format!(
                    "make folder {} writable for your user",
                    folder.display()
                ))
            })
    }
}
