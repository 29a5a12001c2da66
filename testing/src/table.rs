//! A table for one test, and functions that write to it.

use std::collections::BTreeSet;

use packcast_protocol::{
    Action, AgentId, DeviceId, Outcome, PackageId, Priority, ResultCode, Sha256Digest, UnixTime,
};
use packcast_rollout::{
    ChangedBy, DeviceRecord, EventTime, FinishedTask, LocationRecord, OpenTask, PackageRecord,
    Published, WriteBudget,
};
use packcast_store::records::{Announced, Announcing, Recorded, Reservation, Reserved};
use packcast_store::{Records, RecordsConfig, RecordsError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::administrator::{self, Administrator as _};
pub use crate::clock::NOW;
use crate::commits::trust;
use crate::direct_engine::DirectEngine;
use crate::engine::EmbeddedEngine;
use crate::fault::{FakeFaults, FaultRates};
use crate::load::load_into;
use crate::memories;
use crate::meter::Meter;
use crate::raw::RawEngine;
use crate::service::Service;
use crate::signing::signing;

/// A new table that only one test uses, with its meter and its faults.
///
/// When it is dropped, it panics if any request scanned the table.
#[derive(Debug)]
pub struct Table {
    pub records: Records,
    pub meter: Meter,
    pub faults: FakeFaults,
    pub endpoint: String,
    name: String,
    /// The memory of signed commits; `None` if the table has no target.
    memory: Option<TempDir>,
    engine: TableEngine,
}

/// The engine of a table.
#[derive(Debug)]
enum TableEngine {
    /// A service that runs on after the table.
    Service,
    Embedded(Box<EmbeddedEngine>),
    Direct(DirectEngine),
}

/// Returns an administrator who changes records at the beginning of a test.
pub fn mia() -> ChangedBy {
    mia_at(NOW)
}

/// Returns an administrator who changes records at a time.
pub fn mia_at(at: UnixTime) -> ChangedBy {
    ChangedBy::shortened("mia", "desk", EventTime::of_second(at))
}

impl Table {
    /// Creates a table with a target on an embedded engine, without faults until a test sets their
    /// rates.
    pub async fn start(seed: u64) -> Self {
        Self::start_on(Service::Embedded, seed).await
    }

    /// Creates a table with a target on a service, without faults until a test sets their rates.
    ///
    /// The target has its first key list and its first commit, without a group.
    pub async fn start_on(service: Service, seed: u64) -> Self {
        Self::without_target_on(service, seed).await.founded().await
    }

    /// Creates a table with a target on an engine without a connection, for tests with a paused clock.
    ///
    /// [`Table::item`], [`Table::put`] and [`Table::delete`] need a connection.
    pub async fn start_direct(seed: u64) -> Self {
        let engine = DirectEngine::new();
        let meter = Meter::before(engine.http_client());
        let endpoint = "http://127.0.0.1:1".to_owned();
        let table = Self::create(meter, endpoint, TableEngine::Direct(engine), seed).await;
        table.founded().await
    }

    async fn founded(self) -> Self {
        let mut table = self;
        table.memory = Some(memories::create(&table.records, &trust()));
        administrator::found(&table.records).await;
        table.meter.take();
        table
    }

    /// Creates a table on an embedded engine, which has neither a key list nor a commit.
    pub async fn without_target(seed: u64) -> Self {
        Self::without_target_on(Service::Embedded, seed).await
    }

    /// Creates a table on a service, which has neither a key list nor a commit.
    pub async fn without_target_on(service: Service, seed: u64) -> Self {
        let (endpoint, engine) = match service {
            Service::Embedded => {
                let engine = EmbeddedEngine::start().await;
                (engine.endpoint(), TableEngine::Embedded(Box::new(engine)))
            }
            Service::DynamoDbLocal { endpoint } => (endpoint, TableEngine::Service),
        };
        Self::create(Meter::start(), endpoint, engine, seed).await
    }

    async fn create(meter: Meter, endpoint: String, engine: TableEngine, seed: u64) -> Self {
        let faults = FakeFaults::before(meter.http_client(), seed, FaultRates::default());
        let name = format!("packcast-{:016x}", fastrand::u64(..));
        let records = connect(&endpoint, &faults, &name).await;
        records
            .create_table()
            .await
            .expect("a table can be created");
        meter.take();
        Self {
            records,
            meter,
            faults,
            endpoint,
            name,
            memory: None,
            engine,
        }
    }

    /// Returns an item as the engine stores it.
    pub async fn item(&self, pk: &str, sk: &str) -> Value {
        let question = json!({
            "TableName": self.name,
            "Key": { "pk": { "S": pk }, "sk": { "S": sk } },
            "ConsistentRead": true,
        });
        let mut answer = RawEngine::at(&self.endpoint)
            .ask("GetItem", &question)
            .await;
        answer["Item"].take()
    }

    /// Stores an item without any check, as an attacker who controls the table can.
    pub async fn put(&self, item: &Value) {
        let question = json!({ "TableName": self.name, "Item": item });
        RawEngine::at(&self.endpoint)
            .ask("PutItem", &question)
            .await;
    }

    /// Deletes an item without any check, as an attacker who controls the table can.
    pub async fn delete(&self, pk: &str, sk: &str) {
        let question = json!({
            "TableName": self.name,
            "Key": { "pk": { "S": pk }, "sk": { "S": sk } },
        });
        RawEngine::at(&self.endpoint)
            .ask("DeleteItem", &question)
            .await;
    }

    /// Loads records straight into the engine: see [`load`](crate::load::load). Only a table on an
    /// embedded engine can be loaded.
    pub async fn load(&self, write: impl AsyncFnOnce(&Records)) {
        let database = match &self.engine {
            TableEngine::Service => panic!("the engine is none of this process"),
            TableEngine::Embedded(engine) => engine.database(),
            TableEngine::Direct(engine) => engine.database(),
        };
        load_into(database, &self.name, write).await;
    }

    /// Records the first check-in of a device with an OCS agent.
    pub async fn device(&self, number: u32) -> DeviceId {
        let record = device(number);
        self.records
            .write_check_in(&record, None)
            .await
            .expect("a device can be written");
        record.device
    }

    /// Records the first check-in of a device with a Packcast agent.
    pub async fn agent(&self, number: u8) -> DeviceId {
        let agent = AgentId::of_public_key(&[number; 32]);
        let record = DeviceRecord {
            device: DeviceId::Agent(agent),
            agent: "packcast-agent/0.1.0".to_owned(),
            ..device(number.into())
        };
        self.records
            .write_check_in(&record, None)
            .await
            .expect("a device can be written");
        record.device
    }

    /// Reserves, publishes and activates a package.
    pub async fn package(&self, name: &str, priority: u8) -> PackageRecord {
        self.package_at(name, priority, NOW).await
    }

    /// Reserves, publishes and activates a package at a time, from which its id follows.
    pub async fn package_at(&self, name: &str, priority: u8, at: UnixTime) -> PackageRecord {
        let reservation = reservation(name, priority);
        let reserved = self.records.reserve(&reservation, at);
        let (Reserved::New(package) | Reserved::Resumed(package)) =
            reserved.await.expect("a package can be reserved");
        self.records
            .publish(package.id, &published(package.id), &mia())
            .await
            .expect("a draft can be published");
        self.records
            .activate(package.id, &[location()], &mia())
            .await
            .expect("a published package can be activated")
    }

    /// Assigns a package that the device does not have yet, and returns the open task.
    pub async fn assigned(&self, device: &DeviceId, package: &PackageRecord) -> OpenTask {
        let assigned = self.records.assign(device, package, false, signing());
        assigned.await.expect("a package can be assigned");
        let task = self.task(device, package.id).await;
        task.expect("the package is assigned")
    }

    /// Records that a device already has a package, which ends the task at once.
    pub async fn finish(&self, device: &DeviceId, package: &PackageRecord) {
        let task = self.assigned(device, package).await;
        let success = result(&task, "SUCCESS_ALREADY_IN_HISTORY");
        let recorded = self.records.record_result(device, &task, &success).await;
        let recorded = recorded.expect("a result can be recorded");
        assert_eq!(recorded, Recorded::Written);
    }

    /// Returns the open task of a device for a package.
    pub async fn task(&self, device: &DeviceId, package: PackageId) -> Option<OpenTask> {
        let device_state = self.records.device_state(device).await;
        let tasks = device_state.expect("a device can be read").tasks;
        tasks.into_iter().find(|task| task.package == package)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.meter.scans(), 0, "a request scanned the table");
        }
    }
}

/// Announces tasks of a device under the leaf that is on record.
pub async fn announce(
    records: &Records,
    device: &DeviceId,
    tasks: &[Announcing<'_>],
    at: UnixTime,
) -> Result<Announced, RecordsError> {
    let leaf = records.device_state(device).await?.leaf;
    records.announce(device, leaf.order, tasks, at).await
}

/// Connects to a table through injected faults.
pub async fn connect(endpoint: &str, faults: &FakeFaults, table: &str) -> Records {
    Records::connect(RecordsConfig {
        table: table.to_owned(),
        region: None,
        endpoint: Some(endpoint.to_owned()),
        http_client: Some(faults.http_client()),
    })
    .await
}

pub fn device(number: u32) -> DeviceRecord {
    DeviceRecord {
        device: format!("ocs:pc{number}-2026-03-04-05-06-07")
            .parse()
            .expect("a DEVICEID as OCS agents form it"),
        host_name: format!("pc{number}"),
        agent: "OCS-NG_unified_unix_agent_v2.10.0".to_owned(),
        os: "Debian 12".to_owned(),
        first_seen: NOW,
        last_seen: NOW,
        inventory_asked: None,
        inventory_received: None,
        machine: None,
        facts: None,
        batch: None,
        budget: WriteBudget::default(),
    }
}

pub fn reservation(name: &str, priority: u8) -> Reservation {
    Reservation {
        name: name.parse().expect("a package name"),
        version: "1.0".parse().expect("a package version"),
        priority: Priority::try_from(priority).expect("a priority"),
        action: Action::Execute {
            archive: None,
            command: "true".parse().expect("a command"),
        },
        platform: packcast_protocol::manifest::Platform::Any,
        success_codes: BTreeSet::from([0]),
        reboot_codes: BTreeSet::new(),
        timeout_s: 60,
        rerun_after_interruption: false,
        audience: packcast_protocol::manifest::Audience::Any,
        windows: packcast_protocol::WindowsTerms::default(),
        content: Sha256Digest::of(name.as_bytes()),
        folder: "d/segment".parse().expect("a path"),
    }
}

/// The key that has signed the packages of [`published`].
const SIGNER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

pub fn published(id: PackageId) -> Published {
    Published {
        manifest: Sha256Digest::of(id.to_string().as_bytes()),
        signature: Sha256Digest::of(id.to_string().as_bytes()),
        signer: SIGNER.parse().expect("a public key"),
        md5: None,
        fragments: 0,
        expires: None,
        published_at: NOW,
    }
}

pub fn location() -> LocationRecord {
    LocationRecord {
        name: "main".parse().expect("a location's name"),
        location: "cdn.example.net".parse().expect("a location"),
    }
}

/// Returns the result of an attempt.
pub fn result(task: &OpenTask, code: &str) -> FinishedTask {
    let code: ResultCode = code.parse().expect("a result code");
    let outcome: Outcome = code.outcome(&BTreeSet::from([0]));
    FinishedTask {
        package: task.package,
        attempt: task.attempt,
        code,
        outcome,
        detail: None,
        output_tail: None,
        mandate: task.mandate,
        used: BTreeSet::new(),
        finished_at: NOW,
    }
}
