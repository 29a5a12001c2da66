//! A constant rate of check-ins at `packcast local`, without faults of the table and then with them.
//!
//! The requests have fixed times, whether or not earlier ones are answered. The latency of a request
//! runs from its time to the end of its answer, so a server that falls behind shows it.

mod client;
mod connection;
mod devices;
mod sample;
mod system;

use std::time::Duration;

use tokio::runtime::Runtime;

use self::client::drive;
use self::devices::Devices;
pub use self::sample::LoadSample;
use self::system::{FaultySystem, LoadedSystem};

/// Size and duration of a load.
#[derive(Clone, Copy, Debug)]
pub struct LoadPlan {
    /// Check-ins per second.
    pub rate: u32,
    /// Duration of each of the two runs.
    pub duration: Duration,
    /// Number of periods with a sample of their own.
    pub periods: u32,
    pub connections: u32,
    /// Number of devices. Every fourth has a Packcast agent, the others have an OCS agent.
    pub devices: u32,
}

impl LoadPlan {
    /// A load that only shows that the program works.
    pub const SMOKE: Self = Self {
        rate: 50,
        duration: Duration::from_secs(2),
        periods: 2,
        connections: 4,
        devices: 20,
    };
}

/// The samples of both runs, by their periods.
#[derive(Clone, Debug)]
pub struct LoadReport {
    pub without_faults: Vec<LoadSample>,
    /// The edge runs in the process of the load. An error is an answer that devices expect: they check
    /// in again.
    pub with_faults: Vec<LoadSample>,
    /// The numbers of injected faults.
    pub injected: packcast_testing::fault::Injected,
}

/// Runs a load at the program under test.
pub fn run(program: &str, plan: &LoadPlan) -> LoadReport {
    let runtime = Runtime::new().expect("a runtime can be created");
    let system = LoadedSystem::start(program);
    let (tls, address) = (system.tls(), system.address());
    let devices = Devices::create(plan.devices, &system);
    runtime.block_on(async {
        devices.settle(&tls, address, plan.connections).await;
        let without_faults = drive(plan, &devices, &tls, address, system.process()).await;
        let faulty = FaultySystem::start(&system).await;
        let own = std::process::id();
        let with_faults = drive(plan, &devices, &tls, faulty.address(), own).await;
        LoadReport {
            without_faults,
            with_faults,
            injected: faulty.injected(),
        }
    })
}
