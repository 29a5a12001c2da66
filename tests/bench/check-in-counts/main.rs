//! Instructions, allocations and table calls of one check-in, and instructions of TLS, counted by
//! valgrind.
//!
//! The counts hardly depend on other load of the machine. A first process prepares the records of all
//! devices. For each row, another process runs under valgrind, opens these records, and answers check-ins
//! until its caches are filled. Only the following check-ins are counted.

mod callgrind;
mod measured;
mod prepared;
mod table;
mod tls;

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Parser;
use packcast_check_in::{FunctionSettings, PassKey};
use packcast_protocol::Sha256Digest;
use packcast_protocol::api::Secret;
use packcast_protocol::state::TrustedRoots;
use packcast_rollout::Pacing;
use packcast_testing::peer::{ENROLMENT_TOKEN, PATH_TOKEN};
use packcast_tests::figure;
use packcast_tests::measure::{has_program, path_from_root};

use crate::callgrind::Valgrind;
use crate::measured::MeasureArgs;
use crate::table::CheckInCounts;
use crate::tls::TlsPart;

/// Numbers of open tasks of which the device was told before.
const OPEN_TASKS: [u32; 4] = [0, 1, 10, 100];

/// Count instructions, allocations and table calls of one check-in, and instructions of TLS
#[derive(Parser)]
#[command(bin_name = "just count-check-in")]
struct Args {
    /// Keep the files of callgrind in this folder, for `callgrind_annotate`
    #[arg(long, value_name = "FOLDER", value_parser = path_from_root::<PathBuf>)]
    keep: Option<PathBuf>,
    /// Write the figures to this folder, as values and as plots
    #[arg(long, value_name = "FOLDER", value_parser = path_from_root::<PathBuf>)]
    plot: Option<PathBuf>,
    /// Count only a PROLOG without tasks, to show that the program works
    #[arg(long)]
    smoke: bool,
    /// Arguments of the process that valgrind runs
    #[arg(long, hide = true, num_args = 1..)]
    measure: Vec<String>,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The kind of a device's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentKind {
    /// A PROLOG of an OCS agent.
    Prolog,
    /// A check-in of a Packcast agent, in signed JSON.
    Json,
}

/// The part of a check-in that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckInPart {
    /// The handler with the client of the table and the engine.
    Whole,
    Engine,
}

impl AgentKind {
    const ALL: [Self; 2] = [Self::Prolog, Self::Json];
}

impl fmt::Display for AgentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prolog => "PROLOG",
            Self::Json => "JSON",
        })
    }
}

impl CheckInPart {
    const ALL: [Self; 2] = [Self::Whole, Self::Engine];
}

impl fmt::Display for CheckInPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Engine => "engine",
        })
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut out = io::stdout();
    if let Some(measured) = MeasureArgs::parse(&args.measure) {
        return writeln!(out, "{}", measured::measure(&measured));
    }
    if let [part] = &args.measure[..] {
        return tls::measure(part);
    }
    if !has_program("valgrind", "sudo apt-get install valgrind") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let valgrind = Valgrind {
        folder: args.keep.as_deref().unwrap_or(folder.path()),
    };
    std::fs::create_dir_all(valgrind.folder)?;
    let (kinds, tasks): (&[AgentKind], &[u32]) = if args.smoke {
        (&AgentKind::ALL[..1], &OPEN_TASKS[..1])
    } else {
        (&AgentKind::ALL, &OPEN_TASKS)
    };
    let check_ins = CheckInCounts::count(&valgrind, folder.path(), kinds, tasks);
    writeln!(out, "{}", table::of_check_ins(&check_ins))?;
    let parts: &[TlsPart] = if args.smoke {
        &TlsPart::ALL[..1]
    } else {
        &TlsPart::ALL
    };
    let tls = tls::count(&valgrind, parts);
    writeln!(out, "\n{}", table::of_tls(&tls))?;
    table::figure(&check_ins, &tls).save(figure::folder(args.plot, args.smoke).as_deref())
}

/// Returns the settings of a function that admits every peer.
fn settings(trust: TrustedRoots) -> FunctionSettings {
    let digest = |token: &str| -> Sha256Digest {
        let token: Secret = token.parse().expect("a token");
        token.digest()
    };
    FunctionSettings {
        origin_secrets: Vec::new(),
        path_tokens: vec![digest(PATH_TOKEN)],
        enrolment_tokens: vec![digest(ENROLMENT_TOKEN)],
        pass_key: PassKey::new([9; 32]),
        trust,
        check_in_interval_s: FunctionSettings::DEFAULT_INTERVAL_S,
        pace: Pacing::default(),
        group_cache_s: FunctionSettings::DEFAULT_GROUP_CACHE_S,
    }
}
