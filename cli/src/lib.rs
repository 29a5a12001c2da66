//! The program `packcast`: parses command lines, runs them, and prints the results.
//!
//! The program is a library, so that the demo and the integration tests run the same code as the
//! binary.

mod author;
mod command;
mod completion;
mod confirm;
#[cfg(test)]
mod fixtures;
mod globals;
mod invocation;
mod keyring;
mod local_target;
mod output;
mod places;
mod progress;
mod prompt;
mod secrets;
mod stopping;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use packcast_protocol::terminal;
use packcast_publisher::clock::now;
use packcast_publisher::target::LOCAL;
use packcast_publisher::{Failure, Kind, proxy_for};

use crate::globals::Globals;
use crate::invocation::Invocation;
use crate::output::Format;
use crate::output::screen::Screen;

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
Exit codes: 0 done, 1 failed, 2 usage, 3 conflict with the present state,
75 try again later, 130 interrupted at a question.

Run 'packcast demo' to see a package deployed on this machine.";

/// The exit code after Ctrl-C at a question, as of a program that SIGINT has killed.
const INTERRUPTED: u8 = 130;

/// The error if the result could not be printed.
const LOST: &str = "the command completed, but its output could not be written";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(Box<command::demo::Args>),
    Local(command::local::Args),
    #[command(subcommand)]
    Keys(command::keys::Args),
    Unlock(command::unlock::Args),
    Lock(command::lock::Args),
    #[command(subcommand)]
    Location(command::location::Args),
    Publish(Box<command::publish::Args>),
    PublishAgent(command::publish_agent::Args),
    Verify(command::verify::Args),
    Activate(command::activate::Args),
    Deactivate(command::deactivate::Args),
    Assign(command::assign::Args),
    Unassign(command::unassign::Args),
    #[command(subcommand)]
    Rollout(command::rollout::Args),
    Pause(command::pause::Args),
    Resume(command::resume::Args),
    Sign(command::sign::Args),
    #[command(visible_alias = "rm")]
    Delete(command::delete::Args),
    #[command(subcommand)]
    Group(command::group::Args),
    #[command(subcommand)]
    Import(command::import::Args),
    #[command(visible_alias = "ls")]
    List(command::list::Args),
    Show(command::show::Args),
    Status(command::status::Args),
    Wait(command::wait::Args),
    #[command(subcommand)]
    Device(command::device::Args),
    Token(command::token::Args),
    AgentConfig(command::agent_config::Args),
    AgentPackage(Box<command::agent_package::Args>),
    Explain(command::explain::Args),
    Log(command::log::Args),
    Diff(command::diff::Args),
    Revert(command::revert::Args),
    Audit(command::audit::Args),
    Console(command::console::Args),
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
    if completion::answer(&arguments, cli) {
        return ExitCode::SUCCESS;
    }
    let wants_json = wants_json(&arguments);
    let (cli, invocation) = match parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) if wants_json && error.use_stderr() => return usage_as_json(&error),
        Err(error) => return usage(&error),
    };
    begin_output(&cli.globals, &invocation);
    if let Err(refusal) = check_format(cli.globals.format, &invocation) {
        return report(&refusal);
    }
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
        Ok(()) => {
            let next = invocation.next();
            if let Some(next) = next.filter(|_| cli.globals.format == Format::Text) {
                output::note(&format!("next: 'packcast {next}'"));
            }
            ExitCode::SUCCESS
        }
        Err(_) if prompt::is_interrupted() => ExitCode::from(INTERRUPTED),
        Err(failure) => report(&with_proxy(failure)),
    }
}

/// Names the proxy in a hint if a server on the network did not answer.
fn with_proxy(failure: Failure) -> Failure {
    // The address of any server that is not on this machine or its network.
    let proxy = proxy_for("https://dynamodb.us-east-1.amazonaws.com/");
    match proxy.filter(|_| failure.is_unreachable()) {
        Some(proxy) => failure.hint(format!(
            "check the proxy {proxy}, which requests go through: HTTPS_PROXY names it, and NO_PROXY the servers that need none"
        )),
        None => failure,
    }
}

/// Decides how results look, and names the target if it is not the local system.
fn begin_output(globals: &Globals, invocation: &Invocation) {
    let is_on_target = invocation.has_target();
    output::screen::set(Screen {
        format: globals.format,
        command: invocation.form(),
        target: if is_on_target {
            globals.target_options()
        } else {
            String::new()
        },
        columns: output::columns(),
        now: std::io::stdout().is_terminal().then(now),
    });
    if is_on_target && globals.target != LOCAL && globals.format == Format::Text {
        output::note(&format!("target: {}", globals.target));
    }
}

/// Refuses CSV before the command does anything, if its result is no list.
fn check_format(format: Format, invocation: &Invocation) -> Result<(), Failure> {
    if format != Format::Csv || output::csv::form(&invocation.form()).is_some() {
        return Ok(());
    }
    let refusal = format!(
        "cannot print the result of 'packcast {}' as CSV: it is no list",
        invocation.path
    );
    Err(Failure::usage(refusal).hint("pass --format json, or leave out --format"))
}

/// Returns true if the arguments ask for JSON, although they may be invalid.
fn wants_json(arguments: &[OsString]) -> bool {
    let is_json = |value: &str| value.eq_ignore_ascii_case("json");
    let texts: Vec<_> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .collect();
    texts
        .windows(2)
        .any(|pair| pair[0] == "--format" && is_json(pair[1]))
        || texts
            .iter()
            .filter_map(|text| text.strip_prefix("--format="))
            .any(is_json)
}

/// Prints an error in the arguments as JSON.
fn usage_as_json(error: &clap::Error) -> ExitCode {
    output::screen::set(Screen {
        format: Format::Json,
        ..Screen::default()
    });
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut parts = text.split("\n\n");
    let failure = Failure::usage(parts.next().unwrap_or_default().trim().to_owned());
    let tips = parts.filter_map(|part| part.trim().strip_prefix("tip: "));
    report(&tips.fold(failure, |failure, tip| failure.hint(tip.to_owned())))
}

/// Prints help, or an error in the arguments.
fn usage(error: &clap::Error) -> ExitCode {
    if controls_only_style(error) {
        // A reader that has closed its end, such as `head`, is not an error.
        let _ = error.print();
    } else {
        // The name of a file can be an argument.
        output::note(error.render().to_string().trim_end());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Returns true if an error in the arguments controls nothing of a terminal but colours and styles.
fn controls_only_style(error: &clap::Error) -> bool {
    // The text without colours lacks the control sequences of an argument, too.
    let styled = error.render().ansi().to_string();
    styled.lines().all(|line| terminal::log_event(line) == line)
}

fn report(failure: &Failure) -> ExitCode {
    output::error(failure);
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
        Command::PublishAgent(args) => args.run(globals).await,
        Command::Verify(args) => args.run(globals).await,
        Command::Keys(args) => Box::pin(args.run(globals)).await,
        Command::Unlock(args) => args.run(globals),
        Command::Lock(args) => args.run(globals),
        Command::Location(args) => args.run(globals).await,
        Command::Activate(args) => args.run(globals).await,
        Command::Deactivate(args) => args.run(globals).await,
        Command::Assign(args) => args.run(globals).await,
        Command::Unassign(args) => args.run(globals).await,
        Command::Rollout(args) => args.run(globals).await,
        Command::Pause(args) => args.run(globals).await,
        Command::Resume(args) => args.run(globals).await,
        Command::Sign(args) => args.run(globals).await,
        Command::Delete(args) => args.run(globals).await,
        Command::Group(args) => args.run(globals).await,
        Command::Import(args) => args.run(globals).await,
        Command::List(args) => args.run(globals).await,
        Command::Show(args) => args.run(globals).await,
        Command::Status(args) => args.run(globals).await,
        Command::Wait(args) => args.run(globals).await,
        Command::Device(args) => args.run(globals).await,
        Command::Token(args) => args.run(globals).await,
        Command::AgentConfig(args) => args.run(globals),
        Command::AgentPackage(args) => args.run(globals).await,
        Command::Explain(args) => args.run(globals).await,
        Command::Log(args) => args.run(globals).await,
        Command::Diff(args) => args.run(globals).await,
        Command::Revert(args) => args.run(globals).await,
        Command::Audit(args) => args.run(globals).await,
        Command::Console(args) => args.run(globals).await,
        Command::Completions(args) => args.run(NAME),
        Command::Man(args) => args.run(cli()),
    }
}

/// Parses a command line.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<(Cli, Invocation), clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut matches = cli().try_get_matches_from(&arguments)?;
    let invocation = Invocation::of(&matches, &arguments);
    let parsed = Cli::from_arg_matches_mut(&mut matches);
    let mut parsed = parsed.map_err(|error| error.format(&mut cli()))?;
    parsed.globals.invocation = invocation.clone();
    Ok((parsed, invocation))
}

/// Returns the command line that `--help`, completions and manual describe.
fn cli() -> clap::Command {
    ignoring_case(Cli::command())
}

/// Lets all arguments with named values ignore case: the program itself prints `LAUNCH`.
fn ignoring_case(command: clap::Command) -> clap::Command {
    let with_args = command.mut_args(|argument| {
        let takes_value = argument.get_action().takes_values();
        if takes_value && !argument.get_possible_values().is_empty() {
            argument.ignore_case(true)
        } else {
            argument
        }
    });
    with_args.mut_subcommands(ignoring_case)
}
