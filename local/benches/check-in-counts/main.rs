//! Instructions, allocations and table calls of one check-in, counted by valgrind.
//!
//! The counts hardly depend on other load of the machine. A first process prepares the records of all
//! devices. For each row, another process runs under valgrind, opens these records, and answers check-ins
//! until its caches are filled. Only the following check-ins are counted.

#![expect(clippy::print_stdout, reason = "it is a program that prints")]

mod callgrind;
mod measured;
mod prepared;

use std::path::Path;
use std::process::{Command, ExitCode};

use packcast_check_in::{FunctionSettings, PassKey};
use packcast_protocol::Sha256Digest;
use packcast_protocol::api::Secret;
use packcast_rollout::Pacing;
use packcast_testing::commits::trust;
use packcast_testing::peer::{ENROLMENT_TOKEN, PATH_TOKEN};

use crate::callgrind::CallgrindCounts;
use crate::measured::{MEASURE, MeasureArgs, TableUse, measure};
use crate::prepared::PreparedRecords;

const USAGE: &str = "usage: just count-check-in [--smoke]";

/// Numbers of open tasks of which the device was told before.
const OPEN_TASKS: [u32; 4] = [0, 1, 10, 100];
/// Number of counted check-ins, whose mean is printed.
const CHECK_INS: u32 = 20;

/// The kind of a device's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentKind {
    /// A PROLOG of an OCS agent.
    Prolog,
    /// A check-in of a Packcast agent, in signed JSON.
    Json,
}

/// The code that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountedPart {
    /// The handler with the client of the table and the engine.
    Whole,
    Engine,
}

impl AgentKind {
    const ALL: [Self; 2] = [Self::Prolog, Self::Json];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Prolog => "PROLOG",
            Self::Json => "JSON",
        }
    }
}

impl CountedPart {
    const ALL: [Self; 2] = [Self::Whole, Self::Engine];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Engine => "engine",
        }
    }
}

fn main() -> ExitCode {
    // Cargo passes `--bench` to every benchmark.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    match words.first().map(String::as_str) {
        None => print(&OPEN_TASKS),
        Some("--smoke") => print(&OPEN_TASKS[..2]),
        Some(MEASURE) => match MeasureArgs::parse(&words[1..]) {
            Some(args) => println!("{}", measure(&args)),
            None => return ExitCode::from(2),
        },
        Some(_) => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Returns the settings of a function that admits every peer.
fn settings() -> FunctionSettings {
    let digest = |token: &str| -> Sha256Digest {
        let token: Secret = token.parse().expect("a token");
        token.digest()
    };
    FunctionSettings {
        origin_secrets: Vec::new(),
        path_tokens: vec![digest(PATH_TOKEN)],
        enrolment_tokens: vec![digest(ENROLMENT_TOKEN)],
        pass_key: PassKey::new([9; 32]),
        trust: trust(),
        check_in_interval_s: FunctionSettings::DEFAULT_INTERVAL_S,
        pace: Pacing::default(),
        group_cache_s: FunctionSettings::DEFAULT_GROUP_CACHE_S,
    }
}

/// Prints the counts for each kind of agent and each number of open tasks.
fn print(open_tasks: &[u32]) {
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let records = PreparedRecords::create(folder.path(), open_tasks);
    println!(
        "| check-in | open tasks | instructions of the function | of the engine | allocations of the function | of the engine | table calls | read units | write units |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for kind in AgentKind::ALL {
        for tasks in open_tasks {
            let count = |part| count(&records, folder.path(), kind, *tasks, part);
            let (whole, engine) = (count(CountedPart::Whole), count(CountedPart::Engine));
            println!("{}", row(kind, *tasks, &whole, &engine));
        }
    }
}

/// The counts of all counted check-ins together.
struct Counts {
    processor: CallgrindCounts,
    table: TableUse,
}

fn count(
    records: &PreparedRecords,
    folder: &Path,
    kind: AgentKind,
    tasks: u32,
    part: CountedPart,
) -> Counts {
    let name = format!("{}-{tasks}-{}.callgrind", kind.as_str(), part.as_str());
    let out_file = folder.join(name);
    let program = std::env::current_exe().expect("a program knows its file");
    let args = MeasureArgs::of(records, kind, tasks, part);
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!(
            "--toggle-collect=*{}*",
            measured::function_of(part)
        ))
        .arg(format!("--callgrind-out-file={}", out_file.display()))
        .arg(program)
        .args(args.words())
        .output()
        .expect("valgrind is missing: install Debian's package valgrind");
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stdout);
    Counts {
        processor: CallgrindCounts::read(&out_file),
        table: printed
            .trim()
            .parse()
            .expect("the measured program prints its use"),
    }
}

fn row(kind: AgentKind, tasks: u32, whole: &Counts, engine: &Counts) -> String {
    let each = |count: u64| count / u64::from(CHECK_INS);
    let (whole_cpu, engine_cpu) = (whole.processor, engine.processor);
    let table = whole.table.of_each(CHECK_INS);
    format!(
        "| {} | {tasks} | {} | {} | {} | {} | {} | {} | {} |",
        kind.as_str(),
        each(
            whole_cpu
                .instructions
                .saturating_sub(engine_cpu.instructions)
        ),
        each(engine_cpu.instructions),
        each(whole_cpu.allocations.saturating_sub(engine_cpu.allocations)),
        each(engine_cpu.allocations),
        table.calls,
        table.read_units,
        table.write_units,
    )
}
