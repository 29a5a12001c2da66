//! A month of a fleet, on the real handler and the real records.
//!
//! Only some days of the month are simulated. The counts of idle check-ins are scaled to the month.
//! The counts of packages are taken as they are, because all packages of the month are published
//! in these days.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use packcast_check_in::CheckInFunction;
use packcast_protocol::api::{BeginReply, CheckInReply};
use packcast_protocol::ocs::envelope;
use packcast_protocol::state::document::RolloutGroups;
use packcast_protocol::state::{RolloutId, RolloutSeed};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::{
    OpeningTimes, PlanRequest, PlannedDevice, default_limits, default_shares, plan,
};
use packcast_store::records::Reserved;
use packcast_testing::administrator::Administrator as _;
use packcast_testing::peer::{Peer, PeerResult};
use packcast_testing::signing::{signing, signing_at};
use packcast_testing::table::{NOW, Table, location, mia, published, reservation};
use packcast_tests::rollout;
use packcast_tests::settings::settings;
use rustix::time::{ClockId, clock_gettime};

const DAY_S: u64 = 86_400;
/// The mean month: a year of 365.25 days has twelve.
const MONTH_DAYS: f64 = 30.4375;

/// The fleet, and its check-ins and packages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MonthPlan {
    pub(crate) devices: u32,
    /// Number of simulated days.
    pub(crate) days: u32,
    pub(crate) check_ins_per_day: u32,
    /// Number of packages that are published and assigned to all devices.
    pub(crate) packages: u32,
    /// Devices have OCS agents instead of Packcast agents.
    pub(crate) ocs: bool,
    /// The packages reach the devices by rollouts.
    pub(crate) rollouts: bool,
}

/// Counts of requests and of their use of the table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestCounts {
    /// Requests that the function answered.
    pub(crate) requests: f64,
    /// Bytes of the requests' bodies.
    pub(crate) request_bytes: f64,
    /// Bytes of the answers' bodies.
    pub(crate) answer_bytes: f64,
    /// Requests to the table.
    pub(crate) operations: f64,
    pub(crate) read_units: f64,
    pub(crate) write_units: f64,
    /// Number of packages that devices were announced and have reported.
    pub(crate) deployments: f64,
}

/// The counts of the simulated days.
#[derive(Debug, Default)]
pub(crate) struct SimulatedCounts {
    /// Counts of the check-ins without a task.
    pub(crate) idle: RequestCounts,
    /// Number of check-ins without a task.
    pub(crate) idle_check_ins: u32,
    /// Counts of packages: their publication, the check-ins that announce them, and the reports.
    pub(crate) working: RequestCounts,
    /// Counts of publications and assignments alone, which `working` has, too.
    pub(crate) publishing: RequestCounts,
    /// Processor time of the whole simulation: devices, handler and table.
    pub(crate) processor: Duration,
}

impl SimulatedCounts {
    /// Returns the counts of 1,000 devices in a month: the idle check-ins scaled to the month, and the
    /// packages.
    pub(crate) fn month(&self, plan: MonthPlan) -> RequestCounts {
        let check_ins = 1000.0 * MONTH_DAYS * f64::from(plan.check_ins_per_day);
        let idle = check_ins / f64::from(self.idle_check_ins);
        let working = 1000.0 / f64::from(plan.devices);
        let sum =
            |of: fn(&RequestCounts) -> f64| of(&self.idle) * idle + of(&self.working) * working;
        RequestCounts {
            requests: sum(|asked| asked.requests),
            request_bytes: sum(|asked| asked.request_bytes),
            answer_bytes: sum(|asked| asked.answer_bytes),
            operations: sum(|asked| asked.operations),
            read_units: sum(|asked| asked.read_units),
            write_units: sum(|asked| asked.write_units),
            deployments: sum(|asked| asked.deployments),
        }
    }

    /// Returns the counts of the simulated days.
    pub(crate) fn total(&self) -> RequestCounts {
        let mut total = self.idle;
        total += self.working;
        total
    }

    /// Returns the counts of the devices, without publications and assignments.
    pub(crate) fn of_devices(&self) -> RequestCounts {
        self.total().beyond(&self.publishing, 1.0)
    }

    /// Returns the processor time of one request, in seconds.
    pub(crate) fn processor_s(&self) -> f64 {
        self.processor.as_secs_f64() / (self.idle.requests + self.working.requests)
    }
}

impl std::ops::AddAssign for RequestCounts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.request_bytes += other.request_bytes;
        self.answer_bytes += other.answer_bytes;
        self.operations += other.operations;
        self.read_units += other.read_units;
        self.write_units += other.write_units;
        self.deployments += other.deployments;
    }
}

impl RequestCounts {
    /// Returns the counts beyond those of `other`, multiplied by a factor.
    pub(crate) fn beyond(&self, other: &Self, factor: f64) -> Self {
        let more = |of: fn(&Self) -> f64| (of(self) - of(other)) * factor;
        Self {
            requests: more(|asked| asked.requests),
            request_bytes: more(|asked| asked.request_bytes),
            answer_bytes: more(|asked| asked.answer_bytes),
            operations: more(|asked| asked.operations),
            read_units: more(|asked| asked.read_units),
            write_units: more(|asked| asked.write_units),
            deployments: more(|asked| asked.deployments),
        }
    }
}

/// The table and the function that the fleet uses.
struct Cloud {
    table: Table,
    function: CheckInFunction,
    group: GroupName,
    /// The members of the group; empty without rollouts.
    members: Vec<PlannedDevice>,
    /// Times before which a device does not ask again.
    ask_from: HashMap<(DeviceId, PackageId), UnixTime>,
    /// The counts since the last call of [`Cloud::take`].
    asked: RequestCounts,
}

/// A check-in of a device, with the requests that follow from it.
struct CheckedIn {
    /// The device has sent further requests.
    is_working: bool,
    /// The device returns after this number of seconds, earlier than usual.
    returns_after_s: Option<u64>,
}

/// Simulates the days; `done` is set to the number of check-ins so far.
pub(crate) async fn simulate(plan: MonthPlan, done: Arc<AtomicU64>) -> SimulatedCounts {
    let peer = if plan.ocs { Peer::ocs } else { Peer::packcast };
    let peers: Vec<Peer> = (0..plan.devices).map(peer).collect();
    let mut cloud = Cloud::begin(&peers, plan.rollouts).await;
    let mut simulated = SimulatedCounts::default();
    let mut published = 0;
    let before = processor_time();
    let mut scheduled = check_ins(plan).peekable();
    // The check-ins of devices that the function has asked to return earlier.
    let mut returns = BinaryHeap::<Reverse<(UnixTime, usize)>>::new();
    loop {
        let next = scheduled.peek().map(|(_, at)| *at);
        let is_return = returns
            .peek()
            .is_some_and(|Reverse((at, _))| next.is_some_and(|next| *at < next));
        let (device, at) = if is_return {
            let Some(Reverse((at, device))) = returns.pop() else {
                break;
            };
            (device, at)
        } else {
            let Some(check_in) = scheduled.next() else {
                break;
            };
            done.fetch_add(1, Ordering::Relaxed);
            check_in
        };
        if published < plan.packages && at >= publication(plan, published) {
            cloud.publish(published, at).await;
            let publishing = cloud.take();
            simulated.working += publishing;
            simulated.publishing += publishing;
            published += 1;
        }
        let checked_in = cloud.check_in(&peers[device], at).await;
        if let Some(after_s) = checked_in.returns_after_s {
            returns.push(Reverse((at.plus(after_s), device)));
        }
        if checked_in.is_working || is_return {
            simulated.working += cloud.take();
        } else {
            simulated.idle += cloud.take();
            simulated.idle_check_ins += 1;
        }
    }
    simulated.processor = processor_time().saturating_sub(before);
    simulated
}

/// Returns the device and the time of each check-in, evenly spread.
fn check_ins(plan: MonthPlan) -> impl Iterator<Item = (usize, UnixTime)> {
    let devices = u64::from(plan.devices);
    (0..count(plan)).map(move |n| {
        let device = usize::try_from(n % devices).expect("a device has a place in memory");
        let after_s = n * u64::from(plan.days) * DAY_S / count(plan);
        // Last seen is written once a day, so the simulation begins on the day after enrolment.
        (device, NOW.plus(DAY_S + after_s))
    })
}

/// Returns the number of simulated check-ins.
pub(crate) fn count(plan: MonthPlan) -> u64 {
    u64::from(plan.devices) * u64::from(plan.days) * u64::from(plan.check_ins_per_day)
}

/// Returns the time at which a package is published.
///
/// All are published in the first half, so that all devices get them. None is published at the
/// start of a day, so that the first check-in of a day, which is written, is an idle one.
fn publication(plan: MonthPlan, number: u32) -> UnixTime {
    let half = u64::from(plan.days) * DAY_S / 2;
    let share = (2 * u64::from(number) + 1) * half / (2 * u64::from(plan.packages));
    NOW.plus(DAY_S + share)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("a process has used a positive time")
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
const fn number(count: usize) -> f64 {
    count as f64
}

impl Cloud {
    /// Enrols the fleet into a group; the cost of this is not part of the month.
    async fn begin(peers: &[Peer], rollouts: bool) -> Self {
        let table = Table::start(1).await;
        let function = CheckInFunction::new(table.records.clone(), settings());
        let group: GroupName = "fleet".parse().expect("a group's name");
        let created = table.records.create_group(&group, signing()).await;
        created.expect("a new group can be created");
        let mut cloud = Self {
            table,
            function,
            group,
            members: Vec::new(),
            ask_from: HashMap::new(),
            asked: RequestCounts::default(),
        };
        for peer in peers {
            let reply = cloud.answer(peer.check_in(&[], NOW), NOW).await;
            peer.read_reply(&reply);
            if let Some(inventory) = peer.inventory() {
                cloud.answer(inventory, NOW).await;
            }
            let device = peer.device();
            let joined = cloud.table.records.join(&device, &cloud.group, signing());
            joined.await.expect("a device can join");
        }
        if rollouts {
            let devices = peers.iter().map(Peer::device);
            let members = devices.map(|device| PlannedDevice { device, ring: None });
            cloud.members = members.collect();
        }
        cloud.take();
        cloud
    }

    async fn publish(&self, number: u32, at: UnixTime) {
        let records = &self.table.records;
        let reservation = reservation(&format!("package-{number}"), 5);
        let reserved = records.reserve(&reservation, at).await;
        let (Reserved::New(draft) | Reserved::Resumed(draft)) =
            reserved.expect("a package can be reserved");
        let published = published(draft.id);
        let written = records.publish(draft.id, &published, &mia()).await;
        written.expect("a draft can be published");
        let activated = records.activate(draft.id, &[location()], &mia()).await;
        let package = activated.expect("a published package can be activated");
        if !self.members.is_empty() {
            // Boxed, because the simulation contains the future.
            return Box::pin(self.start_rollout(&package, at)).await;
        }
        let assigned = records
            .assign_group(&self.group, &package, false, signing_at(at))
            .await;
        assigned.expect("a package can be assigned");
    }

    /// Starts a rollout of a package, with the defaults for the fleet.
    async fn start_rollout(&self, package: &PackageRecord, at: UnixTime) {
        let devices = u32::try_from(self.members.len()).expect("a fleet is small");
        let published = package.published().expect("the package is published");
        let request = PlanRequest {
            package: package.id,
            manifest: published.manifest,
            groups: RolloutGroups::new([self.group.clone()].into()).expect("one group"),
            rings: &[],
            members: &self.members,
            shares: default_shares(devices),
            limits: default_limits(devices).try_into().expect("valid defaults"),
            times: OpeningTimes {
                start: at,
                days: "mon-sun".parse().expect("days"),
                offset_s: 0,
                only_first: false,
            },
        };
        let draw = || RolloutSeed::from_bytes(fastrand::u128(..).to_be_bytes());
        let planned = plan(&request, draw).expect("default waves are valid");
        let id = RolloutId::from_bytes(fastrand::u128(..).to_be_bytes());
        let (document, limits) = (planned.document, planned.limits);
        rollout::start(&self.table.records, id, document, limits, at).await;
    }

    /// Lets a device check in, ask before each task, and report all its tasks at once.
    async fn check_in(&mut self, peer: &Peer, at: UnixTime) -> CheckedIn {
        let reply = self.answer(peer.check_in(&[], at), at).await;
        if let Some(inventory) = peer.inventory().filter(|_| asks_for_inventory(&reply)) {
            self.answer(inventory, at).await;
        }
        let tasks = peer.read_reply(&reply).tasks;
        let mut is_working = false;
        let mut results = Vec::new();
        for (package, attempt) in tasks {
            let attempt = attempt.unwrap_or(1);
            let key = (peer.device(), package);
            if self.ask_from.get(&key).is_some_and(|from| at < *from) {
                continue;
            }
            is_working = true;
            // Only a Packcast agent asks.
            if let Some(asked) = peer.begin(package, attempt, at) {
                let reply = self.answer(asked, at).await;
                let reply = serde_json::from_slice(&reply).expect("a reply in JSON");
                if let BeginReply::Wait { again_s, .. } = reply {
                    let from = at.plus(again_s.unwrap_or(0).into());
                    self.ask_from.insert(key, from);
                    continue;
                }
            }
            results.push(PeerResult {
                package,
                attempt,
                code: "SUCCESS",
            });
        }
        if !results.is_empty() {
            for report in peer.reports(&results, at) {
                self.answer(report, at).await;
            }
            self.asked.deployments += number(results.len());
        }
        // The agent has learned of an earlier check-in only with the reply to a check-in.
        let returns_after_s = (!peer.is_ocs()).then(|| returns_after_s(&reply)).flatten();
        CheckedIn {
            is_working,
            returns_after_s,
        }
    }

    async fn answer(&mut self, request: Request<Bytes>, at: UnixTime) -> Bytes {
        self.asked.requests += 1.0;
        self.asked.request_bytes += number(request.body().len());
        let response = self.function.handle(request, at).await;
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body();
        self.asked.answer_bytes += number(body.len());
        body
    }

    fn take(&mut self) -> RequestCounts {
        let usage = self.table.meter.take();
        RequestCounts {
            operations: number(usage.operations.len()),
            read_units: usage.read_units,
            write_units: usage.write_units,
            ..std::mem::take(&mut self.asked)
        }
    }
}

/// Returns the time after which the function asks a Packcast agent to return, in seconds, if it is
/// earlier than usual.
fn returns_after_s(reply: &[u8]) -> Option<u64> {
    let reply: CheckInReply = serde_json::from_slice(reply).expect("a reply in JSON");
    let usual_s = settings().check_in_interval_s;
    (reply.next_check_in_s < usual_s).then(|| reply.next_check_in_s.into())
}

/// Returns whether a reply asks an OCS agent for an inventory.
fn asks_for_inventory(reply: &[u8]) -> bool {
    let (_, content) = envelope::open(reply).expect("a reply in zlib");
    String::from_utf8_lossy(&content).contains("<RESPONSE>SEND</RESPONSE>")
}
