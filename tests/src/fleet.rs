//! A fleet: thousands of devices of both kinds, an administrator who changes their groups, and a
//! service with many faults. In the end, the records are compared with a model and with the signed
//! state.
//!
//! Devices check in and report over real connections, some of them twice and in any order, and
//! retry requests that were answered with 503. The administrator acts between two rounds of
//! check-ins, so that the model does not depend on the order in which requests are served.

mod administrator;
mod caller;
mod compare;
mod function;
mod model;
mod plan;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use packcast_protocol::{GroupName, Outcome};

use self::administrator::FleetNames;
pub use self::compare::{GroupCount, PackageCount};
use self::function::FleetEdge;
use self::model::{ExpectedReply, FleetModel, ModelPackage, ModelResult};
use self::plan::{GROUPS, PRIORITIES, ROUNDS};
use self::work::{FleetContext, Job, PlannedCheckIn};
use crate::settings::settings;
use packcast_testing::administrator::Administrator as _;
use packcast_testing::fault::{FaultRates, HoldTimes, Injected, RefusedWrites};
use packcast_testing::peer::{Peer, PeerResult};
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table};

/// Number of connections that the devices share.
pub const CONNECTIONS: usize = 8;

/// Time between two rounds, long enough that the function no longer uses its caches.
const ROUND_S: u64 = 3_600;

/// Options of a run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub devices: u32,
    /// The seed of the plan; the order in which requests are served does not depend on it.
    pub seed: u64,
    pub faults: FaultRates,
    /// The duration of writes; `None` if writes of one item never meet.
    pub hold_times: Option<HoldTimes>,
}

/// Receives the name of a phase, and how many of its jobs are done.
pub type Watch = Arc<dyn Fn(&str, usize, usize) + Send + Sync>;

/// The result of a run.
#[derive(Clone, Debug)]
pub struct FleetReport {
    pub phases: Vec<Phase>,
    pub packages: Vec<PackageCount>,
    pub groups: Vec<GroupCount>,
    pub injected: Injected,
    /// Writes that were refused because of other writes.
    pub refused: RefusedWrites,
    /// Number of requests for each operation on the table.
    pub operations: BTreeMap<String, usize>,
    /// Differences between the records and the model, in words; empty if there are none.
    pub differences: Vec<String>,
}

/// A step of the plan, with its counts.
#[derive(Clone, Debug)]
pub struct Phase {
    pub name: String,
    /// Requests of devices, including retries.
    pub requests: u64,
    /// Requests that were answered with 503.
    pub refused: u64,
    /// Operations on the table.
    pub operations: usize,
    pub time: Duration,
}

/// Runs a fleet on an embedded engine.
pub async fn run(options: Options, watch: Watch) -> FleetReport {
    let mut fleet = Fleet::start(options, watch).await;
    fleet.enrol().await;
    let mut results = Vec::new();
    for number in 0..ROUNDS {
        fleet.act(number).await;
        let replies = fleet.check_in(number, &results).await;
        results = fleet.report(number, &replies).await;
        fleet.stray(number, &results).await;
    }
    fleet.compare().await
}

/// The results of devices, in the order in which each reports them.
type Results = Vec<(usize, Vec<PeerResult>)>;

struct Fleet {
    table: Table,
    edge: FleetEdge,
    context: Arc<FleetContext>,
    model: FleetModel,
    random: Rng,
    report: FleetReport,
    options: Options,
}

impl Fleet {
    async fn start(options: Options, watch: Watch) -> Self {
        let table = Table::start(options.seed).await;
        let mut random = Rng::with_seed(options.seed);
        let peers: Vec<Peer> = (0..options.devices)
            .map(|number| match random.u8(0..4) {
                0 => Peer::packcast(number),
                _ => Peer::ocs(number),
            })
            .collect();
        let ocs: Vec<bool> = peers.iter().map(Peer::is_ocs).collect();
        let packages = PRIORITIES.map(|priority| ModelPackage {
            priority,
            is_active: true,
        });
        let model = FleetModel::new(packages.into(), GROUPS.len(), &ocs);
        let names = names(&table, &peers).await;
        let edge = FleetEdge::start(&table.records, &settings(), NOW).await;
        let context = FleetContext {
            address: edge.address,
            clock: Arc::clone(&edge.clock),
            records: table.records.clone(),
            peers,
            names,
            watch,
        };
        let report = FleetReport {
            phases: Vec::new(),
            packages: Vec::new(),
            groups: Vec::new(),
            injected: Injected::default(),
            refused: RefusedWrites::default(),
            operations: BTreeMap::new(),
            differences: Vec::new(),
        };
        Self {
            table,
            edge,
            context: Arc::new(context),
            model,
            random,
            report,
            options,
        }
    }

    /// Performs jobs in random order, over all connections at once.
    async fn phase(&mut self, name: String, mut jobs: Vec<Job>) {
        self.random.shuffle(&mut jobs);
        let begun = Instant::now();
        let done = work::all(&self.context, &name, jobs).await;
        let operations = self.table.meter.take().operations;
        self.report.phases.push(Phase {
            name,
            requests: done.requests,
            refused: done.refused,
            operations: operations.len(),
            time: begun.elapsed(),
        });
        for operation in operations {
            *self.report.operations.entry(operation).or_default() += 1;
        }
        self.report.differences.extend(done.differences);
    }

    /// Lets every device check in for the first time, some of them twice at once.
    async fn enrol(&mut self) {
        self.table.faults.set_rates(self.options.faults);
        self.table.faults.hold_items(self.options.hold_times);
        let mut jobs = Vec::new();
        for device in 0..self.model.devices.len() {
            self.model.check_in(device);
            let copies = copies(&mut self.random);
            jobs.extend((0..copies).map(|_| Job::Enrol(device)));
        }
        self.phase("enrol".to_owned(), jobs).await;
    }

    async fn act(&mut self, number: usize) {
        // The functions read all groups again after this time.
        self.edge.clock.advance(ROUND_S);
        let acts = plan::round(number, &self.model, &mut self.random);
        for (part, acts) in ["move", "groups", "devices"].into_iter().zip(acts) {
            for act in &acts {
                plan::follow(&mut self.model, *act);
            }
            if !acts.is_empty() {
                let jobs = acts.into_iter().map(Job::Act).collect();
                self.phase(format!("{}: {part}", number + 1), jobs).await;
            }
        }
    }

    /// Lets every device check in, some of them twice at once; some Packcast agents bring results
    /// that they have reported already.
    async fn check_in(&mut self, number: usize, before: &Results) -> Vec<ExpectedReply> {
        let before: BTreeMap<usize, &Vec<PeerResult>> = before
            .iter()
            .map(|(device, results)| (*device, results))
            .collect();
        let mut jobs = Vec::new();
        let mut replies = Vec::new();
        for device in 0..self.model.devices.len() {
            let reply = self.model.check_in(device);
            let resent = before.get(&device).filter(|_| self.random.u8(0..5) == 0);
            let job = PlannedCheckIn {
                device,
                resent: resent.map(|results| (*results).clone()).unwrap_or_default(),
                expected: reply.clone(),
            };
            let copies = copies(&mut self.random);
            jobs.extend((0..copies).map(|_| Job::CheckIn(job.clone())));
            replies.push(reply);
        }
        self.phase(format!("{}: check-ins", number + 1), jobs).await;
        replies
    }

    /// Lets most devices report results of most of their tasks, some results two or three times.
    async fn report(&mut self, number: usize, replies: &[ExpectedReply]) -> Results {
        let mut jobs: Vec<Job> = (0..PRIORITIES.len()).map(Job::Look).collect();
        let mut results = Results::new();
        for (device, reply) in replies.iter().enumerate() {
            let drawn = self.draw_results(device, reply);
            for part in split(&drawn, &mut self.random) {
                let copies = copies(&mut self.random);
                jobs.extend((0..copies).map(|_| Job::Report(device, part.clone())));
            }
            if !drawn.is_empty() {
                results.push((device, drawn));
            }
        }
        self.phase(format!("{}: reports", number + 1), jobs).await;
        results
    }

    fn draw_results(&mut self, device: usize, reply: &ExpectedReply) -> Vec<PeerResult> {
        let mut results = Vec::new();
        for (package, attempt) in &reply.tasks {
            if self.random.u8(0..100) < 70 {
                let drawn = if self.model.devices[device].is_ocs {
                    self.random.choice(OCS_RESULTS)
                } else {
                    self.random.choice(RESULTS)
                };
                results.extend(drawn.map(|result| (*package, *attempt, result)));
            }
        }
        for (package, attempt) in &reply.cancel {
            let drawn = self.random.choice(CANCELLED_RESULTS);
            results.extend(drawn.flatten().map(|result| (*package, *attempt, result)));
        }
        self.random.shuffle(&mut results);
        results
            .into_iter()
            .map(|(package, attempt, result)| self.result(device, package, attempt, result))
            .collect()
    }

    fn result(
        &mut self,
        device: usize,
        package: usize,
        attempt: u32,
        (code, outcome): (&'static str, Outcome),
    ) -> PeerResult {
        let done = ModelResult {
            attempt,
            code,
            outcome,
        };
        self.model.report(device, package, done);
        PeerResult {
            package: self.context.names.packages[package].id,
            attempt,
            code,
        }
    }

    /// Lets some devices contradict their results, and report results of tasks they never had.
    async fn stray(&mut self, number: usize, results: &Results) {
        let mut jobs = Vec::new();
        for (device, results) in results {
            let is_stray = self.random.u8(0..10) == 0;
            for result in results.iter().filter(|_| is_stray) {
                let other = PeerResult {
                    code: "ERR_CLEAN",
                    ..result.clone()
                };
                jobs.push(Job::Report(*device, vec![other]));
            }
            if is_stray {
                let package = self.random.usize(0..PRIORITIES.len());
                let never = ("ERR_BAD_ID", Outcome::Failed);
                let result = self.result(*device, package, 1, never);
                jobs.push(Job::Report(*device, vec![result]));
            }
        }
        self.phase(format!("{}: strays", number + 1), jobs).await;
    }

    async fn compare(mut self) -> FleetReport {
        self.report.injected = self.table.faults.injected();
        self.report.refused = self.table.faults.refused_writes();
        // From here on, a difference is an error of the records and not of the reading.
        self.table.faults.set_rates(FaultRates::default());
        self.table.faults.hold_items(None);
        let model = Arc::new(std::mem::replace(
            &mut self.model,
            FleetModel::new(Vec::new(), 1, &[]),
        ));
        let devices = 0..model.devices.len();
        let jobs = devices.map(|device| Job::Compare(Arc::clone(&model), device));
        self.phase("compare".to_owned(), jobs.collect()).await;
        let (records, names) = (&self.table.records, &self.context.names);
        for package in 0..PRIORITIES.len() {
            let (count, differences) = compare::package(records, names, &model, package).await;
            self.report.packages.push(count);
            self.report.differences.extend(differences);
        }
        for group in 0..GROUPS.len() {
            let (count, differences) = compare::group(records, names, &model, group).await;
            self.report.groups.push(count);
            self.report.differences.extend(differences);
        }
        let of_state = compare::signed_state(records, self.edge.clock.now()).await;
        self.report.differences.extend(of_state);
        let scans = self.table.meter.scans();
        if scans > 0 {
            let scans = format!("{scans} operations were Scans");
            self.report.differences.push(scans);
        }
        self.report
    }
}

const OCS_RESULTS: [(&str, Outcome); 4] = [
    ("SUCCESS", Outcome::Succeeded),
    ("SUCCESS_0", Outcome::Succeeded),
    ("SUCCESS_3", Outcome::Failed),
    ("ERR_EXECUTE", Outcome::Failed),
];

const RESULTS: [(&str, Outcome); 3] = [
    ("SUCCESS_0", Outcome::Succeeded),
    ("SUCCESS_0", Outcome::Succeeded),
    ("ERR_UNZIP", Outcome::Failed),
];

/// The results that Packcast agents report for tasks to cancel; `None` if there is no result yet.
const CANCELLED_RESULTS: [Option<(&str, Outcome)>; 4] = [
    None,
    Some(("SUCCESS_0", Outcome::Succeeded)),
    Some(("CANCELLED", Outcome::Cancelled)),
    Some(("CANCELLED", Outcome::Cancelled)),
];

/// Draws how often a device sends a request.
fn copies(random: &mut Rng) -> usize {
    match random.u8(0..20) {
        0 => 3,
        1..4 => 2,
        _ => 1,
    }
}

/// Splits results into one request or two.
fn split(results: &[PeerResult], random: &mut Rng) -> Vec<Vec<PeerResult>> {
    let (first, second) = results.split_at(random.usize(0..=results.len()));
    let parts = [first, second].into_iter();
    parts
        .filter(|part| !part.is_empty())
        .map(<[PeerResult]>::to_vec)
        .collect()
}

async fn names(table: &Table, peers: &[Peer]) -> FleetNames {
    let mut packages = Vec::new();
    for (number, priority) in (0..).zip(PRIORITIES) {
        let name = format!("package-{number}");
        let package = table.package_at(&name, priority, NOW.plus(number)).await;
        packages.push(package);
    }
    let groups = GROUPS.map(|name| name.parse().expect("a group's name"));
    for group in groups.iter().filter(|group| !GroupName::is_all(group)) {
        let created = table.records.create_group(group, signing()).await;
        created.expect("a group can be created");
    }
    FleetNames {
        devices: peers.iter().map(Peer::device).collect(),
        groups: groups.into(),
        packages,
    }
}
