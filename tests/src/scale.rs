//! The capacity that check-ins consume, in a table with many records.

use std::fmt;

use packcast_check_in::CheckInFunction;
use packcast_protocol::PackageId;
use packcast_testing::meter::Usage;
use packcast_testing::peer::{Peer, PeerResult};
use packcast_testing::table::{NOW, Table, device};

use crate::settings::settings;

/// Number of the measured OCS device; the loaded devices have smaller ones.
const MEASURED: u32 = u32::MAX;

/// Numbers of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Packages that the measured devices have finished.
    pub finished: u32,
    /// Packages of the table, at least one more than `finished`.
    pub packages: u32,
    /// Devices besides the measured ones.
    pub devices: u32,
}

/// The cost of the requests of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleRow {
    pub agent: &'static str,
    /// A check-in without news.
    pub idle: Cost,
    /// The check-in that tells the device of a new package.
    pub announcing: Cost,
    /// The report of its success.
    pub reporting: Cost,
}

/// The cost of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub calls: usize,
    pub read_units: f64,
    pub write_units: f64,
}

impl ScaleRow {
    /// Returns true if no request costs more than in another row.
    pub fn is_at_most(&self, other: &Self) -> bool {
        let costs = |row: &Self| [row.idle, row.announcing, row.reporting];
        let mut pairs = costs(self).into_iter().zip(costs(other));
        pairs.all(|(cost, other)| {
            cost.calls <= other.calls
                && cost.read_units <= other.read_units
                && cost.write_units <= other.write_units
        })
    }
}

impl From<Usage> for Cost {
    fn from(usage: Usage) -> Self {
        Self {
            calls: usage.operations.len(),
            read_units: usage.read_units,
            write_units: usage.write_units,
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            read_units,
            write_units,
        } = self;
        let calls_word = if *calls == 1 { "call" } else { "calls" };
        write!(f, "{calls} {calls_word}, {read_units} R, {write_units} W")
    }
}

/// Fills a table, and measures an OCS agent and a Packcast agent.
pub async fn measure(scale: Scale) -> Vec<ScaleRow> {
    let table = Table::start(1).await;
    let peers = [
        ("OCS", Peer::ocs(MEASURED)),
        ("Packcast", Peer::packcast(1)),
    ];
    let first = CheckInFunction::new(table.records.clone(), settings());
    for (_, peer) in &peers {
        enrol(&first, peer).await;
    }
    fill(&table, peers.each_ref().map(|(_, peer)| peer), scale).await;
    let mut rows = Vec::new();
    for (agent, peer) in &peers {
        rows.push(measured(&table, agent, peer).await);
    }
    rows
}

async fn enrol(function: &CheckInFunction, peer: &Peer) {
    settle(function, peer).await;
    if let Some(inventory) = peer.inventory() {
        let response = function.handle(inventory, NOW).await;
        assert!(response.status().is_success(), "{response:?}");
    }
}

/// Lets a device check in until it lacks nothing of the signed state, and returns the number of its
/// tasks.
async fn settle(function: &CheckInFunction, peer: &Peer) -> usize {
    loop {
        let tasks = check_in(function, peer).await;
        if !peer.asks_again() {
            return tasks;
        }
    }
}

async fn check_in(function: &CheckInFunction, peer: &Peer) -> usize {
    let response = function.handle(peer.check_in(&[], NOW), NOW).await;
    assert!(response.status().is_success(), "{response:?}");
    peer.read_reply(response.body()).tasks.len()
}

async fn fill(table: &Table, peers: [&Peer; 2], scale: Scale) {
    let package = table.package_to_copy().await;
    let id = |number: u32| {
        let id = PackageId::try_from(1_500_000_000 + number);
        id.expect("a package id")
    };
    // A package that is copied before it is finished is finished by nobody. The original is one of the
    // finished packages, too.
    let copies = scale.finished.saturating_sub(1);
    table
        .copy(&package, (copies..scale.packages - 1).map(id))
        .await;
    if scale.finished > 0 {
        for peer in peers {
            table.finish(&peer.device(), &package).await;
        }
        if copies > 0 {
            table.copy(&package, (0..copies).map(id)).await;
        }
    }
    for peer in peers {
        let finished = table.records.finished_tasks(&peer.device()).await;
        let finished = finished.expect("finished tasks can be read");
        assert_eq!(finished.len(), scale.finished as usize);
    }
    let packages = table.records.packages(20_000).await;
    let packages = packages.expect("packages can be listed");
    assert_eq!(packages.len(), scale.packages as usize);
    load_devices(table, scale.devices).await;
}

async fn load_devices(table: &Table, devices: u32) {
    table
        .load(async |records| {
            for number in 0..devices {
                let written = records.write_check_in(&device(number), None).await;
                written.expect("a device can check in");
            }
        })
        .await;
}

async fn measured(table: &Table, agent: &'static str, peer: &Peer) -> ScaleRow {
    let function = CheckInFunction::new(table.records.clone(), settings());
    assert_eq!(settle(&function, peer).await, 0);
    table.meter.take();
    check_in(&function, peer).await;
    let idle = table.meter.take().into();

    let package = table
        .package(&format!("news-for-{}", agent.to_lowercase()), 5)
        .await;
    table.assigned(&peer.device(), &package).await;
    table.meter.take();
    assert_eq!(check_in(&function, peer).await, 1, "the device is told");
    let announcing = table.meter.take().into();
    settle(&function, peer).await;

    let success = PeerResult {
        package: package.id,
        attempt: 1,
        code: "SUCCESS",
    };
    table.meter.take();
    for report in peer.reports(&[success], NOW) {
        let response = function.handle(report, NOW).await;
        assert!(response.status().is_success(), "{response:?}");
    }
    let reporting = table.meter.take().into();
    ScaleRow {
        agent,
        idle,
        announcing,
        reporting,
    }
}
