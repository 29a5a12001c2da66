//! The cost of a month of a fleet in the cloud: requests counted on the real handler and the real
//! records, multiplied by `prices.toml`.

mod month;
mod prices;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::ProgressBar;

use crate::month::{MonthPlan, RequestCounts, SimulatedCounts};
use crate::prices::{Bill, BillLine, MonthObjects, Prices};

/// Count the requests of a fleet to the cloud in a month, and their cost for 1,000 devices
#[derive(Parser)]
#[command(bin_name = "just cost")]
struct Args {
    /// Number of simulated devices; the bill is for 1,000
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// Number of simulated days; the bill is for a month [default: 2, with --rollout 9]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    days: Option<u32>,
    /// Check-ins of each device per hour: 0.5 is every two hours
    #[arg(long = "check-ins-per-hour", value_name = "N", default_value = "1", value_parser = per_day)]
    check_ins_per_day: u32,
    /// Number of packages that all devices get in the month
    #[arg(long, default_value_t = 4)]
    packages: u32,
    /// Number of fragments of each package
    #[arg(long, default_value_t = 20)]
    fragments: u32,
    /// Size of a fragment, in bytes
    #[arg(long, default_value_t = 1 << 20)]
    fragment_bytes: u32,
    /// Simulate devices with OCS agents
    #[arg(long)]
    ocs: bool,
    /// Also simulate rollouts of the packages, and fail if they cost more than the limits
    #[arg(long)]
    rollout: bool,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// Parses a number per hour, and returns the number per day.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number from 1 to 1440"
)]
fn per_day(per_hour: &str) -> Result<u32, &'static str> {
    let count = per_hour
        .parse()
        .map_or(f64::NAN, |n: f64| (24.0 * n).round());
    if (1.0..=1440.0).contains(&count) {
        Ok(count as u32)
    } else {
        Err("expected a number from 0.042, which is once a day, to 60")
    }
}

/// Maximum number of requests that a rollout adds to a package on a device.
const MOST_REQUESTS: f64 = 2.0;

/// Maximum number of write units that a rollout adds to a package on a device.
const MOST_WRITE_UNITS: f64 = 10.0;

/// Share of a device in the write units of a whole rollout, such as those that open its waves.
const SHARED_WRITE_UNITS: f64 = 0.1;

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let plan = MonthPlan {
        devices: args.devices,
        days: args.days.unwrap_or(if args.rollout { 9 } else { 2 }),
        check_ins_per_day: args.check_ins_per_day,
        packages: args.packages,
        ocs: args.ocs,
        rollouts: false,
    };
    let simulated = simulate(plan).await;
    let asked = simulated.month(plan);
    let objects = MonthObjects {
        packages: f64::from(args.packages),
        fragments: f64::from(args.fragments),
        fragment_bytes: f64::from(args.fragment_bytes),
        // OCS agents download `info`, Packcast agents the manifest and its signature.
        documents: if args.ocs { 1.0 } else { 2.0 },
    };
    let prices = Prices::read();
    let bill = |asked| prices.bill(asked, simulated.processor_s(), objects);
    let out = &mut io::stdout();
    print(out, &args, plan, &simulated, &prices, &bill(&asked))?;
    if !args.rollout {
        return Ok(ExitCode::SUCCESS);
    }
    let by_rollouts = MonthPlan {
        rollouts: true,
        ..plan
    };
    let of_rollouts = simulate(by_rollouts).await;
    let more = of_rollouts
        .of_devices()
        .beyond(&simulated.of_devices(), 1.0);
    let scale = 1000.0 / f64::from(plan.devices);
    let mut month = of_rollouts.total().beyond(&simulated.total(), scale);
    month += asked;
    let is_within = print_rollouts(out, &more, of_rollouts.total().deployments)?;
    let (without, with) = (bill(&asked).totals().0, bill(&month).totals().0);
    writeln!(
        out,
        "1,000 of these devices for a month, with rollouts, without egress, in US dollars:"
    )?;
    for (region, (without, with)) in prices.regions.iter().zip(without.iter().zip(&with)) {
        let more = with - without;
        writeln!(out, "    {region}: {with:.4}, which is {more:.4} more")?;
    }
    if more.deployments.abs() > f64::EPSILON {
        writeln!(
            out,
            "the rollouts did not end within {} days: pass --days",
            plan.days
        )?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::from(u8::from(!is_within)))
}

/// Prints the counts that rollouts add, and returns true if they are within the limits.
fn print_rollouts(
    out: &mut impl io::Write,
    more: &RequestCounts,
    deployments: f64,
) -> io::Result<bool> {
    print_counts(
        out,
        "a rollout adds to a package on a device",
        more,
        deployments,
    )?;
    let (requests, write_units) = (more.requests / deployments, more.write_units / deployments);
    let is_within =
        requests <= MOST_REQUESTS && write_units <= MOST_WRITE_UNITS + SHARED_WRITE_UNITS;
    let verdict = if is_within { "within" } else { "BEYOND" };
    writeln!(
        out,
        "{verdict} the limits of {MOST_REQUESTS} requests and {MOST_WRITE_UNITS} write units"
    )?;
    Ok(is_within)
}

/// Simulates the days, with a progress bar on terminals.
async fn simulate(plan: MonthPlan) -> SimulatedCounts {
    let bar = ProgressBar::new(month::count(plan));
    let done = Arc::new(AtomicU64::new(0));
    let month = month::simulate(plan, Arc::clone(&done));
    let shown = bar.clone();
    let showing = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            shown.set_position(done.load(Ordering::Relaxed));
        }
    });
    let simulated = month.await;
    showing.abort();
    bar.finish_and_clear();
    simulated
}

fn print(
    out: &mut impl io::Write,
    args: &Args,
    plan: MonthPlan,
    simulated: &SimulatedCounts,
    prices: &Prices,
    bill: &Bill,
) -> io::Result<()> {
    writeln!(
        out,
        "simulated: {} days of {} devices with {} agents, {} check-ins a day, {} packages",
        plan.days,
        args.devices,
        if args.ocs { "OCS" } else { "Packcast" },
        args.check_ins_per_day,
        args.packages,
    )?;
    print_counts(
        out,
        "an idle check-in",
        &simulated.idle,
        f64::from(simulated.idle_check_ins),
    )?;
    print_counts(
        out,
        "a package on a device",
        &simulated.working,
        simulated.working.deployments,
    )?;
    writeln!(
        out,
        "1,000 of these devices for a month, {} fragments of {} bytes in each package, in US dollars:",
        args.fragments, args.fragment_bytes,
    )?;
    writeln!(out, "{}", table(prices, bill))?;
    writeln!(
        out,
        "the function is billed {:.0} ms per request, including {:.2} ms of processor time",
        bill.billed_s * 1000.0,
        simulated.processor_s() * 1000.0,
    )
}

fn print_counts(
    out: &mut impl io::Write,
    subject: &str,
    asked: &RequestCounts,
    times: f64,
) -> io::Result<()> {
    if times == 0.0 {
        return Ok(());
    }
    writeln!(
        out,
        "{subject}: {:.2} requests, {:.2} operations on the table, {:.2} read units, {:.2} write units",
        asked.requests / times,
        asked.operations / times,
        asked.read_units / times,
        asked.write_units / times,
    )
}

fn table(prices: &Prices, bill: &Bill) -> Table {
    let mut table = Table::new();
    let heads = ["", "quantity", ""].map(str::to_owned);
    table
        .load_style(presets::NOTHING)
        .set_header(heads.iter().chain(&prices.regions));
    for line in &bill.lines {
        table.add_row(row(line));
    }
    let (without, with) = bill.totals();
    table.add_row(total("without egress", &without));
    table.add_row(row(&bill.egress));
    table.add_row(total("with egress", &with));
    table.add_row(row(&bill.stack));
    table
}

fn row(line: &BillLine) -> Vec<Cell> {
    let mut cells = vec![
        Cell::new(line.name),
        right(format!("{:.0}", line.quantity)),
        Cell::new(line.unit),
    ];
    cells.extend(dollars(&line.usd));
    cells
}

fn total(name: &str, usd: &[f64]) -> Vec<Cell> {
    let mut cells = vec![Cell::new(name), Cell::new(""), Cell::new("")];
    cells.extend(dollars(usd));
    cells
}

fn dollars(usd: &[f64]) -> impl Iterator<Item = Cell> {
    usd.iter().map(|usd| right(format!("{usd:.4}")))
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
