//! `packcast completions`: prints scripts that complete the command line in a shell.

use clap_complete::{Shell, generate};

use crate::output;

/// Print the completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast completions bash \\
      > ~/.local/share/bash-completion/completions/packcast
  packcast completions zsh > ~/.zfunc/_packcast
  packcast completions fish > ~/.config/fish/completions/packcast.fish")]
pub(crate) struct Args {
    /// Shell that reads the script
    shell: Shell,
}

impl Args {
    /// Prints the completion script of a program called `name`.
    pub(crate) fn run(self, cli: &mut clap::Command, name: &str) {
        let mut script = Vec::new();
        generate(self.shell, cli, name, &mut script);
        output::data(&String::from_utf8_lossy(&script));
    }
}
