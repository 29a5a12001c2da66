//! Devices that check in at a rate, while an administrator stops their package.
//!
//! The clock is simulated, and so is the time of each write: [`HoldTimes::ASSUMED`]. Everything else
//! takes no time. The functions, the store and the administrator are the real ones. The administrator
//! repeats a command that meets too many other writes.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use http::StatusCode;
use packcast_check_in::{CheckInFunction, FunctionSettings};
use packcast_protocol::GroupName;
use packcast_rollout::PackageRecord;
use packcast_store::records::ActivateError;
use packcast_testing::administrator::{Administrator as _, answered};
use packcast_testing::fault::{HoldTimes, RefusedWrites, until_answered};
use packcast_testing::peer::Peer;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, device, mia};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Number of functions, each with a cache of its own.
const FUNCTIONS: usize = 2;

/// Time in which devices check in after the stop has returned.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// A load, and the stop in the middle of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Mean number of devices a second that check in for the first time since the assignment.
    pub(crate) per_second: u32,
    /// Seconds until the stop begins.
    pub(crate) seconds: u32,
    /// Seconds of load during which the stop may run.
    pub(crate) stop_seconds: u32,
    pub(crate) stop: Stop,
    pub(crate) seed: u64,
}

/// The command that stops the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Unassigns the package from the group `all`.
    Unassign,
    Deactivate,
}

/// The results of a load.
#[derive(Clone, Debug)]
pub(crate) struct LoadReport {
    /// Check-ins that ended before the stop began.
    pub(crate) check_ins: u64,
    /// Announcements on record when the stop began.
    pub(crate) announced: u64,
    /// Check-ins that were answered with 503 before the stop began.
    pub(crate) unavailable: u64,
    /// Writes that were refused before the stop began.
    pub(crate) refused: RefusedWrites,
    /// Write units per announcement before the stop began.
    pub(crate) write_units: f64,
    /// Duration of the stop. `None` if it took longer than the load.
    pub(crate) stopped_after: Option<Duration>,
    /// Announcements that were recorded after the stop had returned.
    pub(crate) announced_afterwards: u64,
}

/// Runs a load. The clock of the runtime must be paused.
pub(crate) async fn run(load: Load, settings: FunctionSettings) -> LoadReport {
    // The pauses of the store depend on this generator.
    fastrand::seed(load.seed);
    let world = World::start(load, settings).await;
    let stopped = Cell::new(None);
    let (load, stop) = tokio::join!(world.check_ins(&stopped), world.stop(&stopped));
    let (check_ins, unavailable) = load;
    let announced = world.announced().await;
    LoadReport {
        check_ins,
        unavailable,
        announced_afterwards: announced - stop.announced_at_end,
        ..stop.report
    }
}

struct World {
    load: Load,
    table: Table,
    package: PackageRecord,
    functions: Vec<Arc<CheckInFunction>>,
    begun: Instant,
}

struct Stopped {
    /// The report without the numbers of check-ins, and of announcements after the stop.
    report: LoadReport,
    announced_at_end: u64,
}

impl World {
    async fn start(load: Load, settings: FunctionSettings) -> Self {
        let table = Table::start_direct(load.seed).await;
        let package = table.package("vlc", 5).await;
        let devices = load.per_second * (load.seconds + load.stop_seconds);
        let write = async |records: &packcast_store::Records| {
            for number in 0..devices {
                let written = records.write_check_in(&device(number), None).await;
                written.expect("a device can be written");
            }
        };
        table.load(write).await;
        let all = GroupName::all();
        let assigned = table.records.assign_group(&all, &package, false, signing());
        assigned.await.expect("the package can be assigned");
        let function = || {
            Arc::new(CheckInFunction::new(
                table.records.clone(),
                settings.clone(),
            ))
        };
        let functions = (0..FUNCTIONS).map(|_| function()).collect();
        table.faults.hold_items(Some(HoldTimes::ASSUMED));
        table.meter.take();
        Self {
            load,
            package,
            functions,
            begun: Instant::now(),
            table,
        }
    }

    /// Lets devices check in until some time after the stop, or until all have checked in. Returns
    /// the check-ins before the stop, and those of them that were answered with 503.
    async fn check_ins(&self, stopped: &Cell<Option<Instant>>) -> (u64, u64) {
        let Load {
            per_second,
            seconds,
            stop_seconds,
            seed,
            ..
        } = self.load;
        let mut random = Rng::with_seed(seed);
        let mut answers = JoinSet::new();
        let mut next = self.begun;
        for number in 0..per_second * (seconds + stop_seconds) {
            // The times between arrivals have an exponential distribution.
            let pause = -(1.0 - random.f64()).ln() / f64::from(per_second);
            next += Duration::from_secs_f64(pause);
            tokio::time::sleep_until(next).await;
            if stopped.get().is_some_and(|at| at.elapsed() > AFTERWARDS) {
                break;
            }
            let index = random.usize(0..FUNCTIONS);
            let function = Arc::clone(&self.functions[index]);
            let begun = self.begun;
            answers.spawn(async move {
                let now = NOW.plus(begun.elapsed().as_secs());
                let request = Peer::ocs(number).check_in(&[], now);
                let status = function.handle(request, now).await.status();
                (begun.elapsed(), status)
            });
        }
        let before = Duration::from_secs(seconds.into());
        let (mut count, mut unavailable) = (0, 0);
        for (ended, status) in answers.join_all().await {
            if ended < before {
                count += 1;
                unavailable += u64::from(status == StatusCode::SERVICE_UNAVAILABLE);
            }
        }
        (count, unavailable)
    }

    async fn stop(&self, stopped: &Cell<Option<Instant>>) -> Stopped {
        sleep(Duration::from_secs(self.load.seconds.into())).await;
        let announced = self.announced().await;
        let refused = self.table.faults.refused_writes();
        let write_units = self.table.meter.take().write_units;
        let begun = Instant::now();
        let records = &self.table.records;
        match self.load.stop {
            Stop::Unassign => {
                let all = GroupName::all();
                until_answered(async || {
                    let unassigned = records.unassign_group(&all, self.package.id, signing());
                    answered(unassigned.await)
                })
                .await;
            }
            Stop::Deactivate => {
                until_answered(
                    async || match records.deactivate(self.package.id, &mia()).await {
                        Err(ActivateError::Records(error)) => Err(error),
                        deactivated => Ok(deactivated.expect("the package is published")),
                    },
                )
                .await;
            }
        }
        stopped.set(Some(Instant::now()));
        let announced_at_end = self.announced().await;
        let limit = Duration::from_secs(self.load.stop_seconds.into());
        let report = LoadReport {
            check_ins: 0,
            announced,
            unavailable: 0,
            refused,
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            write_units: write_units / announced.max(1) as f64,
            stopped_after: Some(begun.elapsed()).filter(|time| *time < limit),
            announced_afterwards: 0,
        };
        Stopped {
            report,
            announced_at_end,
        }
    }

    async fn announced(&self) -> u64 {
        let tally = self.table.records.tally(self.package.id).await;
        tally.expect("the tally can be read").announced
    }
}
