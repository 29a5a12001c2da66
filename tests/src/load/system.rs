//! The systems under load: `packcast local`, and a second edge whose table has faults.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::settings::settings;
use crate::world::{World, local_dir};
use packcast_check_in::{CheckInFunction, FunctionSettings, PassKey};
use packcast_local::{Changes, CheckIns, Edge, EdgeOptions, EdgePort};
use packcast_protocol::state::TrustedRoots;
use packcast_publisher::local;
use packcast_store::{Records, RecordsConfig};
use packcast_testing::fault::{FakeFaults, FaultRates, Injected};
use packcast_testing::peer::{ENROLMENT_TOKEN, PATH_TOKEN};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;

/// Number of packages that all devices are told of.
pub(super) const PACKAGES: u32 = 10;
/// The key of the passes, and the same key in base32.
const PASS_KEY: [u8; 32] = [11; 32];
const PASS_KEY_TEXT: &str = "bmfqwcylbmfqwcylbmfqwcylbmfqwcylbmfqwcylbmfqwcylbmfq";

/// Faults in thousandths of the requests: more than the cloud has.
const FAULTS: FaultRates = FaultRates {
    conflicts: 30,
    update_conflicts: 30,
    throttles: 10,
    lost_answers: 5,
    unprocessed: 0,
    index_lag: 0,
};

/// `packcast local`, which admits the simulated devices.
#[derive(Debug)]
pub(super) struct LoadedSystem(World);

/// An edge in this process, over the records of `packcast local`.
#[derive(Debug)]
pub(super) struct FaultySystem {
    edge: Edge,
    faults: FakeFaults,
    _folder: tempfile::TempDir,
}

impl LoadedSystem {
    pub(super) fn start(program: &str) -> Self {
        let world = World::start_with(program, &[], write_secrets);
        for number in 1..=PACKAGES {
            world.execute(&format!("package{number}"), "true");
            world.ok(&["assign", &format!("package{number}@1"), "--all"]);
        }
        Self(world)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.state().edge
    }

    /// Returns the process whose memory counts.
    pub(super) fn process(&self) -> u32 {
        self.0.state().pid
    }

    pub(super) fn trust(&self) -> TrustedRoots {
        local::trust(&self.0.local_dir()).expect("the target has root keys")
    }

    /// Returns the settings of a client that trusts the edge.
    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(&self.0.state().ca_file);
        let added = roots.add(certificate.expect("the authority has a certificate"));
        added.expect("the certificate can be trusted");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the protocol versions");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }
}

/// Writes the tokens of the simulated devices, before the first start would create others.
fn write_secrets(place: &Path) {
    let folder = local_dir(place);
    let mut builder = fs::DirBuilder::new();
    let created = builder.recursive(true).mode(0o700).create(&folder);
    created.expect("the world's folder is writable");
    let secrets = json!({
        "ocs_path_token": PATH_TOKEN,
        "enrolment_token": ENROLMENT_TOKEN,
        "pass_key": PASS_KEY_TEXT,
    });
    let written = fs::write(folder.join("secrets.json"), secrets.to_string());
    written.expect("the world's folder is writable");
}

impl FaultySystem {
    pub(super) async fn start(system: &LoadedSystem) -> Self {
        let world = &system.0;
        let faults = FakeFaults::new(1, FAULTS);
        let records = Records::connect(RecordsConfig {
            table: world.state().table.clone(),
            endpoint: Some(world.state().endpoint.clone()),
            http_client: Some(faults.http_client()),
            ..RecordsConfig::default()
        });
        let settings = FunctionSettings {
            trust: system.trust(),
            pass_key: PassKey::new(PASS_KEY),
            ..settings()
        };
        let function = CheckInFunction::new(records.await, settings);
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let options = EdgeOptions {
            objects: world.state().objects_dir.clone(),
            prefix: world.state().prefix.clone(),
            log: folder.path().join("edge.log"),
        };
        let port = EdgePort::bind(0).await.expect("loopback has a free port");
        let check_ins = CheckIns::new(function, Changes::default());
        let edge = Edge::start(port, world.server_identity(), options, check_ins);
        Self {
            edge: edge.expect("an edge can be started"),
            faults,
            _folder: folder,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.edge.address()
    }

    pub(super) fn injected(&self) -> Injected {
        self.faults.injected()
    }
}
