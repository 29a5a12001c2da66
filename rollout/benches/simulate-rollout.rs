//! Simulates rollouts with the real rules, and compares each with the bound of its plan.
//!
//! Every seed runs each kind of package, with and without closed lids. With `--demo`, the program
//! shows one rollout of each demonstrated package, with its time line. The exit code is 1 if a promise
//! was broken.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the program reads its arguments and prints; only the crate itself is pure"
)]

#[path = "../tests/it/demo.rs"]
#[expect(dead_code, reason = "the tests look at the outcome, too")]
mod demo;
#[path = "../tests/it/device.rs"]
mod device;
#[path = "../tests/it/rhythm.rs"]
mod rhythm;
#[path = "../tests/it/simulation.rs"]
mod simulation;
#[path = "../tests/it/timeline.rs"]
mod timeline;
#[path = "../tests/it/truth.rs"]
mod truth;
#[path = "../tests/it/world.rs"]
#[expect(
    dead_code,
    reason = "the histories of the tests use the remaining events"
)]
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use demo::{DEFAULT_SEED, PACKAGES, demo};
use simulation::{Outcome, PackageKind, Scenario, simulate};

const KINDS: [(&str, PackageKind); 6] = [
    ("fails everywhere", PackageKind::FailsEverywhere),
    ("kills everywhere", PackageKind::KillsEverywhere),
    ("fails on some", PackageKind::FailsOnSome),
    ("fails on 5 %", PackageKind::FailsOn(5)),
    ("fails on 1 %", PackageKind::FailsOn(1)),
    ("good", PackageKind::Good),
];

/// Sizes of fleets, with the number of seeds for each.
const RUNS: [(u32, u64); 3] = [(100, 10_000), (10_000, 100), (1_000_000, 1)];

/// Arguments of the program. The crate has no parser of arguments, because it is no program itself.
#[derive(Default)]
struct Args {
    /// Number of devices; by default 100, 10,000 and 1,000,000.
    devices: Option<u32>,
    /// Number of seeds; by default 10,000, 100 and 1.
    seeds: Option<u64>,
    /// First seed; by default 0. A demonstration has another default.
    seed: Option<u64>,
    /// Only a few seeds of small fleets.
    smoke: bool,
    /// Shows one rollout of each demonstrated package.
    demo: bool,
}

const USAGE: &str = "usage: just simulate-rollout [--smoke] [--devices N] [--seeds N] [--seed N]
       just demo-halt [--seed N]";

fn parse(mut words: impl Iterator<Item = String>) -> Option<Args> {
    let mut args = Args::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo passes this argument to every benchmark.
            "--bench" => {}
            "--demo" => args.demo = true,
            "--smoke" => args.smoke = true,
            "--devices" => args.devices = Some(words.next()?.parse().ok()?),
            "--seeds" => args.seeds = Some(words.next()?.parse().ok()?),
            "--seed" => args.seed = Some(words.next()?.parse().ok()?),
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
    if args.demo {
        return show_demos(args.seed.unwrap_or(DEFAULT_SEED));
    }
    let runs: Vec<(u32, u64)> = match (args.devices, args.seeds) {
        _ if args.smoke => vec![(100, 20), (2_000, 1)],
        (Some(devices), Some(seeds)) => vec![(devices, seeds)],
        (None, Some(seeds)) => RUNS
            .map(|(devices, most)| (devices, most.min(seeds)))
            .into(),
        (Some(devices), None) => vec![(devices, 1)],
        (None, None) => RUNS.into(),
    };
    println!(
        "reached: most machines of a seed; bound: by its plan; halted, all: seeds that halted, that reached all"
    );
    println!(
        "stopped: most programs that began with a valid permission after a pause or halt; no go: without one"
    );
    println!("ask, write: questions, and transactions with the gate, for each device");
    println!("last: hours from the start until the last device is healthy, for most seeds");
    let mut is_broken = false;
    for (devices, seeds) in runs {
        println!("{devices} devices, {seeds} seeds");
        println!(
            "  {:<16} {:>5} {:>9} {:>7} {:>7} {:>7} {:>8} {:>9} {:>9} {:>5} {:>5} {:>6}  hours until 90 % of each wave are healthy",
            "package",
            "lids",
            "reached",
            "bound",
            "halted",
            "all",
            "stopped",
            "no go",
            "events",
            "ask",
            "write",
            "last"
        );
        for (name, kind) in KINDS {
            for lids in [false, true] {
                let scenario = |seed| Scenario {
                    devices,
                    kind,
                    lids,
                    has_person: true,
                    seed,
                };
                let first = args.seed.unwrap_or(0);
                let seeds = first..first + seeds;
                let outcomes = run(seeds, &scenario);
                println!(
                    "  {name:<16} {:>5} {}",
                    if lids { "yes" } else { "no" },
                    line(&outcomes)
                );
                let broken = outcomes
                    .iter()
                    .filter_map(|(seed, outcome)| Some((seed, outcome.broken.as_ref()?)));
                for (seed, promise) in broken.take(3) {
                    is_broken = true;
                    println!("    BROKEN with seed {seed}: {promise}");
                }
            }
        }
    }
    if is_broken {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Shows one rollout of each demonstrated package.
fn show_demos(seed: u64) -> ExitCode {
    let mut is_kept = true;
    println!(
        "Simulated devices check in hourly, daily, or while their lids are open. Answers get\nlost, and transactions conflict. No person acts. Times count from the start.\n"
    );
    for (title, kind) in PACKAGES {
        let demo = demo(title, kind, seed);
        println!("{}", demo.text);
        is_kept &= demo.is_kept;
    }
    if is_kept {
        ExitCode::SUCCESS
    } else {
        println!("a bound was broken");
        ExitCode::FAILURE
    }
}

/// Simulates each seed, on all cores, and returns the outcomes in the order of their seeds.
fn run(
    seeds: std::ops::Range<u64>,
    scenario: &(impl Fn(u64) -> Scenario + Sync),
) -> Vec<(u64, Outcome)> {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return outcomes;
            }
            outcomes.push((seed, simulate(scenario(seed))));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut outcomes: Vec<(u64, Outcome)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let done = workers
            .into_iter()
            .flat_map(|it| it.join().expect("a simulation ends"));
        done.collect()
    });
    outcomes.sort_by_key(|(seed, _)| *seed);
    outcomes
}

/// Returns the columns of a table for outcomes. The reached machines and the bound are those of the
/// seed that reached the most machines. The other columns are sums, shares and medians.
fn line(outcomes: &[(u64, Outcome)]) -> String {
    let outcomes: Vec<&Outcome> = outcomes.iter().map(|(_, outcome)| outcome).collect();
    let most = outcomes
        .iter()
        .max_by_key(|it| it.reached)
        .map_or((0, None), |it| (it.reached, it.bound));
    let bound = most
        .1
        .map_or_else(|| "-".to_owned(), |bound| bound.to_string());
    let percent = |holds: &dyn Fn(&Outcome) -> bool| {
        let count = outcomes.iter().filter(|it| holds(it)).count();
        format!("{} %", count * 100 / outcomes.len().max(1))
    };
    let mean = |of: &dyn Fn(&Outcome) -> f64| {
        let sum: f64 = outcomes.iter().map(|it| of(it)).sum();
        sum / outcomes.iter().map(|_| 1.0).sum::<f64>().max(1.0)
    };
    let after_stop = outcomes.iter().map(|it| it.after_stop).max().unwrap_or(0);
    let without_go: u32 = outcomes.iter().map(|it| it.without_go).sum();
    let events: u64 = outcomes.iter().map(|it| it.events).sum();
    let waves = outcomes
        .iter()
        .map(|it| it.wave_hours.len())
        .max()
        .unwrap_or(0);
    let hours: Vec<String> = (0..waves)
        .map(|wave| median_hours(&outcomes, |it| it.wave_hours.get(wave).copied().flatten()))
        .collect();
    let (halted, done) = (percent(&|it| it.halts > 0), percent(&|it| it.reaches_all));
    format!(
        "{:>9} {:>7} {halted:>7} {done:>7} {after_stop:>8} {without_go:>9} {events:>9} {:>5.1} {:>5.1} {:>6}  {}",
        most.0,
        bound,
        mean(&|it| it.questions),
        mean(&|it| it.transactions),
        median_hours(&outcomes, |it| it.last_hours),
        hours.join(", ")
    )
}

/// Returns the median of hours; a dash if most outcomes have none.
fn median_hours(outcomes: &[&Outcome], of: impl Fn(&Outcome) -> Option<f64>) -> String {
    let mut hours: Vec<f64> = outcomes
        .iter()
        .map(|it| of(it).unwrap_or(f64::INFINITY))
        .collect();
    hours.sort_by(f64::total_cmp);
    let median = hours.get(hours.len() / 2).filter(|hours| hours.is_finite());
    median.map_or_else(|| "-".to_owned(), |hours| format!("{hours:.1}"))
}
