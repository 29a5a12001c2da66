//! Instructions, allocations and table calls of one check-in, counted by valgrind.
//!
//! The counts hardly depend on other load of the machine. A first process prepares the records of all
//! devices. For each row, another process runs under valgrind, opens these records, and answers check-ins
//! until its caches are filled. Only the following check-ins are counted.

mod callgrind;
mod measured;
mod prepared;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use packcast_tests::process::Ran;

use self::callgrind::CallgrindCounts;
pub(crate) use self::measured::{MeasureArgs, measure};
use self::prepared::PreparedRecords;

/// Numbers of open tasks of which the device was told before.
const OPEN_TASKS: [u32; 4] = [0, 1, 10, 100];
/// Number of counted check-ins, whose mean is printed.
const CHECK_INS: u32 = 20;

/// The kind of a device's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AgentKind {
    /// A PROLOG of an OCS agent.
    Prolog,
    /// A check-in of a Packcast agent, in signed JSON.
    Json,
}

/// The code that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CountedPart {
    /// The handler with the client of the table and the engine.
    Whole,
    Engine,
}

/// Prints the counts for each kind of agent and each number of open tasks.
pub(crate) fn print(smoke: bool) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let open_tasks = if smoke { &OPEN_TASKS[..2] } else { &OPEN_TASKS };
    let records = PreparedRecords::create(folder.path(), open_tasks);
    let mut out = io::stdout();
    writeln!(
        out,
        "| check-in | open tasks | instructions of the function | of the engine | allocations of the function | of the engine | table calls | read units | write units |"
    )?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|---:|---:|---:|")?;
    for kind in [AgentKind::Prolog, AgentKind::Json] {
        for tasks in open_tasks {
            let count = |part| count(&records, folder.path(), kind, *tasks, part);
            print_row(
                &mut out,
                kind,
                *tasks,
                &count(CountedPart::Whole),
                &count(CountedPart::Engine),
            )?;
        }
    }
    Ok(())
}

/// The counts of all counted check-ins together.
struct Counts {
    processor: CallgrindCounts,
    table: measured::TableUse,
}

fn count(
    records: &PreparedRecords,
    folder: &Path,
    kind: AgentKind,
    tasks: u32,
    part: CountedPart,
) -> Counts {
    let out_file = folder.join("callgrind.out");
    let program = std::env::current_exe().expect("a program knows its file");
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!(
            "--toggle-collect=*{}*",
            measured::function_of(part)
        ))
        .arg(format!("--callgrind-out-file={}", out_file.display()))
        .arg(program)
        .args(MeasureArgs::words(records, kind, tasks, part, CHECK_INS));
    let ran = Ran::of(&mut command).expect_code(0);
    Counts {
        processor: CallgrindCounts::read(&out_file),
        table: serde_json::from_str(&ran.stdout).expect("the measured program prints JSON"),
    }
}

fn print_row(
    out: &mut impl io::Write,
    kind: AgentKind,
    tasks: u32,
    whole: &Counts,
    engine: &Counts,
) -> io::Result<()> {
    let name = match kind {
        AgentKind::Prolog => "PROLOG",
        AgentKind::Json => "JSON",
    };
    let each = |count: u64| count / u64::from(CHECK_INS);
    let table = whole.table.of_each(CHECK_INS);
    writeln!(
        out,
        "| {name} | {tasks} | {} | {} | {} | {} | {:.1} | {:.1} | {:.1} |",
        each(whole.processor.instructions - engine.processor.instructions),
        each(engine.processor.instructions),
        each(whole.processor.allocations - engine.processor.allocations),
        each(engine.processor.allocations),
        table.calls,
        table.read_units,
        table.write_units,
    )
}
