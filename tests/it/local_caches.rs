//! Caches of the check-in function in the local system.

use std::sync::{Arc, Mutex};

use packcast_check_in::CheckInFunction;
use packcast_local::{CheckIns, Engine, EngineStorage};
use packcast_store::Records;
use packcast_store::records::{ServiceAnswer, TableService};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::peer::Peer;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table};
use packcast_tests::settings::settings;

/// The service of an engine, which notes the operations of the function.
#[derive(Clone, Debug)]
struct NotedService {
    service: Arc<dyn TableService>,
    operations: Arc<Mutex<Vec<String>>>,
}

impl TableService for NotedService {
    fn perform(&self, operation: &str, body: &[u8]) -> ServiceAnswer {
        self.operations.lock().unwrap().push(operation.to_owned());
        self.service.perform(operation, body)
    }
}

/// The check-ins of a local system, and an administrator who reaches its engine over the network.
struct System {
    table: Table,
    check_ins: CheckIns,
    operations: Arc<Mutex<Vec<String>>>,
    _engine: Engine,
}

impl System {
    async fn start() -> Self {
        let engine = Engine::start(EngineStorage::Memory).await.unwrap();
        let endpoint = engine.endpoint();
        let table = Table::start_on(Service::DynamoDbLocal { endpoint }, 1).await;
        let operations = Arc::default();
        let service = NotedService {
            service: engine.service_of_function(),
            operations: Arc::clone(&operations),
        };
        let name = table.records.table();
        let records = Records::in_process(Arc::new(service), name, &engine.endpoint());
        let check_ins = CheckIns::new(CheckInFunction::new(records, settings()), engine.changes());
        Self {
            table,
            check_ins,
            operations,
            _engine: engine,
        }
    }

    /// Lets a device check in until it lacks nothing of the signed state, and returns the number of
    /// tasks in the first reply.
    async fn check_in(&self, peer: &Peer) -> usize {
        let mut told = None;
        loop {
            let request = peer.check_in(&[], NOW);
            let response = self.check_ins.function().handle(request, NOW).await;
            assert!(response.status().is_success(), "{response:?}");
            let tasks = peer.read_reply(response.body()).tasks.len();
            let told = *told.get_or_insert(tasks);
            if !peer.asks_again() {
                return told;
            }
        }
    }

    fn operations(&self) -> Vec<String> {
        std::mem::take(&mut self.operations.lock().unwrap())
    }
}

#[tokio::test]
async fn a_change_of_an_administrator_is_seen_at_once_and_other_check_ins_are_one_query() {
    let system = System::start().await;
    let peers = [Peer::ocs(1), Peer::packcast(2)];
    let records = &system.table.records;
    let lab = "lab".parse().unwrap();
    records.create_group(&lab, signing()).await.unwrap();
    for peer in &peers {
        assert_eq!(system.check_in(peer).await, 0);
        records.join(&peer.device(), &lab, signing()).await.unwrap();
    }
    for number in 1..=3 {
        let package = system.table.package(&format!("p{number}"), 5).await;
        let assigned = records.assign_group(&lab, &package, false, signing());
        assigned.await.unwrap();
        for peer in &peers {
            assert_eq!(system.check_in(peer).await, number, "{peer:?}");
        }
        system.operations();
        for peer in peers.iter().chain(&peers) {
            assert_eq!(system.check_in(peer).await, number);
            assert_eq!(system.operations(), ["Query"]);
        }
    }
}
