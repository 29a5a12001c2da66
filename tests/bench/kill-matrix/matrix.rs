//! The command line of the kill matrix.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Instant;

use clap::Parser;
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use packcast_tests::kill::self_update::{self, UpdateReport};
use packcast_tests::kill::{self, Choice, Kill, MatrixReport, Point};
use packcast_tests::killed_commands::{self, CommandReport, KilledCommand, MadeBy};

/// Number of faults that are printed.
const SHOWN: usize = 40;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Kill the agent at each of its effects, and commands of the publisher at each of their writes
///
/// Agents that recover are killed at each effect of their recovery as well, on other devices. The
/// command fails if a program ran twice, a report was lost, a verified fragment was downloaded
/// again, or the device differs in another way from one whose agent was not killed. It also fails
/// if the agent acts before the record of the action is on disk.
///
/// After the kill of a publisher's command, the next command must complete the state and all records,
/// and the device must have exactly the assigned packages.
#[derive(Parser)]
#[command(bin_name = "just kill-matrix")]
struct Args {
    /// Only `agent`, only `commands`, or only one command, such as `group-add`
    #[arg(long, value_name = "SUBJECT")]
    only: Option<Subject>,
    /// Only self-updates of the agent
    ///
    /// The installed agent is killed while it stages a version, starts it and goes back from it, and
    /// the version on trial while it checks in. Afterwards the device must have a working agent.
    #[arg(long, conflicts_with_all = ["only", "at"])]
    self_update: bool,
    /// Only at this point of the agent, such as `rename:state/pass#1:after`
    #[arg(long, value_name = "POINT", conflicts_with = "only")]
    at: Option<Point>,
    /// Kill the agent that is started afterwards at this point
    #[arg(long, value_name = "POINT", requires = "at")]
    then: Option<Point>,
    /// At one of this many points
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    one_in: u32,
    /// Number of agents, and of commands, that run at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The process that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Agent,
    Commands,
    Command(KilledCommand),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "agent" => Ok(Self::Agent),
            "commands" => Ok(Self::Commands),
            _ => text.parse().map(Self::Command),
        }
    }
}

pub(crate) fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let one_in = args.one_in as usize;
    let is_all = args.at.is_none() && args.only.is_none() && !args.self_update;
    let (choice, commands) = match (args.at, args.only) {
        _ if args.self_update => (None, Vec::new()),
        (Some(at), _) => {
            let then = args.then;
            (Some(Choice::Only(Kill { at, then })), Vec::new())
        }
        (None, Some(Subject::Agent)) => (Some(Choice::OneIn(one_in)), Vec::new()),
        (None, Some(Subject::Commands)) => (None, KilledCommand::ALL.to_vec()),
        (None, Some(Subject::Command(command))) => (None, vec![command]),
        (None, None) => (Some(Choice::OneIn(one_in)), KilledCommand::ALL.to_vec()),
    };
    let begun = Instant::now();
    let mut out = io::stdout();
    let mut is_good = true;
    if let Some(choice) = choice {
        let report = kill_agents(&choice, args.threads.into());
        print(&mut out, &report)?;
        is_good &= report.is_good();
    }
    if !commands.is_empty() {
        let threads = args.threads.into();
        let report = killed_commands::run(PROGRAM, &commands, one_in, threads);
        print_commands(&mut out, &report)?;
        is_good &= report.is_good();
    }
    if args.self_update || is_all {
        let report = self_update::run(PROGRAM, one_in, args.threads.into());
        print_updates(&mut out, &report)?;
        is_good &= report.is_good();
    }
    writeln!(out, "{:.0} s", begun.elapsed().as_secs_f64())?;
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn kill_agents(choice: &Choice, threads: usize) -> MatrixReport {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}");
    bar.set_style(style.expect("the template is valid"));
    let report = kill::run(PROGRAM, choice, threads, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    report
}

fn print(out: &mut impl io::Write, report: &MatrixReport) -> io::Result<()> {
    writeln!(out, "{}", matrix(report))?;
    for kill in &report.missed {
        writeln!(out, "not reached: {kill}")?;
    }
    for (kill, fault) in report.found.iter().take(SHOWN) {
        writeln!(out, "killed at {kill}: {fault}")?;
        writeln!(out, "  to repeat: just kill-matrix {}", options(kill))?;
    }
    if report.found.len() > SHOWN {
        writeln!(out, "and {} more", report.found.len() - SHOWN)?;
    }
    for disorder in &report.disorders {
        writeln!(out, "in a run without a kill: {disorder}")?;
    }
    for difference in &report.differences {
        writeln!(
            out,
            "tally differs from the sum of the results: {difference}"
        )?;
    }
    writeln!(out, "{}", counts(report))
}

fn print_commands(out: &mut impl io::Write, report: &CommandReport) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "killed command",
        "kills",
        "commit made before",
        "by the next command",
        "when repeated",
    ]);
    for (command, made) in &report.kills {
        let made_by = |by| made.get(&by).copied().unwrap_or_default();
        table.add_row([
            Cell::new(command),
            number(made.values().sum()),
            number(made_by(MadeBy::Killed)),
            number(made_by(MadeBy::Next)),
            number(made_by(MadeBy::Repeated)),
        ]);
    }
    writeln!(out, "{table}")?;
    for (kill, fault) in report.found.iter().take(SHOWN) {
        writeln!(out, "killed: {kill}: {fault}")?;
        writeln!(out, "  to repeat: just kill-matrix --only {}", kill.command)?;
    }
    writeln!(out, "faults after killed commands: {}", report.found.len())
}

fn print_updates(out: &mut impl io::Write, report: &UpdateReport) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "killed process of a self-update",
        "points",
        "kills",
    ]);
    for (process, (points, kills)) in &report.kills {
        table.add_row([Cell::new(process.name()), number(*points), number(*kills)]);
    }
    writeln!(out, "{table}")?;
    for (process, point) in &report.missed {
        writeln!(out, "not reached: {} at {point}", process.name())?;
    }
    for (process, point, fault) in report.found.iter().take(SHOWN) {
        writeln!(out, "killed: {} at {point}: {fault}", process.name())?;
    }
    writeln!(out, "points not reached: {}", report.missed.len())?;
    writeln!(
        out,
        "faults after killed self-updates: {}",
        report.found.len()
    )
}

fn options(kill: &Kill) -> String {
    let then = kill.then.as_ref();
    let then = then.map_or_else(String::new, |then| format!(" --then '{then}'"));
    format!("--at '{}'{then}", kill.at)
}

fn counts(report: &MatrixReport) -> Table {
    let counts = [
        (report.killed, "agents killed"),
        (report.killed_again, "agents killed during recovery"),
        (report.missed.len(), "points not reached"),
        (report.interrupted, "packages reported as interrupted"),
        (report.repeated, "allowed repeated runs"),
        (report.double_runs(), "double runs"),
        (report.lost_reports(), "lost reports"),
        (
            report.fetched_again(),
            "verified fragments downloaded again",
        ),
        (
            report.disorders.len(),
            "effects before their record is on disk",
        ),
        (report.others(), "other faults"),
    ];
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (count, name) in counts {
        table.add_row([number(count), Cell::new(name)]);
    }
    table
}

fn number(count: usize) -> Cell {
    Cell::new(count).set_alignment(CellAlignment::Right)
}

fn matrix(report: &MatrixReport) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["effect", "effects", "points"]);
    let mut row = |name: String, effects: usize, points: usize| {
        table.add_row([Cell::new(name), number(effects), number(points)]);
    };
    let (mut effects, mut points) = (0, 0);
    for (kind, (of_kind, points_of_kind)) in &report.matrix {
        row(kind.to_string(), *of_kind, *points_of_kind);
        effects += of_kind;
        points += points_of_kind;
    }
    row("all".to_owned(), effects, points);
    table
}
