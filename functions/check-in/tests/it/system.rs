//! A function with its own table, and devices that send it requests.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Builder;
use http::{Request, StatusCode};
use packcast_check_in::{CheckInFunction, FunctionSettings, PassKey};
use packcast_protocol::ocs::envelope::{self, Coding};
use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::{OpenTask, Pacing, PackageRecord};
use packcast_store::records::{Reservation, Reserved};
use packcast_store::{Records, RecordsConfig};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::commits::trust;
pub(crate) use packcast_testing::peer::{ENROLMENT_TOKEN, PATH_TOKEN};
use packcast_testing::policy::Policy;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, location, mia, published, reservation};

pub(crate) const OLD_PATH_TOKEN: &str = "path-token-two-2";
pub(crate) const UNIX_AGENT: &str = "OCS-NG_unified_unix_agent_v2.10.0";

pub(crate) struct TestSystem {
    pub(crate) table: Table,
    pub(crate) function: CheckInFunction,
}

/// A reply to a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

pub(crate) fn settings() -> FunctionSettings {
    let digest = |token: &str| {
        let token: packcast_protocol::api::Secret = token.parse().expect("a token");
        token.digest()
    };
    FunctionSettings {
        origin_secrets: Vec::new(),
        path_tokens: vec![digest(PATH_TOKEN), digest(OLD_PATH_TOKEN)],
        enrolment_tokens: vec![digest(ENROLMENT_TOKEN)],
        pass_key: PassKey::new([9; 32]),
        trust: trust(),
        check_in_interval_s: 900,
        pace: Pacing::default(),
        group_cache_s: FunctionSettings::DEFAULT_GROUP_CACHE_S,
    }
}

impl TestSystem {
    pub(crate) async fn start() -> Self {
        Self::start_with(settings()).await
    }

    pub(crate) async fn start_with(settings: FunctionSettings) -> Self {
        Self::start_on(Table::start(1).await, settings).await
    }

    /// Starts a function on a table, whose target has perhaps neither a key list nor a commit.
    pub(crate) async fn start_on(table: Table, settings: FunctionSettings) -> Self {
        // The role of the function in the cloud must allow all its calls here.
        let allowed = Policy::of_function().before(table.faults.http_client());
        let records = Records::connect(RecordsConfig {
            table: table.records.table().to_owned(),
            endpoint: Some(table.endpoint.clone()),
            http_client: Some(allowed),
            ..RecordsConfig::default()
        });
        let function = CheckInFunction::new(records.await, settings);
        Self { table, function }
    }

    /// Creates an active package with these success codes.
    pub(crate) async fn package_with_codes(&self, name: &str, codes: &[i32]) -> PackageRecord {
        self.publish(&Reservation {
            success_codes: codes.iter().copied().collect(),
            ..reservation(name, 5)
        })
        .await
    }

    /// Creates an active package.
    pub(crate) async fn publish(&self, reservation: &Reservation) -> PackageRecord {
        let records = &self.table.records;
        let (Reserved::New(package) | Reserved::Resumed(package)) = records
            .reserve(reservation, NOW)
            .await
            .expect("a package can be reserved");
        records
            .publish(package.id, &published(package.id), &mia())
            .await
            .expect("a draft can be published");
        records
            .activate(package.id, &[location()], &mia())
            .await
            .expect("a published package can be activated")
    }

    pub(crate) async fn assign(&self, device: &DeviceId, package: &PackageRecord, force: bool) {
        let assigned = self
            .table
            .records
            .assign(device, package, force, signing())
            .await
            .expect("a package can be assigned");
        assert!(
            matches!(assigned, AssignOutcome::New { .. }),
            "{assigned:?}"
        );
    }

    /// Returns the open tasks of a device.
    pub(crate) async fn tasks(&self, device: &DeviceId) -> Vec<OpenTask> {
        let device_state = self.table.records.device_state(device).await;
        device_state.expect("a device can be read").tasks
    }

    /// Returns the code of a device's finished attempt.
    pub(crate) async fn code(&self, device: &DeviceId, package: PackageId) -> Option<String> {
        let finished = self.table.records.finished(device, package).await;
        let finished = finished.expect("a result can be read")?;
        Some(finished.code.to_string())
    }

    /// Returns the numbers of devices that are announced, succeeded and failed.
    pub(crate) async fn counts(&self, package: PackageId) -> [u64; 3] {
        let tally = self.table.records.tally(package).await;
        let tally = tally.expect("a tally can be read");
        [tally.announced, tally.succeeded, tally.failed]
    }

    pub(crate) async fn send(&self, request: Request<Bytes>, now: UnixTime) -> Reply {
        self.send_to(&self.function, request, now).await
    }

    /// Sends a request to another function over the same records.
    pub(crate) async fn send_to(
        &self,
        function: &CheckInFunction,
        request: Request<Bytes>,
        now: UnixTime,
    ) -> Reply {
        let response = function.handle(request, now).await;
        let header = response.headers().get(CONTENT_TYPE);
        let content_type = header.and_then(|header| header.to_str().ok());
        Reply {
            status: response.status(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: response.into_body(),
        }
    }

    /// Posts a body to the address of OCS agents.
    pub(crate) async fn post(&self, body: impl Into<Bytes>) -> Reply {
        let request = ocs_request(PATH_TOKEN).body(body.into());
        self.send(request.expect("a request"), NOW).await
    }

    /// Posts a document as a Unix agent does, and returns the reply's document.
    pub(crate) async fn ocs_at(&self, xml: &str, now: UnixTime) -> String {
        let request = ocs_request(PATH_TOKEN).body(zlib(xml).into());
        let reply = self.send(request.expect("a request"), now).await;
        assert_eq!(reply.status, StatusCode::OK, "{xml}");
        assert_eq!(reply.content_type, "application/x-compressed", "{xml}");
        reply.inflated()
    }

    /// Posts a document to another function over the same records.
    pub(crate) async fn ocs_by(&self, function: &CheckInFunction, xml: &str) -> String {
        let request = ocs_request(PATH_TOKEN).body(zlib(xml).into());
        let response = function.handle(request.expect("a request"), NOW).await;
        let reply = Reply {
            status: response.status(),
            content_type: String::new(),
            body: response.into_body(),
        };
        assert_eq!(reply.status, StatusCode::OK, "{xml}");
        reply.inflated()
    }

    pub(crate) async fn ocs(&self, xml: &str) -> String {
        self.ocs_at(xml, NOW).await
    }

    /// Creates a device whose next check-ins change nothing.
    pub(crate) async fn settled_device(&self, number: u32) -> DeviceId {
        self.ocs(&prolog(number)).await;
        self.ocs(&inventory(number, &[])).await;
        self.table.meter.take();
        device(number)
    }

    /// Returns the operations on the table since the last call.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.table.meter.take().operations
    }
}

impl Reply {
    /// Inflates the body as a Unix agent does: it is empty, or a complete zlib stream.
    pub(crate) fn inflated(&self) -> String {
        use std::io::Read as _;
        let mut text = String::new();
        if !self.body.is_empty() {
            flate2::read::ZlibDecoder::new(&self.body[..])
                .read_to_string(&mut text)
                .expect("the reply is a complete zlib stream of UTF-8");
        }
        text
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the reply is UTF-8")
    }
}

pub(crate) fn ocs_request(token: &str) -> Builder {
    Request::post(format!("/ocsinventory/{token}")).header(USER_AGENT, UNIX_AGENT)
}

pub(crate) fn zlib(xml: &str) -> Vec<u8> {
    envelope::seal(Coding::Zlib, xml.as_bytes())
}

fn name(number: u32) -> String {
    format!("pc{number}-2026-03-04-05-06-07")
}

pub(crate) fn device(number: u32) -> DeviceId {
    let id = format!("ocs:{}", name(number));
    id.parse().expect("a device id of an OCS agent")
}

pub(crate) fn prolog(number: u32) -> String {
    let name = name(number);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REQUEST>\n  <DEVICEID>{name}</DEVICEID>\n  <QUERY>PROLOG</QUERY>\n</REQUEST>\n"
    )
}

/// Returns a report in the form of a Unix agent: without a declaration, all fields in
/// attributes.
pub(crate) fn download(number: u32, package: impl std::fmt::Display, code: &str) -> String {
    let name = name(number);
    format!("<REQUEST DEVICEID=\"{name}\" ERR=\"{code}\" ID=\"{package}\" QUERY=\"DOWNLOAD\" />\n")
}

pub(crate) fn inventory(number: u32, history: &[PackageId]) -> String {
    let name = name(number);
    let packages: String = history
        .iter()
        .map(|id| format!("<PACKAGE ID=\"{id}\" />"))
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REQUEST><CONTENT><HARDWARE><NAME>pc{number}</NAME><OSNAME>Debian GNU/Linux 12</OSNAME></HARDWARE><DOWNLOAD><HISTORY>{packages}</HISTORY></DOWNLOAD></CONTENT><DEVICEID>{name}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>\n"
    )
}

/// Returns the element of each announced package, as text.
pub(crate) fn packs(reply: &str) -> Vec<&str> {
    let lines = reply.lines().map(str::trim);
    lines
        .filter(|line| line.contains("TYPE=\"PACK\""))
        .collect()
}

/// Returns the value of an attribute.
pub(crate) fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}

/// Returns the ids of the announced packages, in order.
pub(crate) fn announced(reply: &str) -> Vec<PackageId> {
    packs(reply)
        .into_iter()
        .filter_map(|pack| attribute(pack, "ID")?.parse().ok())
        .collect()
}
