//! Completion of the command line in a shell, with names from the table.
//!
//! A script from [`registration`] runs the program with an environment variable and the words that
//! were typed. The program then prints candidates instead of running a command.

mod bash;
mod names;

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};

use self::bash::Bash;
use self::names::Names;

/// The environment variable with which the script of a shell asks for candidates.
const VARIABLE: &str = "PACKCAST_COMPLETE";

const SHELLS: &[&dyn EnvCompleter] = &[&Bash, &Elvish, &Fish, &Powershell, &Zsh];

/// Returns the script that makes a shell ask the program called `name`.
pub(crate) fn registration(shell: Shell, name: &str) -> io::Result<String> {
    let mut script = Vec::new();
    let shells = Shells(SHELLS);
    let completer = shells.completer(&shell.to_string());
    let completer = completer.ok_or(io::ErrorKind::Unsupported)?;
    completer.write_registration(VARIABLE, name, name, name, &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Prints candidates if the script of a shell asks for them; otherwise returns false. Errors print
/// nothing: they would appear in the middle of the line that a person types.
pub(crate) fn answer(arguments: &[OsString], cli: impl Fn() -> clap::Command) -> bool {
    let names = Arc::new(Names::of(typed(arguments)));
    let command = CompleteEnv::with_factory(|| names::with_names(cli(), &names));
    let folder = std::env::current_dir().ok();
    let answered = command
        .var(VARIABLE)
        .shells(Shells(SHELLS))
        .try_complete(arguments.iter().cloned(), folder.as_deref());
    answered.unwrap_or(true)
}

/// Returns the words that were typed: the script passes them after `--`.
fn typed(arguments: &[OsString]) -> &[OsString] {
    let start = arguments.iter().position(|argument| argument == "--");
    start.map_or(&[], |start| &arguments[start + 1..])
}
