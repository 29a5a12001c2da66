//! Jobs of a phase, performed concurrently and in any order.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use packcast_protocol::PackageId;
use packcast_store::Records;
use tokio::task::{JoinSet, LocalSet};

use super::administrator::{FleetNames, perform, until_answered};
use super::caller::Caller;
use super::function::Clock;
use super::model::{self, FleetModel};
use super::plan::Act;
use super::{CONNECTIONS, Watch, compare};
use packcast_testing::peer::{Peer, PeerReply, PeerResult};

/// The parts of a fleet that all jobs share.
pub(super) struct FleetContext {
    pub(super) address: SocketAddr,
    pub(super) clock: Arc<Clock>,
    pub(super) records: Records,
    pub(super) peers: Vec<Peer>,
    pub(super) names: FleetNames,
    pub(super) watch: Watch,
}

/// One job of a phase.
#[derive(Debug)]
pub(super) enum Job {
    Enrol(usize),
    Act(Act),
    CheckIn(PlannedCheckIn),
    Report(usize, Vec<PeerResult>),
    /// Lists the devices of a package; the list may be out of date.
    Look(usize),
    Compare(Arc<FleetModel>, usize),
}

/// A check-in, and the expected reply.
#[derive(Clone, Debug)]
pub(super) struct PlannedCheckIn {
    pub(super) device: usize,
    pub(super) resent: Vec<PeerResult>,
    pub(super) expected: model::ExpectedReply,
}

/// The result of a phase.
#[derive(Debug, Default)]
pub(super) struct PhaseResult {
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) differences: Vec<String>,
}

/// Performs all jobs, each connection one at a time.
pub(super) async fn all(context: &Arc<FleetContext>, name: &str, jobs: Vec<Job>) -> PhaseResult {
    let total = jobs.len();
    let jobs = Arc::new(Mutex::new(jobs));
    let done = Arc::new(AtomicUsize::new(0));
    // The futures of an administrator's changes stay in one thread.
    let local = LocalSet::new();
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (context, jobs, done) = (Arc::clone(context), Arc::clone(&jobs), Arc::clone(&done));
        let name = name.to_owned();
        let worker = async move {
            let mut caller = Caller::connect(context.address).await;
            let mut differences = Vec::new();
            while let Some(job) = next(&jobs) {
                differences.extend(perform_job(&context, &mut caller, job).await);
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                (context.watch)(&name, done, total);
            }
            PhaseResult {
                requests: caller.requests,
                refused: caller.refused,
                differences,
            }
        };
        workers.spawn_local_on(worker, &local);
    }
    let mut work = PhaseResult::default();
    for worker in local.run_until(workers.join_all()).await {
        work.requests += worker.requests;
        work.refused += worker.refused;
        work.differences.extend(worker.differences);
    }
    work
}

fn next(jobs: &Mutex<Vec<Job>>) -> Option<Job> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

async fn perform_job(context: &FleetContext, caller: &mut Caller, job: Job) -> Vec<String> {
    let (records, names) = (&context.records, &context.names);
    match job {
        Job::Enrol(device) => {
            let nothing = model::ExpectedReply::default();
            let difference = check_in(context, caller, device, &[], &nothing).await;
            if let Some(inventory) = context.peers[device].inventory() {
                caller.ask(&inventory).await;
            }
            difference.into_iter().collect()
        }
        Job::Act(act) => {
            perform(records, names, act, context.clock.now()).await;
            Vec::new()
        }
        Job::CheckIn(job) => {
            let PlannedCheckIn {
                device,
                resent,
                expected,
            } = job;
            let difference = check_in(context, caller, device, &resent, &expected).await;
            difference.into_iter().collect()
        }
        Job::Report(device, results) => report(context, caller, device, &results).await,
        Job::Look(package) => {
            let id = names.packages[package].id;
            until_answered(|| records.devices_of(id)).await;
            Vec::new()
        }
        Job::Compare(model, device) => compare::device(records, names, &model, device).await,
    }
}

async fn check_in(
    context: &FleetContext,
    caller: &mut Caller,
    device: usize,
    resent: &[PeerResult],
    expected: &model::ExpectedReply,
) -> Option<String> {
    let peer = &context.peers[device];
    let request = peer.check_in(resent, context.clock.now());
    let reply = peer.read_reply(&caller.ask(&request).await);
    let expected = expected_of(&context.names, peer, expected);
    let id = peer.device();
    (reply != expected).then(|| format!("reply to {id}: expected {expected:?}, found {reply:?}"))
}

fn expected_of(names: &FleetNames, peer: &Peer, reply: &model::ExpectedReply) -> PeerReply {
    let id = |package: usize| names.packages[package].id;
    let attempt = |attempt: u32| (!peer.is_ocs()).then_some(attempt);
    PeerReply {
        tasks: reply
            .tasks
            .iter()
            .map(|(package, n)| (id(*package), attempt(*n)))
            .collect(),
        cancel: reply
            .cancel
            .iter()
            .map(|(package, n)| (id(*package), *n))
            .collect(),
    }
}

async fn report(
    context: &FleetContext,
    caller: &mut Caller,
    device: usize,
    results: &[PeerResult],
) -> Vec<String> {
    let peer = &context.peers[device];
    let mut differences = Vec::new();
    for request in peer.reports(results, context.clock.now()) {
        let reply = caller.ask(&request).await;
        let sent: Vec<PackageId> = results.iter().map(|result| result.package).collect();
        if let Some(accepted) = peer.accepted(&reply).filter(|accepted| *accepted != sent) {
            let id = peer.device();
            differences.push(format!(
                "reports of {id}: expected {sent:?}, found {accepted:?}"
            ));
        }
    }
    differences
}
