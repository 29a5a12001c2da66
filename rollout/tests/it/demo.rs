//! Demonstration of a rollout to 1,000 devices with four packages: the promise, the time line, and
//! the result against the promise.

use packcast_rollout::rollout::{GateStatus, RolloutPlan, promises};

use crate::simulation::{Outcome, PackageKind, START, Scenario, simulate};
use crate::timeline::{Happened, Line};

const DEVICES: u32 = 1_000;

/// Seed of a demonstration without rare events.
pub(crate) const DEFAULT_SEED: u64 = 4;

/// Columns of a terminal.
const COLUMNS: usize = 80;

/// Demonstrated packages with their titles.
pub(crate) const PACKAGES: [(&str, PackageKind); 4] = [
    (
        "a package that kills every machine",
        PackageKind::KillsEverywhere,
    ),
    (
        "a package that fails on 5 % of the machines",
        PackageKind::FailsOn(5),
    ),
    (
        "a package that fails on 1 % of the machines",
        PackageKind::FailsOn(1),
    ),
    ("a good package", PackageKind::Good),
];

/// Demonstration of one package.
pub(crate) struct Demo {
    pub(crate) text: String,
    /// Each bound has held.
    pub(crate) is_kept: bool,
    pub(crate) outcome: Outcome,
}

/// Simulates a rollout without a person, and writes its promise, its time line and its result.
pub(crate) fn demo(title: &str, kind: PackageKind, seed: u64) -> Demo {
    let outcome = simulate(Scenario {
        devices: DEVICES,
        kind,
        lids: true,
        has_person: false,
        seed,
    });
    let limits = *outcome.plan.limits.values();
    let bounds = bounds(kind, &outcome);
    let is_kept = outcome.broken.is_none() && bounds.iter().all(Bound::is_kept);
    let mut parts = vec![format!("=== {title}: {DEVICES} devices, seed {seed} ===\n")];
    let promised = promises(&limits, outcome.plan.reaches(0), duration);
    let promised: Vec<String> = promised.iter().map(|line| wrapped(line)).collect();
    parts.push(format!("{}\n", waves(&outcome.plan)));
    parts.push(format!("{}\n", promised.join("\n")));
    parts.push(format!("{}\n", timeline(&outcome)));
    parts.push(results(&bounds, &outcome));
    Demo {
        text: parts.join("\n"),
        is_kept,
        outcome,
    }
}

/// Writes the waves of a plan, with times since the start.
fn waves(plan: &RolloutPlan) -> String {
    let mut lines = vec!["WAVE  DEVICES  OPENS         REACHED  AT ONCE  BEHIND".to_owned()];
    for wave in &plan.waves {
        let opens = wave.from.map_or_else(
            || "with promote".to_owned(),
            |from| elapsed(from.since(START)),
        );
        let (number, devices) = (wave.number.get(), wave.members);
        let (reached, at_once, behind) = (wave.reached, wave.at_once, wave.left_behind);
        lines.push(format!(
            "{number:<4}  {devices:<7}  {opens:<12}  {reached:<7}  {at_once:<7}  {behind}"
        ));
    }
    lines.join("\n")
}

/// Writes the events with the totals of programs that have begun, healthy devices and failures.
fn timeline(outcome: &Outcome) -> String {
    let row = |time: &str, event: &str, totals: [String; 3]| {
        let [begun, healthy, failed] = totals;
        format!("{time:<9}  {event:<46}  {begun:>5} {healthy:>7} {failed:>6}")
    };
    let heading = ["BEGUN", "HEALTHY", "FAILED"].map(ToOwned::to_owned);
    let mut lines = vec![row("AFTER", "EVENT", heading)];
    for line in &outcome.timeline.lines {
        let time = elapsed(line.at.since(START));
        let totals = line.totals.map(|total| total.to_string());
        lines.push(row(&time, &event(line, &outcome.plan), totals));
    }
    lines.join("\n")
}

fn event(line: &Line, plan: &RolloutPlan) -> String {
    let round = &line.round;
    let unhealthy = round.begun - round.healthy;
    match &line.happened {
        Happened::Opened(wave) => {
            format!(
                "wave {} opens: {} devices",
                wave + 1,
                plan.waves[*wave].members
            )
        }
        Happened::Began(device) => format!("program {} begins on web{device}", line.totals[0]),
        Happened::Died(device) => format!("web{device} is never heard from again"),
        Happened::Failed(device) => {
            format!("failure {} is recorded, of web{device}", line.totals[2])
        }
        Happened::Healthy(wave, 1) => format!("the first device of wave {} is healthy", wave + 1),
        Happened::Healthy(wave, healthy) => {
            let members = plan.waves[*wave].members;
            format!("wave {}: {healthy} of {members} are healthy", wave + 1)
        }
        Happened::Full => format!("full: {unhealthy} places are taken, other devices wait"),
        Happened::Halted => {
            let (failed, healthy) = (round.failed, round.healthy);
            format!("HALTED: {failed} failures, {healthy} healthy in this wave")
        }
        Happened::Complete => "COMPLETE: the last wave has gone well".to_owned(),
        Happened::Ended(status) => ending(status),
        Happened::Step => String::new(),
    }
}

/// Writes the state in which a rollout stays.
fn ending(status: &GateStatus) -> String {
    match status {
        GateStatus::Complete => "the last device has a result".to_owned(),
        GateStatus::Halted { .. } => "still halted: a person resumes or ends it".to_owned(),
        GateStatus::Full { failed, silent } => {
            format!("still FULL: {failed} failed, {silent} not heard from")
        }
        GateStatus::Unhealthy { failed, silent } => {
            format!("still WAITS: {failed} failed, {silent} not heard from")
        }
        GateStatus::NotBegun { devices } => {
            format!("still WAITS: {devices} devices have not begun")
        }
        status => format!("{status:?}"),
    }
}

/// Number of the result with its bound.
struct Bound {
    name: String,
    found: u32,
    most: u32,
}

impl Bound {
    const fn is_kept(&self) -> bool {
        self.found <= self.most
    }
}

fn bounds(kind: PackageKind, outcome: &Outcome) -> Vec<Bound> {
    let mut bounds = Vec::new();
    if let Some(most) = outcome.bound {
        bounds.push(Bound {
            name: "machines on which the program has begun".to_owned(),
            found: outcome.reached,
            most,
        });
    }
    for (wave, found) in outcome.plan.waves.iter().zip(&outcome.timeline.at_once) {
        bounds.push(Bound {
            name: format!("at once in wave {}: begun and not healthy", wave.number),
            found: *found,
            most: wave.at_once,
        });
    }
    bounds.push(Bound {
        name: "programs that began without a valid permission".to_owned(),
        found: outcome.without_go,
        most: 0,
    });
    // Each of these programs has a place.
    bounds.push(Bound {
        name: "programs begun by permissions from before a halt".to_owned(),
        found: outcome.after_stop,
        most: outcome.plan.limits.values().at_once,
    });
    let stops = matches!(
        outcome.status,
        GateStatus::Halted { .. } | GateStatus::Full { .. }
    );
    if kind == PackageKind::KillsEverywhere {
        bounds.push(Bound {
            name: "rollouts that neither halted nor became full".to_owned(),
            found: u32::from(!stops),
            most: 0,
        });
    }
    bounds
}

fn results(bounds: &[Bound], outcome: &Outcome) -> String {
    let mut lines = vec![format!("{:<48}  {:>5}  {:>5}", "RESULT", "FOUND", "BOUND")];
    for bound in bounds {
        let word = if bound.is_kept() { "ok" } else { "BROKEN" };
        let Bound { name, found, most } = bound;
        lines.push(format!("{name:<48}  {found:>5}  {most:>5}  {word}"));
    }
    if let Some(promise) = &outcome.broken {
        lines.push(wrapped(&format!("BROKEN: {promise}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Writes a time since the start, such as `1d 08:00`.
fn elapsed(seconds: u64) -> String {
    let minutes = seconds / 60;
    let (days, hours) = (minutes / (24 * 60), minutes / 60 % 24);
    format!("{days}d {hours:02}:{:02}", minutes % 60)
}

/// Writes a length of time as the program `packcast` does.
fn duration(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..5_400 => (seconds / 60, "minute"),
        _ => (seconds / 3_600, "hour"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// Breaks a text at blanks into lines that fit the terminal.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is always a line");
        if last.is_empty() {
            last.push_str(word);
        } else if last.len() + 1 + word.len() <= COLUMNS {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}
