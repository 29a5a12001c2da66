//! Announces a package to devices that check in at several rates, stops the package, and prints the
//! refused writes and the durations of the stops. The clock is simulated.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it is a program that prints"
)]

#[path = "../tests/it/load.rs"]
mod load;
#[path = "../tests/it/system.rs"]
#[expect(dead_code, reason = "the tests use the rest of the system")]
mod system;

use std::process::ExitCode;
use std::time::Duration;

use load::{Load, LoadReport, Stop};
use tokio::runtime;

/// Check-ins a second, with the seconds before the stop: 100,000 and 1,000,000 devices that check in
/// every hour, and the goal.
const RATES: [(u32, u32); 3] = [(28, 10), (278, 3), (1_000, 2)];

/// Seconds of load during which a stop may run.
const STOP_SECONDS: u32 = 5;

const USAGE: &str = "usage: just announce-rate [--smoke] [--seed N]";

/// Arguments of the program.
#[derive(Default)]
struct Args {
    seed: u64,
    /// Only the lowest rate.
    smoke: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Args> {
    let mut args = Args::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo passes this argument to every benchmark.
            "--bench" => {}
            "--smoke" => args.smoke = true,
            "--seed" => args.seed = words.next()?.parse().ok()?,
            _ => return None,
        }
    }
    Some(args)
}

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let rates = if args.smoke { &RATES[..1] } else { &RATES };
    println!(
        "| check-ins a second | refused transactions per announcement | 503 | write units per announcement | unassign | deactivate |"
    );
    println!("|---:|---:|---:|---:|---:|---:|");
    let mut is_broken = false;
    for (per_second, seconds) in rates {
        let run = |stop| {
            run(Load {
                per_second: *per_second,
                seconds: *seconds,
                stop_seconds: STOP_SECONDS,
                stop,
                seed: args.seed,
            })
        };
        let unassigned = run(Stop::Unassign);
        let deactivated = run(Stop::Deactivate);
        print_row(*per_second, &unassigned, &deactivated);
        for report in [&unassigned, &deactivated] {
            is_broken |= report.announced_afterwards > 0;
        }
    }
    if is_broken {
        println!("a package was announced after a stop had returned");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(load: Load) -> LoadReport {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime can be built");
    runtime.block_on(load::run(load, system::settings()))
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn print_row(per_second: u32, unassigned: &LoadReport, deactivated: &LoadReport) {
    let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let retries = share(unassigned.refused.transactions, unassigned.announced);
    let unavailable = 100.0 * share(unassigned.unavailable, unassigned.check_ins);
    println!(
        "| {per_second} | {retries:.2} | {unavailable:.1} % | {:.1} | {} | {} |",
        unassigned.write_units,
        shown(unassigned.stopped_after),
        shown(deactivated.stopped_after)
    );
    // On standard error, so that the table on standard output stays whole.
    eprintln!("items of refused writes: {:?}", unassigned.refused.items);
}

fn shown(duration: Option<Duration>) -> String {
    match duration {
        Some(duration) if duration.as_secs() > 0 => format!("{:.1} s", duration.as_secs_f64()),
        Some(duration) => format!("{} ms", duration.as_millis()),
        None => format!("over {STOP_SECONDS} s"),
    }
}
