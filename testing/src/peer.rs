//! Simulated devices with both kinds of agents: they send the requests that a test asks for.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use http::Request;
use http::header::USER_AGENT;
use packcast_protocol::api::{
    Admission, BEGIN_PATH, BeginRequest, BoundedText, CHECK_IN_PATH, CheckInReply, CheckInRequest,
    DailyFacts, DeviceFacts, FactValues, FreePercent, MAX_VOLUMES, REPORT_PATH, Report,
    ReportReply, ReportRequest, Secret, VolumeFact,
};
use packcast_protocol::http_signature::DeviceKey;
use packcast_protocol::ocs::envelope::{self, Coding};
use packcast_protocol::state::document::PlainText;
use packcast_protocol::state::exchange::{
    BoundedList, MachineFacts, UsedMandates, WaitingPackages,
};
use packcast_protocol::state::held::Refusal;
use packcast_protocol::state::{HeldState, TrustedRoots, VerifiedState};
use packcast_protocol::{DeviceId, LocationName, PackageId, UnixTime};

use crate::commits::trust;

/// The path token of every OCS peer.
pub const PATH_TOKEN: &str = "path-token-one-1";
/// The enrolment token of every Packcast peer.
pub const ENROLMENT_TOKEN: &str = "enrolment-token-1";
/// The part of a DEVICEID after the host name.
const STAMP: &str = "-2026-03-04-05-06-07";
const UNIX_AGENT: &str = "OCS-NG_unified_unix_agent_v2.10.0";

/// A simulated device, which a function with [`PATH_TOKEN`] and [`ENROLMENT_TOKEN`] admits.
#[derive(Debug)]
pub struct Peer {
    agent: PeerAgent,
    /// Boxed, because the futures of tests contain many peers.
    names: Box<PeerNames>,
}

/// The names that a device reports of itself.
#[derive(Debug)]
struct PeerNames {
    host: String,
    os: String,
    agent: String,
    /// The id of the machine (Packcast agents only).
    machine: String,
    /// The end of the output of each program (Packcast agents only); empty if there is none.
    output: String,
    /// The daily facts, in each check-in (Packcast agents only).
    daily: Option<DailyFacts>,
}

#[derive(Debug)]
enum PeerAgent {
    /// An OCS agent, with its DEVICEID.
    Ocs(String),
    Packcast(Box<PackcastPeer>),
}

/// A Packcast agent.
#[derive(Debug)]
struct PackcastPeer {
    key: DeviceKey,
    pass: OnceLock<Secret>,
    followed: Mutex<FollowedState>,
}

/// The signed state of a target on a device.
#[derive(Debug)]
struct FollowedState {
    verified: VerifiedState,
    /// Locations of the tasks in the last reply.
    locations: BTreeSet<LocationName>,
    /// The mark of the last reply that further parts follow.
    more: bool,
}

/// The tasks in the reply to a check-in, in the order of the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerReply {
    /// Packages with their attempts; OCS agents are not sent the attempts.
    pub tasks: Vec<(PackageId, Option<u32>)>,
    /// Attempts that Packcast agents have to cancel.
    pub cancel: Vec<(PackageId, u32)>,
}

/// A result that a device reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerResult {
    pub package: PackageId,
    /// The attempt that the result belongs to; OCS agents do not report it.
    pub attempt: u32,
    pub code: &'static str,
}

impl Peer {
    /// Returns a device with an OCS agent.
    pub fn ocs(number: u32) -> Self {
        Self::ocs_on(&format!("pc{number}{STAMP}"), "Debian", UNIX_AGENT)
    }

    /// Returns a device with this OCS agent, and a DEVICEID whose host name has no hyphen.
    pub fn ocs_on(device_id: &str, os: &str, agent: &str) -> Self {
        let (host, _) = device_id.split_once('-').expect("a DEVICEID has a stamp");
        Self {
            agent: PeerAgent::Ocs(device_id.to_owned()),
            names: Box::new(PeerNames {
                host: host.to_owned(),
                os: os.to_owned(),
                agent: agent.to_owned(),
                machine: String::new(),
                output: String::new(),
                daily: None,
            }),
        }
    }

    /// Returns a device with a Packcast agent, which follows the signed state of the test target; its
    /// key depends on the number only.
    pub fn packcast(number: u32) -> Self {
        Self::packcast_on(number, &format!("pc{number}"), trust())
    }

    /// Returns a device with this host name, which follows the signed state of any target.
    pub fn packcast_on(number: u32, host: &str, trust: TrustedRoots) -> Self {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let key = DeviceKey::from_seed(&seed).expect("any bytes are a seed");
        let followed = FollowedState {
            verified: VerifiedState::new(key.id(), trust, UnixTime(0), []),
            locations: BTreeSet::new(),
            more: false,
        };
        Self {
            agent: PeerAgent::Packcast(Box::new(PackcastPeer {
                key,
                pass: OnceLock::new(),
                followed: Mutex::new(followed),
            })),
            names: Box::new(PeerNames {
                host: host.to_owned(),
                os: "linux".to_owned(),
                agent: "packcast-agent/0.1.0".to_owned(),
                machine: format!("hardware:{number}"),
                output: String::new(),
                daily: None,
            }),
        }
    }

    /// Lets all programs on a device with a Packcast agent print this text.
    #[must_use]
    pub fn printing(mut self, output: &str) -> Self {
        output.clone_into(&mut self.names.output);
        self
    }

    /// Gives a device that has not checked in yet the longest names that the function accepts.
    #[must_use]
    pub fn with_longest_names(self) -> Self {
        let (agent, host, os) = match self.agent {
            PeerAgent::Ocs(_) => {
                let name = "d".repeat(200 - STAMP.len()) + STAMP;
                (PeerAgent::Ocs(name), "h".repeat(255), "o".repeat(255))
            }
            packcast @ PeerAgent::Packcast(_) => (packcast, "h".repeat(253), "o".repeat(64)),
        };
        let names = Box::new(PeerNames {
            host,
            os,
            agent: "a".repeat(64),
            machine: "m".repeat(64),
            output: self.names.output,
            daily: Some(longest_facts()),
        });
        Self { agent, names }
    }

    pub fn host_name(&self) -> &str {
        &self.names.host
    }

    pub const fn is_ocs(&self) -> bool {
        matches!(self.agent, PeerAgent::Ocs(_))
    }

    pub fn device(&self) -> DeviceId {
        match &self.agent {
            PeerAgent::Ocs(name) => format!("ocs:{name}").parse().expect("a DEVICEID"),
            PeerAgent::Packcast(packcast) => DeviceId::Agent(packcast.key.id()),
        }
    }

    /// Returns the state that the device has verified; `None` if it follows no signed state.
    pub fn state(&self) -> Option<VerifiedState> {
        Some(self.followed()?.verified.clone())
    }

    /// Returns whether the device asks again at once, because it lacks parts of the signed state.
    pub fn asks_again(&self) -> bool {
        self.followed().is_some_and(|followed| {
            let lacks = followed.verified.completeness(&followed.locations).lacks;
            followed.more || !lacks.is_empty()
        })
    }

    fn followed(&self) -> Option<MutexGuard<'_, FollowedState>> {
        match &self.agent {
            PeerAgent::Ocs(_) => None,
            PeerAgent::Packcast(packcast) => Some(lock(&packcast.followed)),
        }
    }

    /// Returns a check-in. A Packcast agent includes its pass and the documents that it holds, both
    /// as of the last [`Peer::read_reply`], and may report results.
    pub fn check_in(&self, results: &[PeerResult], now: UnixTime) -> Request<Bytes> {
        match &self.agent {
            PeerAgent::Ocs(name) => self.posted(&format!(
                "<REQUEST><DEVICEID>{name}</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>"
            )),
            PeerAgent::Packcast(packcast) => {
                let asking = CheckInRequest {
                    facts: self.facts(),
                    machine: self.machine(now),
                    daily: self.names.daily.clone(),
                    results: results.iter().map(|it| self.report(it, now)).collect(),
                    waits: WaitingPackages::default(),
                    holds: lock(&packcast.followed).summary(),
                };
                packcast.signed(CHECK_IN_PATH, &asking, now)
            }
        }
    }

    /// Returns the inventory of an OCS agent, which the function requests once.
    pub fn inventory(&self) -> Option<Request<Bytes>> {
        let PeerAgent::Ocs(name) = &self.agent else {
            return None;
        };
        let PeerNames { host, os, .. } = &*self.names;
        Some(self.posted(&format!(
            "<REQUEST><CONTENT><HARDWARE><NAME>{host}</NAME><OSNAME>{os}</OSNAME></HARDWARE></CONTENT><DEVICEID>{name}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>"
        )))
    }

    /// Reports results: a Packcast agent all in one request, an OCS agent each in its own.
    pub fn reports(&self, results: &[PeerResult], now: UnixTime) -> Vec<Request<Bytes>> {
        match &self.agent {
            PeerAgent::Ocs(name) => results
                .iter()
                .map(|PeerResult { package, code, .. }| {
                    self.posted(&format!(
                        "<REQUEST DEVICEID=\"{name}\" ERR=\"{code}\" ID=\"{package}\" QUERY=\"DOWNLOAD\" />"
                    ))
                })
                .collect(),
            PeerAgent::Packcast(packcast) => {
                let results = results.iter().map(|it| self.report(it, now)).collect();
                let sent = ReportRequest { results };
                vec![packcast.signed(REPORT_PATH, &sent, now)]
            }
        }
    }

    /// Returns the question before a Packcast agent begins with a package: under all assignments of
    /// the state that it holds. `None` for an OCS agent, and for a device without a whole state.
    pub fn begin(&self, id: PackageId, attempt: u32, now: UnixTime) -> Option<Request<Bytes>> {
        let PeerAgent::Packcast(packcast) = &self.agent else {
            return None;
        };
        let followed = lock(&packcast.followed);
        let whole = followed.verified.whole(&followed.locations, now).ok()?;
        let asked = BeginRequest {
            id,
            attempt,
            commit: whole.under().highest.commit,
            mandates: UsedMandates::first(whole.mandates(id)),
        };
        Some(packcast.signed(BEGIN_PATH, &asked, now))
    }

    /// Reads the reply to a check-in.
    ///
    /// # Panics
    /// The device refuses a part of the signed state.
    pub fn read_reply(&self, reply: &[u8]) -> PeerReply {
        match &self.agent {
            PeerAgent::Ocs(_) => {
                let (_, content) = envelope::open(reply).expect("a reply in zlib");
                let text = String::from_utf8(content).expect("replies are UTF-8");
                let tasks = announced(&text).map(|id| (id, None)).collect();
                let cancel = Vec::new();
                PeerReply { tasks, cancel }
            }
            PeerAgent::Packcast(packcast) => {
                let reply: CheckInReply = serde_json::from_slice(reply).expect("a reply in JSON");
                lock(&packcast.followed).accept(&reply);
                if let Some(pass) = reply.pass {
                    // Two concurrent enrolments get the same pass.
                    let _ = packcast.pass.set(pass);
                }
                let tasks = reply.tasks.iter().map(|task| (task.id, Some(task.attempt)));
                let cancel = reply.cancel.iter().map(|task| (task.id, task.attempt));
                PeerReply {
                    tasks: tasks.collect(),
                    cancel: cancel.collect(),
                }
            }
        }
    }

    /// Reads the reply to reports: the packages that a Packcast agent need not report again.
    pub fn accepted(&self, reply: &[u8]) -> Option<Vec<PackageId>> {
        match &self.agent {
            PeerAgent::Ocs(_) => None,
            PeerAgent::Packcast(..) => {
                let reply: ReportReply = serde_json::from_slice(reply).expect("a reply in JSON");
                Some(reply.accepted)
            }
        }
    }

    fn report(&self, result: &PeerResult, now: UnixTime) -> Report {
        let output = &self.names.output;
        Report {
            id: result.package,
            attempt: result.attempt,
            code: result.code.parse().expect("a result code"),
            detail: None,
            output_tail: (!output.is_empty()).then(|| BoundedText::tail(output)),
            finished: now,
            boot: None,
            mandates: UsedMandates::default(),
        }
    }

    fn posted(&self, document: &str) -> Request<Bytes> {
        Request::post(format!("/ocsinventory/{PATH_TOKEN}"))
            .header(USER_AGENT, &self.names.agent)
            .body(envelope::seal(Coding::Zlib, document.as_bytes()).into())
            .expect("a request")
    }

    fn facts(&self) -> DeviceFacts {
        DeviceFacts {
            host_name: BoundedText::tail(&self.names.host),
            os: BoundedText::tail(&self.names.os),
            arch: BoundedText::tail("x86_64"),
            agent: BoundedText::tail(&self.names.agent),
        }
    }

    fn machine(&self, now: UnixTime) -> MachineFacts {
        MachineFacts::new("linux-x86_64", Some(&self.names.machine), None, now)
    }
}

impl PackcastPeer {
    /// Signs a request, which is admitted by the pass, or by the enrolment token if there is no pass.
    fn signed(&self, path: &str, content: &impl serde::Serialize, now: UnixTime) -> Request<Bytes> {
        let body = serde_json::to_vec(content).expect("a request is JSON");
        let admission = self.pass.get().cloned().map_or_else(
            || Admission::Token(ENROLMENT_TOKEN.parse().expect("a token")),
            Admission::Pass,
        );
        let mut request = Request::post(path);
        for (name, value) in self.key.sign("POST", path, &admission, &body, now) {
            request = request.header(name, value);
        }
        request.body(body.into()).expect("a request")
    }
}

impl FollowedState {
    fn summary(&self) -> HeldState {
        self.verified.summary(&self.locations)
    }

    /// Accepts the state of a reply as an agent does.
    fn accept(&mut self, reply: &CheckInReply) {
        let tasks = reply.tasks.iter();
        self.locations = tasks
            .flat_map(|task| task.locations.iter().cloned())
            .collect();
        self.more = false;
        if let Some(text) = &reply.state {
            let accepted = self.verified.accept(text, &self.locations);
            let refused = accepted.refused.iter().filter(|it| !is_late(it));
            assert_eq!(refused.count(), 0, "{:?}", accepted.refused);
            self.more = accepted.more;
        }
    }
}

/// Returns daily facts that take all of the space that they may take.
fn longest_facts() -> DailyFacts {
    let volume = VolumeFact {
        path: PlainText::shortened(&"v".repeat(64)),
        size_gib: u32::MAX,
        free_percent: FreePercent::of(1, 1),
    };
    DailyFacts::fitting(FactValues {
        os_name: Some(PlainText::shortened(&"o".repeat(64))),
        os_version: Some(PlainText::shortened(&"v".repeat(64))),
        domain: Some(PlainText::shortened(&"d".repeat(253))),
        model: Some(PlainText::shortened(&"m".repeat(128))),
        volumes: BoundedList::first(vec![volume; MAX_VOLUMES]),
        site: Some(PlainText::shortened(&"s".repeat(48))),
        ..FactValues::default()
    })
}

/// Returns true if a state is refused because the device has accepted another reply since it asked.
/// Tests send several check-ins of a device at once.
const fn is_late(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NotLater { .. } | Refusal::NotShown { .. } | Refusal::OtherCommit { .. }
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the ids of the announced packages, in their order.
fn announced(reply: &str) -> impl Iterator<Item = PackageId> {
    let packs = reply.lines().filter(|line| line.contains("TYPE=\"PACK\""));
    packs.filter_map(|pack| {
        let (_, rest) = pack.split_once(" ID=\"")?;
        rest.split('"').next()?.parse().ok()
    })
}
