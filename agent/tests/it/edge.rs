//! A check-in function and a location, behind one HTTPS address on loopback.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use packcast_agent::event::Event;
use packcast_protocol::api::{
    CheckInReply, CheckInRequest, Problem, ProblemKind, Report, ReportReply, ReportRequest, Secret,
    Task,
};
use packcast_protocol::http_signature::{SignedRequest, verify};
use packcast_protocol::manifest::{Audience, Platform, SchemaNumber};
use packcast_protocol::{
    Action, Archive, ArchiveFormat, FragmentSize, Location, Manifest, PackageId, Priority,
    Sha256Digest, UnixTime,
};
use rcgen::CertifiedKey;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const TOKEN: &str = "enrolment-token-0123456789";
const PASS: &str = "pass-of-this-device-0123456789";

/// A time that the function's clock shows when it is wrong on purpose.
const FAR: UnixTime = UnixTime(4_000_000_000);

/// What the edge answers, and what it was asked.
#[derive(Default)]
pub(crate) struct World {
    /// The answers for a path, in turn; the last one stays.
    objects: HashMap<String, VecDeque<(u16, Vec<u8>)>>,
    pub(crate) tasks: Vec<Task>,
    /// Paths of the objects asked for, in order.
    pub(crate) gets: Vec<String>,
    pub(crate) reports: Vec<Report>,
    pub(crate) enrolments: usize,
    pub(crate) refuse_reports: bool,
    pub(crate) clock: Option<UnixTime>,
    pub(crate) forget_pass: bool,
    pub(crate) statuses: VecDeque<u16>,
    /// The largest body that is taken, in bytes.
    pub(crate) body_limit: Option<usize>,
}

/// A device with the agent's program, and everything it talks to.
pub(crate) struct Lab {
    _runtime: Runtime,
    pub(crate) world: Arc<Mutex<World>>,
    address: SocketAddr,
    signer: minisign::KeyPair,
    dir: tempfile::TempDir,
}

/// What a package is made of, besides its id.
pub(crate) struct Package {
    pub(crate) id: u32,
    pub(crate) archive: Option<Vec<u8>>,
    pub(crate) change: fn(&mut Manifest),
}

impl Package {
    fn manifest(&self, id: PackageId, action: Action<()>) -> Manifest {
        let describe = |bytes: &[u8]| {
            let fragments = bytes.chunks(1024).map(Sha256Digest::of).collect();
            let size = FragmentSize::try_from(1024).unwrap();
            let digest = Sha256Digest::of(bytes);
            Archive::new(
                ArchiveFormat::TarGz,
                bytes.len() as u64,
                digest,
                size,
                fragments,
            )
            .unwrap()
        };
        let archive = self.archive.as_deref();
        let mut manifest = Manifest {
            schema: SchemaNumber,
            id,
            name: "lab".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            priority: Priority::DEFAULT,
            action: action.map_archive(|()| describe(archive.unwrap())),
            platform: Platform::Any,
            success_codes: [0].into(),
            reboot_codes: [].into(),
            timeout_s: 60,
            rerun_after_interruption: false,
            going_back: false,
            expires: UnixTime(4_102_444_800),
            audience: Audience::Any,
        };
        (self.change)(&mut manifest);
        manifest
    }
}

pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) events: Vec<Event>,
    pub(crate) stderr: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), key.cert.pem()).unwrap();
        let address = runtime.block_on(serve(&key, Arc::clone(&world)));
        let lab = Self {
            _runtime: runtime,
            world,
            address,
            signer: minisign::KeyPair::generate_unencrypted_keypair().unwrap(),
            dir,
        };
        lab.configure();
        private_folder(&lab.state());
        lab
    }

    fn configure(&self) {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let mut text = String::new();
        let _ = writeln!(text, "server = \"https://{}\"", self.address);
        let _ = writeln!(text, "state_dir = {:?}", path("state"));
        let _ = writeln!(text, "ca_file = {:?}", path("ca.pem"));
        let _ = writeln!(text, "enrolment_token_file = {:?}", path("token"));
        let _ = writeln!(text, "trusted_keys = [\"{}\"]", self.signer.pk.to_base64());
        std::fs::write(path("agent.toml"), text).unwrap();
        private(&self.dir.path().join("token"), TOKEN);
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Publishes a package and makes a task of it.
    pub(crate) fn assign(&self, action: Action<()>, package: Package) -> PackageId {
        let id = PackageId::try_from(1_795_000_000 + package.id).unwrap();
        let manifest = package.manifest(id, action);
        let bytes = manifest.to_bytes().unwrap();
        let signature = minisign::sign(None, &self.signer.sk, &bytes[..], None, None).unwrap();
        let digest = Sha256Digest::of(&bytes);
        self.put(&format!("{id}/manifest.json"), &[&bytes]);
        self.put(
            &format!("{id}/manifest.json.minisig"),
            &[signature.into_string().as_bytes()],
        );
        let archive = package.archive.unwrap_or_default();
        for (index, fragment) in archive.chunks(1024).enumerate() {
            self.put(&format!("{id}/{id}-{}", index + 1), &[fragment]);
        }
        self.world().tasks.push(Task {
            id,
            attempt: 1,
            priority: manifest.priority,
            locations: vec![format!("{}/objects", self.address).parse().unwrap()],
            manifest_sha256: digest,
            force: false,
        });
        id
    }

    /// Adds a second location to all tasks, below the first one's `mirror`.
    pub(crate) fn add_mirror(&self) {
        let mirror: Location = format!("{}/objects/mirror", self.address).parse().unwrap();
        for task in &mut self.world().tasks {
            task.locations.push(mirror.clone());
        }
    }

    /// Serves an object: the contents in turn, then the last one for ever.
    pub(crate) fn put(&self, path: &str, contents: &[&[u8]]) {
        let answers = contents
            .iter()
            .map(|content| (200, content.to_vec()))
            .collect();
        self.world()
            .objects
            .insert(format!("/objects/{path}"), answers);
    }

    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        self.world().objects[&format!("/objects/{path}")][0]
            .1
            .clone()
    }

    /// Answers with a status instead of an object.
    pub(crate) fn put_status(&self, path: &str, status: u16) {
        let answers = [(status, Vec::new())].into();
        self.world()
            .objects
            .insert(format!("/objects/{path}"), answers);
    }

    pub(crate) fn agent(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packcast-agent"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.dir.path().join("agent.toml"))
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("RUST_LOG");
        command
    }

    pub(crate) fn run(&self) -> Run {
        let output = self.agent(&["run", "--once", "--format", "json"]);
        let lines = String::from_utf8(output.stdout).unwrap();
        Run {
            code: output.status.code().unwrap(),
            events: lines
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs the agent once, expects one report and returns it.
    pub(crate) fn result(&self) -> Report {
        let run = self.run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        let mut world = self.world();
        assert_eq!(world.reports.len(), 1, "{}", run.stderr);
        world.reports.remove(0)
    }
}

#[cfg(unix)]
fn private_folder(path: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(path).unwrap();
}

#[cfg(not(unix))]
fn private_folder(path: &Path) {
    std::fs::create_dir(path).unwrap();
}

#[cfg(unix)]
fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

async fn serve(key: &CertifiedKey<rcgen::KeyPair>, world: Arc<Mutex<World>>) -> SocketAddr {
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
    world: Arc<Mutex<World>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = parts.uri.path().to_owned();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let signed = SignedRequest {
        method: parts.method.as_str(),
        path: &path,
        body: &body,
        content_digest: header("content-digest"),
        signature_input: header("signature-input"),
        signature: header("signature"),
    };
    let (status, body) = world.lock().unwrap().answer(&path, signed);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status.try_into().unwrap();
    Ok(response)
}

impl World {
    fn answer(&mut self, path: &str, signed: SignedRequest<'_>) -> (u16, Vec<u8>) {
        if path.starts_with("/objects/") {
            self.gets.push(path.to_owned());
            return self.object(path);
        }
        if let Some(status) = self.statuses.pop_front() {
            return (status, Vec::new());
        }
        let now = self.clock.unwrap_or_else(|| UnixTime(unix_now()));
        if verify(signed, now).is_err() {
            return refused(401, ProblemKind::ClockSkew, now);
        }
        if self
            .body_limit
            .is_some_and(|limit| signed.body.len() > limit)
        {
            return refused(413, ProblemKind::TooLarge, now);
        }
        match path {
            "/v1/check-in" => self.check_in(signed.body, now),
            "/v1/report" => self.report(signed.body, now),
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

    fn check_in(&mut self, body: &[u8], now: UnixTime) -> (u16, Vec<u8>) {
        let request: CheckInRequest = serde_json::from_slice(body).unwrap();
        let is = |secret: &Option<Secret>, text: &str| {
            secret.as_ref().is_some_and(|s| s.reveal() == text)
        };
        let enrolled = is(&request.pass, PASS) && !std::mem::take(&mut self.forget_pass);
        let enrols = is(&request.enrolment, TOKEN);
        if !enrolled && !enrols {
            return refused(403, ProblemKind::NotEnrolled, now);
        }
        self.enrolments += usize::from(enrols);
        let accepted = self.accept(request.results);
        let reply = CheckInReply {
            pass: enrols.then(|| PASS.parse().unwrap()),
            tasks: self.tasks.clone(),
            cancel: Vec::new(),
            accepted,
            next_check_in_s: 3600,
        };
        (200, serde_json::to_vec(&reply).unwrap())
    }

    fn report(&mut self, body: &[u8], now: UnixTime) -> (u16, Vec<u8>) {
        let request: ReportRequest = serde_json::from_slice(body).unwrap();
        if self.refuse_reports {
            return refused(400, ProblemKind::BadRequest, now);
        }
        let accepted = self.accept(request.results);
        (200, serde_json::to_vec(&ReportReply { accepted }).unwrap())
    }

    fn accept(&mut self, reports: Vec<Report>) -> Vec<PackageId> {
        let ids = reports.iter().map(|report| report.id).collect();
        self.reports.extend(reports);
        ids
    }

    /// Makes the function's clock run ahead of the device's by decades.
    pub(crate) fn run_ahead(&mut self) {
        self.clock = Some(FAR);
    }
}

fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn refused(status: u16, kind: ProblemKind, now: UnixTime) -> (u16, Vec<u8>) {
    let problem = Problem {
        kind,
        detail: "refused by the lab".to_owned(),
        now,
    };
    (status, serde_json::to_vec(&problem).unwrap())
}
