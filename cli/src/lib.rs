//! The program `packcast`: parses command lines, runs them, and prints the results.
//!
//! The program is a library, so that the demo and the integration tests run the same code as the
//! binary.

mod author;
mod command;
#[cfg(test)]
mod fixtures;
mod globals;
mod local_target;
mod output;
mod places;
mod progress;
mod secrets;
mod stopping;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use packcast_publisher::{Failure, Kind};

use crate::globals::Globals;

/// Deploy packages to fleets of computers without a server to operate
///
/// A package is published, activated at one or more locations, and assigned to devices or groups.
/// Each device downloads the package after its next check-in, carries out its action, and reports
/// the result.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// The name of the program.
const NAME: &str = "packcast";

/// The first argument that makes this program an agent. The demo and the tests start it so.
const AGENT: &str = "agent";

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 conflict, 75 try again later.

Run 'packcast demo' to see a package deployed on this machine.";

/// The error if the result could not be printed.
const LOST: &str = "the command completed, but its output could not be written";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(Box<command::demo::Args>),
    Local(command::local::Args),
    #[command(subcommand)]
    Keys(command::keys::Args),
    #[command(subcommand)]
    Location(command::location::Args),
    Publish(Box<command::publish::Args>),
    Verify(command::verify::Args),
    Activate(command::activate::Args),
    Deactivate(command::deactivate::Args),
    Assign(command::assign::Args),
    Unassign(command::unassign::Args),
    Pause(command::pause::Args),
    Resume(command::resume::Args),
    Sign(command::sign::Args),
    Delete(command::delete::Args),
    #[command(subcommand)]
    Group(command::group::Args),
    List(command::list::Args),
    Show(command::show::Args),
    Status(command::status::Args),
    #[command(subcommand)]
    Device(command::device::Args),
    Token(command::token::Args),
    AgentConfig(command::agent_config::Args),
    Explain(command::explain::Args),
    Log(command::log::Args),
    Diff(command::diff::Args),
    Revert(command::revert::Args),
    Audit(command::audit::Args),
    Completions(command::completions::Args),
    Man(command::man::Args),
}

/// Runs one command line and returns its exit code. Errors are printed here and nowhere else.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|argument| argument == AGENT) {
        return match packcast_agent::command::Cli::try_parse_from(&arguments[1..]) {
            Ok(agent) => packcast_agent::command::run(&agent),
            Err(error) => usage(&error),
        };
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::failed(error)),
    };
    let done = runtime.block_on(dispatch(cli.command, &cli.globals));
    if let Some(warnings) = cli.globals.warnings() {
        output::warn(&warnings.take());
    }
    match done {
        Ok(()) if output::is_lost() => report(&Failure::failed(LOST)),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure.for_target(&cli.globals.target)),
    }
}

/// Prints help, or an error in the arguments.
fn usage(error: &clap::Error) -> ExitCode {
    // A reader that has closed its end, such as `head`, is not an error.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn report(failure: &Failure) -> ExitCode {
    output::note(&format!("error: {failure}"));
    ExitCode::from(match failure.kind() {
        Kind::Failed => 1,
        Kind::Usage => 2,
        Kind::Conflict => 3,
        Kind::TryLater => 75,
    })
}

async fn dispatch(command: Command, globals: &Globals) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => args.run().await,
        Command::Local(args) => args.run().await,
        Command::Publish(args) => args.run(globals).await,
        Command::Verify(args) => args.run(globals).await,
        Command::Keys(args) => Box::pin(args.run(globals)).await,
        Command::Location(args) => args.run(globals).await,
        Command::Activate(args) => args.run(globals).await,
        Command::Deactivate(args) => args.run(globals).await,
        Command::Assign(args) => args.run(globals).await,
        Command::Unassign(args) => args.run(globals).await,
        Command::Pause(args) => args.run(globals).await,
        Command::Resume(args) => args.run(globals).await,
        Command::Sign(args) => args.run(globals).await,
        Command::Delete(args) => args.run(globals).await,
        Command::Group(args) => args.run(globals).await,
        Command::List(args) => args.run(globals).await,
        Command::Show(args) => args.run(globals).await,
        Command::Status(args) => args.run(globals).await,
        Command::Device(args) => args.run(globals).await,
        Command::Token(args) => args.run(globals),
        Command::AgentConfig(args) => args.run(globals),
        Command::Explain(args) => args.run(globals).await,
        Command::Log(args) => args.run(globals).await,
        Command::Diff(args) => args.run(globals).await,
        Command::Revert(args) => args.run(globals).await,
        Command::Audit(args) => args.run(globals).await,
        Command::Completions(args) => {
            args.run(&mut cli(), NAME);
            Ok(())
        }
        Command::Man(args) => args.run(cli()),
    }
}

/// Returns the command line that `--help`, completions and manual describe.
fn cli() -> clap::Command {
    Cli::command()
}
