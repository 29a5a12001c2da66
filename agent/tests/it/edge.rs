//! A check-in function and a location, behind one HTTPS address on loopback.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{LOCATION, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use packcast_protocol::api::{
    Admission, BeginReply, BeginRequest, Cancel, CheckInReply, CheckInRequest, DailyFacts, Problem,
    ProblemKind, Report, ReportReply, ReportRequest, Task,
};
use packcast_protocol::http_signature::{HttpSignatureError, SignedHeaders};
use packcast_protocol::state::exchange::{MachineFacts, WaitingPackage};
use packcast_protocol::{AgentId, Location, LocationName, PackageId, UnixTime};
use rcgen::CertifiedKey;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::publisher::{Content, StatePublisher, unix_now};

pub(crate) const TOKEN: &str = "enrolment-token-0123456789";
const PASS: &str = "pass-of-this-device-0123456789";

/// The answers of the edge, and the requests that it received.
#[derive(Default)]
pub(crate) struct EdgeState {
    /// The answers for each path, in order. The last one is repeated.
    objects: HashMap<String, VecDeque<(u16, Vec<u8>)>>,
    pub(crate) tasks: Vec<Task>,
    /// Signs the state of the target.
    pub(crate) target: Option<StatePublisher>,
    pub(crate) commits: Commits,
    /// The locations in commits that assign the tasks.
    pub(crate) locations: BTreeMap<LocationName, Location>,
    pub(crate) cancel: Vec<Cancel>,
    /// The paths of the requested objects, in order.
    pub(crate) gets: Vec<String>,
    pub(crate) reports: Vec<Report>,
    /// The packages of the last check-in with which the device does not begin.
    pub(crate) waits: Vec<WaitingPackage>,
    /// The machine of the last check-in.
    pub(crate) machine: Option<MachineFacts>,
    /// The daily facts of each answered check-in.
    pub(crate) daily: Vec<Option<DailyFacts>>,
    /// The answer to daily facts.
    pub(crate) facts_answer: FactsAnswer,
    /// The size of each check-in, in bytes.
    pub(crate) check_in_bytes: Vec<usize>,
    pub(crate) enrolments: usize,
    pub(crate) refuse_reports: bool,
    /// The questions before packages begin.
    pub(crate) begins: Vec<BeginRequest>,
    /// The answers to the next questions, in order: a status, and a reply. Later ones get `go`.
    pub(crate) answers: VecDeque<(u16, BeginReply)>,
    /// The time of the function's clock, if the clock is wrong on purpose.
    pub(crate) clock: Option<UnixTime>,
    /// The times of the signatures that this clock refused.
    pub(crate) skewed: Vec<UnixTime>,
    /// The number of requests without a signature.
    pub(crate) unsigned: usize,
    pub(crate) forget_pass: bool,
    pub(crate) statuses: VecDeque<u16>,
    /// The paths of objects that get no answer for now.
    silent: HashSet<String>,
    /// Notified when one of these paths is answered again.
    spoken: Arc<Notify>,
    pub(crate) next_check_in_s: Option<u32>,
    /// Notified of each answered check-in.
    pub(crate) checked_in: Option<Sender<()>>,
    /// The largest accepted body, in bytes.
    pub(crate) body_limit: Option<usize>,
    /// The address that all requests are redirected to.
    pub(crate) moved_to: Option<SocketAddr>,
    pub(crate) connections: usize,
    /// The version and headers of each request for an object.
    pub(crate) requests: Vec<RequestHead>,
    under_way: usize,
    pub(crate) most_under_way: usize,
}

/// The commits of the target.
#[derive(Clone, Copy, Default)]
pub(crate) enum Commits {
    /// Only the test makes commits.
    #[default]
    OfTest,
    /// Each check-in makes a commit that assigns the tasks to all devices, if they have changed.
    OfTasks { force: bool },
}

/// The answer of the edge to daily facts.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FactsAnswer {
    /// The answer of an older function.
    #[default]
    None,
    Recorded,
    Refused,
}

/// The parts of a request besides its path.
pub(crate) struct RequestHead {
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

/// A running edge, and its state.
pub(crate) struct Edge {
    world: Arc<Mutex<EdgeState>>,
    pub(crate) address: SocketAddr,
}

impl Edge {
    pub(crate) async fn start(key: &CertifiedKey<rcgen::KeyPair>) -> Self {
        let world = Arc::new(Mutex::new(EdgeState::default()));
        let address = serve(key, Arc::clone(&world)).await;
        Self { world, address }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, EdgeState> {
        self.world.lock().unwrap()
    }

    /// Returns the location of the packages.
    pub(crate) fn location(&self) -> Location {
        self.address.to_string().parse().unwrap()
    }

    /// Serves an object: the contents in order, then the last one forever.
    pub(crate) fn put(&self, path: &str, contents: &[&[u8]]) {
        let answers = contents.iter().map(|content| (200, content.to_vec()));
        self.answer(path, answers.collect());
    }

    /// Answers with a status instead of an object.
    pub(crate) fn put_status(&self, path: &str, status: u16) {
        self.answer(path, [(status, Vec::new())].into());
    }

    /// Sends no answer for an object until [`Edge::speak`].
    pub(crate) fn silence(&self, path: &str) {
        self.world().silent.insert(format!("/objects/{path}"));
    }

    /// Answers for an object again, including the waiting requests.
    pub(crate) fn speak(&self, path: &str) {
        let mut world = self.world();
        world.silent.remove(&format!("/objects/{path}"));
        world.spoken.notify_waiters();
    }

    fn answer(&self, path: &str, answers: VecDeque<(u16, Vec<u8>)>) {
        let path = format!("/objects/{path}");
        self.world().objects.insert(path, answers);
    }

    /// Serves the current objects of another edge.
    pub(crate) fn copy(&self, other: &Self) {
        let objects = other.world().objects.clone();
        self.world().objects = objects;
    }

    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        let path = format!("/objects/{path}");
        self.world().objects[&path][0].1.clone()
    }

    /// Returns the number of requests for an object.
    pub(crate) fn gets(&self, path: &str) -> usize {
        let path = format!("/objects/{path}");
        self.world().gets.iter().filter(|got| **got == path).count()
    }
}

async fn serve(key: &CertifiedKey<rcgen::KeyPair>, world: Arc<Mutex<EdgeState>>) -> SocketAddr {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            world.lock().unwrap().connections += 1;
            let (acceptor, world) = (acceptor.clone(), Arc::clone(&world));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(move |request| answer(Arc::clone(&world), request));
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

async fn answer(
    world: Arc<Mutex<EdgeState>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = parts.uri.path().to_owned();
    if let Some(address) = world.lock().unwrap().moved_to {
        return Ok(moved(&format!("https://{address}{path}")));
    }
    if path.starts_with("/objects/") {
        world.lock().unwrap().begin(&parts);
        // Parallel requests must overlap here, so that the test can count them.
        tokio::task::yield_now().await;
        world.lock().unwrap().under_way -= 1;
    }
    loop {
        let spoken = Arc::clone(&world.lock().unwrap().spoken);
        // The notification is registered here, before the check below.
        let spoken = spoken.notified();
        if !world.lock().unwrap().silent.contains(&path) {
            break;
        }
        spoken.await;
    }
    let (status, body) = world.lock().unwrap().answer(&path, &parts, &body);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status.try_into().unwrap();
    Ok(response)
}

fn moved(url: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, url.parse().unwrap());
    headers.insert(SET_COOKIE, "who=device; Secure".parse().unwrap());
    response
}

impl EdgeState {
    fn begin(&mut self, request: &Parts) {
        self.under_way += 1;
        self.most_under_way = self.most_under_way.max(self.under_way);
        self.requests.push(RequestHead {
            version: request.version,
            headers: request.headers.clone(),
        });
    }

    fn answer(&mut self, path: &str, parts: &Parts, body: &[u8]) -> (u16, Vec<u8>) {
        if path.starts_with("/objects/") {
            self.gets.push(path.to_owned());
            return self.object(path);
        }
        if let Some(status) = self.statuses.pop_front() {
            return (status, Vec::new());
        }
        let now = self.clock.unwrap_or_else(|| UnixTime(unix_now()));
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
        // Such as the request of `packcast-agent check`.
        let Ok(signed) = SignedHeaders::read(headers) else {
            self.unsigned += 1;
            return refused(400, ProblemKind::BadRequest, now);
        };
        let device = match signed.verify(parts.method.as_str(), path, body, now) {
            Ok(device) => device,
            Err(HttpSignatureError::Skew { created, .. }) => {
                self.skewed.push(created);
                return refused(401, ProblemKind::ClockSkew, now);
            }
            Err(error) => panic!("{error}"),
        };
        if self.body_limit.is_some_and(|limit| body.len() > limit) {
            return refused(413, ProblemKind::TooLarge, now);
        }
        match path {
            "/v1/check-in" => self.check_in(&device, signed.admission(), body, now),
            "/v1/report" => self.report(body, now),
            "/v1/begin" => self.begin_package(body),
            _ => refused(404, ProblemKind::NotFound, now),
        }
    }

    fn object(&mut self, path: &str) -> (u16, Vec<u8>) {
        match self.objects.get_mut(path) {
            None => (404, Vec::new()),
            Some(answers) if answers.len() > 1 => answers.pop_front().unwrap(),
            Some(answers) => answers[0].clone(),
        }
    }

    fn check_in(
        &mut self,
        device: &AgentId,
        admission: &Admission,
        body: &[u8],
        now: UnixTime,
    ) -> (u16, Vec<u8>) {
        let request: CheckInRequest = serde_json::from_slice(body).unwrap();
        let (enrols, admits) = match admission {
            Admission::Token(token) => (true, token.reveal() == TOKEN),
            Admission::Pass(pass) => {
                let forgotten = std::mem::take(&mut self.forget_pass);
                (false, pass.reveal() == PASS && !forgotten)
            }
        };
        if !admits {
            return refused(403, ProblemKind::NotEnrolled, now);
        }
        self.enrolments += usize::from(enrols);
        self.waits = request.waits.as_slice().to_vec();
        self.machine = Some(request.machine);
        let accepted = self.accept(request.results);
        let content = self.content();
        let target = self.target.as_mut().unwrap();
        if let Commits::OfTasks { .. } = self.commits {
            target.commit_if_changed(content);
        }
        let state = target.reply(device, request.holds);
        if self.facts_answer == FactsAnswer::Refused && request.daily.is_some() {
            return refused(400, ProblemKind::BadRequest, now);
        }
        let is_recorded = self.facts_answer == FactsAnswer::Recorded;
        let daily_recorded = is_recorded && request.daily.is_some();
        self.daily.push(request.daily);
        self.check_in_bytes.push(body.len());
        let reply = CheckInReply {
            daily_recorded,
            pass: enrols.then(|| PASS.parse().unwrap()),
            tasks: self.tasks.clone(),
            cancel: self.cancel.clone(),
            accepted,
            state,
            next_check_in_s: self.next_check_in_s.unwrap_or(3600),
        };
        if let Some(checked_in) = &self.checked_in {
            let _ = checked_in.send(());
        }
        (200, serde_json::to_vec(&reply).unwrap())
    }

    /// Returns the content of a state that assigns the tasks.
    pub(crate) fn content(&self) -> Content {
        let force = matches!(self.commits, Commits::OfTasks { force: true });
        Content::of_tasks(&self.tasks, force, self.locations.clone())
    }

    fn report(&mut self, body: &[u8], now: UnixTime) -> (u16, Vec<u8>) {
        let request: ReportRequest = serde_json::from_slice(body).unwrap();
        if self.refuse_reports {
            return refused(400, ProblemKind::BadRequest, now);
        }
        let accepted = self.accept(request.results);
        (200, serde_json::to_vec(&ReportReply { accepted }).unwrap())
    }

    fn begin_package(&mut self, body: &[u8]) -> (u16, Vec<u8>) {
        self.begins.push(serde_json::from_slice(body).unwrap());
        let (status, reply) = self.answers.pop_front().unwrap_or((200, BeginReply::Go));
        (status, serde_json::to_vec(&reply).unwrap())
    }

    fn accept(&mut self, reports: Vec<Report>) -> Vec<PackageId> {
        let ids = reports.iter().map(|report| report.id).collect();
        self.reports.extend(reports);
        ids
    }
}

/// A detail that clears a terminal, and forges a line.
const HOSTILE_DETAIL: &str = "refused by the lab\u{1b}[2J\nforged";

fn refused(status: u16, kind: ProblemKind, now: UnixTime) -> (u16, Vec<u8>) {
    let problem = Problem {
        kind,
        detail: HOSTILE_DETAIL.to_owned(),
        now,
    };
    (status, serde_json::to_vec(&problem).unwrap())
}
