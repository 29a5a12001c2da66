//! The matrix on the command line.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use packcast_tests::kill::{self, Choice, Kill, Point, Report};

/// Of many faults, the first say enough.
const SHOWN: usize = 40;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Kill the agent at each of its effects, start it again, and see what became of the device
///
/// Agents that recover from that are killed at each effect of their recovery, on other devices.
/// It fails if a program ran twice, if a report was lost, if a verified fragment was fetched
/// again, if anything else is not as it is on a device whose agent nobody killed, or if the agent
/// does something before what it says of that is on disk.
#[derive(Parser)]
#[command(bin_name = "just kill-matrix")]
struct Args {
    /// Only at this point, such as `rename:state/pass#1:after`
    #[arg(long, value_name = "POINT")]
    at: Option<Point>,
    /// And kill the agent that is started after it at this one
    #[arg(long, value_name = "POINT", requires = "at")]
    then: Option<Point>,
    /// At one of so many points
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    one_in: u32,
    /// How many agents are at work at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Cargo says it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

pub(crate) fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let choice = match args.at {
        Some(at) => Choice::Only(Kill {
            at,
            then: args.then,
        }),
        None => Choice::OneIn(args.one_in as usize),
    };
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}");
    bar.set_style(style.expect("the template is one"));
    let begun = Instant::now();
    let report = kill::run(PROGRAM, &choice, args.threads.into(), |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let mut out = io::stdout();
    print(&mut out, &report)?;
    writeln!(out, "{:.0} s", begun.elapsed().as_secs_f64())?;
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(out: &mut impl io::Write, report: &Report) -> io::Result<()> {
    writeln!(out, "{}", matrix(report))?;
    for kill in &report.missed {
        writeln!(out, "not reached: {kill}")?;
    }
    for (kill, fault) in report.found.iter().take(SHOWN) {
        writeln!(out, "killed at {kill}: {fault}")?;
        writeln!(out, "  to repeat it: just kill-matrix {}", options(kill))?;
    }
    if report.found.len() > SHOWN {
        writeln!(out, "and {} more", report.found.len() - SHOWN)?;
    }
    for disorder in &report.disorders {
        writeln!(out, "before any kill: {disorder}")?;
    }
    for difference in &report.differences {
        writeln!(out, "the tally is not the sum of the results: {difference}")?;
    }
    writeln!(out, "{}", counts(report))
}

fn options(kill: &Kill) -> String {
    let then = kill.then.as_ref();
    let then = then.map_or_else(String::new, |then| format!(" --then '{then}'"));
    format!("--at '{}'{then}", kill.at)
}

fn counts(report: &Report) -> Table {
    let counts = [
        (report.killed, "agents killed"),
        (report.killed_again, "killed again while they recovered"),
        (report.missed.len(), "kills not reached"),
        (report.interrupted, "packages reported as interrupted"),
        (report.repeated, "runs repeated of what may be repeated"),
        (report.double_runs(), "double runs"),
        (report.lost_reports(), "lost reports"),
        (report.fetched_again(), "verified fragments fetched again"),
        (
            report.disorders.len(),
            "effects before what they need is on disk",
        ),
        (report.others(), "other faults"),
    ];
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (count, what) in counts {
        table.add_row([number(count), Cell::new(what)]);
    }
    table
}

fn number(count: usize) -> Cell {
    Cell::new(count).set_alignment(CellAlignment::Right)
}

fn matrix(report: &Report) -> Table {
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
