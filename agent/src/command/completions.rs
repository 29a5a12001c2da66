//! `packcast-agent completions`: prints scripts that complete the command line in a shell.

use clap_complete::Shell;

use crate::output;

/// Print the completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  packcast-agent completions bash > /etc/bash_completion.d/packcast-agent
  packcast-agent completions fish > ~/.config/fish/completions/packcast-agent.fish")]
pub struct Args {
    /// Shell that reads the script
    shell: Shell,
}

impl Args {
    /// Prints the completion script of a program.
    pub(super) fn run(&self, mut program: clap::Command) {
        let mut script = Vec::new();
        let name = program.get_name().to_owned();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        output::text(&String::from_utf8_lossy(&script));
    }
}
