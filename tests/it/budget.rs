//! What a check-in costs when there is nothing to do, whatever else is in the table.

use bytes::Bytes;
use http::Request;
use packcast_check_in::{CheckIn, Settings};
use packcast_protocol::api::{CHECK_IN_PATH, CheckInReply, CheckInRequest, Facts, Secret, Text};
use packcast_protocol::http_signature::DeviceKey;
use packcast_protocol::ocs::envelope::{self, Coding};
use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::PackageRecord;
use packcast_store::records::Recorded;
use packcast_tests::service::Service;
use packcast_tests::table::{NOW, Table, result};

const PATH_TOKEN: &str = "path-token-one-1";
const ENROLMENT_TOKEN: &str = "enrolment-token-1";
const STOCK_DEVICE: &str = "pc1-2026-03-04-05-06-07";

/// Packages in the table.
const PACKAGES: u32 = 10_000;
/// Those of them that the device has finished.
const FINISHED: u32 = 1_000;

fn function(table: &Table) -> CheckIn {
    let digest = |token: &str| token.parse::<Secret>().unwrap().digest();
    let settings = Settings {
        path_tokens: vec![digest(PATH_TOKEN)],
        enrolment_tokens: vec![digest(ENROLMENT_TOKEN)],
        pass_key: [9; 32],
        check_in_interval_s: 900,
        strict: false,
        group_cache_s: Settings::DEFAULT_GROUP_CACHE_S,
    };
    CheckIn::new(table.records.clone(), settings)
}

async fn ask(function: &CheckIn, request: Request<Bytes>) -> Bytes {
    let response = function.handle(request, NOW).await;
    assert!(response.status().is_success(), "{response:?}");
    response.into_body()
}

/// Says something as a stock agent does.
async fn say(function: &CheckIn, query: &str, content: &str) -> Bytes {
    let xml = format!(
        "<REQUEST>{content}<DEVICEID>{STOCK_DEVICE}</DEVICEID><QUERY>{query}</QUERY></REQUEST>"
    );
    let body = envelope::seal(Coding::Zlib, xml.as_bytes());
    let request = Request::post(format!("/ocsinventory/{PATH_TOKEN}"))
        .header("user-agent", "OCS-NG_unified_unix_agent_v2.10.0")
        .body(body.into());
    ask(function, request.unwrap()).await
}

/// One of our agents.
struct Agent {
    key: DeviceKey,
    pass: Option<Secret>,
}

impl Agent {
    async fn enrol(function: &CheckIn) -> Self {
        let key = DeviceKey::from_seed(&[1; 32]).unwrap();
        let mut agent = Self { key, pass: None };
        agent.pass = agent.check_in(function).await.pass;
        assert!(agent.pass.is_some(), "enrolment gives a pass");
        agent
    }

    fn device(&self) -> DeviceId {
        DeviceId::Agent(self.key.id())
    }

    /// Checks in with its pass or, without one, with the enrolment token.
    async fn check_in(&self, function: &CheckIn) -> CheckInReply {
        let enrolment = ENROLMENT_TOKEN.parse().ok();
        let asking = CheckInRequest {
            enrolment: enrolment.filter(|_| self.pass.is_none()),
            pass: self.pass.clone(),
            facts: Facts {
                host_name: Text::tail("web01"),
                os: Text::tail("linux"),
                arch: Text::tail("x86_64"),
                agent: Text::tail("packcast-agent/0.1.0"),
            },
            results: Vec::new(),
        };
        let body = serde_json::to_vec(&asking).unwrap();
        let mut request = Request::post(CHECK_IN_PATH);
        for (name, value) in self.key.sign("POST", CHECK_IN_PATH, &body, NOW) {
            request = request.header(name, value);
        }
        let reply = ask(function, request.body(body.into()).unwrap()).await;
        serde_json::from_slice(&reply).unwrap()
    }
}

/// Writes down that a device has a package already, so that it has its copies, too.
async fn finish(table: &Table, device: &DeviceId, package: &PackageRecord) {
    let records = &table.records;
    records.assign(device, package, false, NOW).await.unwrap();
    let task = table.task(device, package.id).await.unwrap();
    let success = result(&task, "SUCCESS_ALREADY_IN_HISTORY");
    let recorded = records.record_result(device, &task, &success).await;
    assert_eq!(recorded.unwrap(), Recorded::Written);
}

/// Fills the table with packages, of which the devices have finished some.
async fn fill(table: &Table, devices: &[DeviceId]) {
    let package = table.package_to_copy().await;
    let id = |n| PackageId::try_from(1_500_000_000 + n).unwrap();
    table.copy(&package, (FINISHED..PACKAGES).map(id)).await;
    for device in devices {
        finish(table, device, &package).await;
    }
    table.copy(&package, (1..FINISHED).map(id)).await;

    let packages = table.records.packages(20_000).await.unwrap();
    assert_eq!(packages.len(), PACKAGES as usize);
    for device in devices {
        let finished = table.records.finished_tasks(device).await.unwrap();
        assert_eq!(finished.len(), FINISHED as usize);
    }
}

/// Expects what a function asks that keeps no group yet: it keeps them for a minute, whatever
/// devices ask in it.
fn expect_reads_of_groups(table: &Table) {
    assert_eq!(table.meter.take().operations, ["Query", "BatchGetItem"]);
}

/// Expects one Query of at most one unit, and nothing else, since the last time.
fn expect_one_query(table: &Table) {
    let usage = table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert!(
        usage.read_units > 0.0 && usage.read_units <= 1.0,
        "{usage:?}"
    );
}

async fn an_idle_check_in_is_one_query_of_one_unit(service: Service) {
    let table = Table::start_on(service, 70).await;
    let stock: DeviceId = format!("ocs:{STOCK_DEVICE}").parse().unwrap();
    let first = function(&table);
    say(&first, "PROLOG", "").await;
    say(&first, "INVENTORY", "<CONTENT></CONTENT>").await;
    let agent = Agent::enrol(&first).await;
    fill(&table, &[stock, agent.device()]).await;

    let function = function(&table);
    table.meter.take();
    say(&function, "PROLOG", "").await;
    expect_reads_of_groups(&table);
    for _ in 0..2 {
        say(&function, "PROLOG", "").await;
        expect_one_query(&table);
        let reply = agent.check_in(&function).await;
        assert!(reply.tasks.is_empty());
        expect_one_query(&table);
    }
}

packcast_tests::on_each_service! {
    an_idle_check_in_is_one_query_of_one_unit
}
