//! Records in which each measured device has its open tasks.

use std::path::{Path, PathBuf};

use packcast_check_in::CheckInFunction;
use packcast_local::{Engine, EngineStorage};
use packcast_protocol::state::TrustedRoots;
use packcast_protocol::{GroupName, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_testing::administrator::Administrator as _;
use packcast_testing::commits::trust;
use packcast_testing::peer::Peer;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table};

use crate::{AgentKind, settings};

/// The file of an engine that does not run, its table, and the trust in its signed state: each process of
/// the tests has a signing key of its own.
#[derive(Clone, Debug)]
pub(crate) struct PreparedRecords {
    pub(crate) file: PathBuf,
    pub(crate) table: String,
    pub(crate) trust: TrustedRoots,
}

impl PreparedRecords {
    /// Creates the records. Each number of open tasks has a group with as many packages, and a device
    /// of each kind.
    pub(crate) fn create(folder: &Path, open_tasks: &[u32]) -> Self {
        let file = folder.join("records.db");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be created");
        let table = runtime.block_on(prepare(&file, open_tasks));
        Self {
            file,
            table,
            trust: trust(),
        }
    }
}

/// Returns the device with this number of open tasks.
pub(crate) fn peer(kind: AgentKind, tasks: u32, trust: TrustedRoots) -> Peer {
    match kind {
        AgentKind::Prolog => Peer::ocs(tasks),
        AgentKind::Json => Peer::packcast_on(tasks, &format!("pc{tasks}"), trust),
    }
}

/// Lets a device check in until it has all tasks, and lacks nothing of the signed state.
pub(crate) async fn settle(function: &CheckInFunction, peer: &Peer, tasks: u32) {
    loop {
        let response = function.handle(peer.check_in(&[], NOW), NOW).await;
        assert!(response.status().is_success(), "{response:?}");
        let reply = peer.read_reply(response.body());
        if reply.tasks.len() == tasks as usize && !peer.asks_again() {
            return;
        }
    }
}

async fn prepare(file: &Path, open_tasks: &[u32]) -> String {
    let storage = EngineStorage::File(file.to_owned());
    let engine = Engine::start(storage).await.expect("an engine starts");
    let endpoint = engine.endpoint();
    let table = Table::start_on(Service::DynamoDbLocal { endpoint }, 1).await;
    for tasks in open_tasks {
        let group = group(&table, *tasks).await;
        for kind in [AgentKind::Prolog, AgentKind::Json] {
            let peer = peer(kind, *tasks, trust());
            let function = CheckInFunction::new(table.records.clone(), settings(trust()));
            settle(&function, &peer, 0).await;
            if let Some(inventory) = peer.inventory() {
                let response = function.handle(inventory, NOW).await;
                assert!(response.status().is_success(), "{response:?}");
            }
            let joined = table.records.join(&peer.device(), &group, signing()).await;
            joined.expect("a device can join a group");
            let function = CheckInFunction::new(table.records.clone(), settings(trust()));
            settle(&function, &peer, *tasks).await;
        }
    }
    let name = table.records.table().to_owned();
    drop(table);
    engine.stop().await.expect("the engine stops");
    name
}

/// Creates a group with as many packages.
async fn group(table: &Table, packages: u32) -> GroupName {
    let records = &table.records;
    let group: GroupName = format!("with-{packages}").parse().expect("a group name");
    let created = records.create_group(&group, signing()).await;
    created.expect("a group can be created");
    for number in 0..packages {
        // Each second has one id of a package.
        let at = UnixTime(NOW.0 - 1_000 * u64::from(packages) + u64::from(number));
        let name = format!("p{packages}-{number}");
        let package = table.package_at(&name, 5, at).await;
        assign(table, &group, &package).await;
    }
    group
}

async fn assign(table: &Table, group: &GroupName, package: &PackageRecord) {
    let records = &table.records;
    let assigned = records.assign_group(group, package, false, signing()).await;
    assigned.expect("a package can be assigned");
}
