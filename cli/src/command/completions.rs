//! `packcast completions`: the command line as a shell completes it.

use clap_complete::{Shell, generate};

use crate::output;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast completions bash > ~/.local/share/bash-completion/completions/packcast
  packcast completions zsh > ~/.zfunc/_packcast
  packcast completions fish > ~/.config/fish/completions/packcast.fish")]
pub(crate) struct Args {
    /// The shell that reads them
    shell: Shell,
}

impl Args {
    /// Prints the completions of a program called `name`.
    pub(crate) fn run(self, cli: &mut clap::Command, name: &str) {
        let mut script = Vec::new();
        generate(self.shell, cli, name, &mut script);
        output::data(&String::from_utf8_lossy(&script));
    }
}
