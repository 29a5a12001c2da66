//! A target with its console, for one test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use packcast_console::{Clock, Console, ConsoleOptions, Ended};
use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::state::Terms;
use packcast_protocol::{GroupName, Priority, UnixTime, WindowsTerms};
use packcast_publisher::log::{LogRequest, log};
use packcast_publisher::publish::plan::{ActionName, PackageTerms, PublishRequest};
use packcast_publisher::publish::publish;
use packcast_publisher::signing::{KeyError, NoSecrets, Secrets, Signer, SigningKey};
use packcast_publisher::target::{LocalSystem, local_key_file};
use packcast_publisher::{Progress, Target, clock, local};
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_rollout::{FinishedTask, PackageRecord};
use packcast_testing::table::{Table, location, mia, result};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::browser::Browser;

/// A target on an embedded engine.
pub(crate) struct System {
    pub(crate) target: Target,
    pub(crate) table: Table,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) folder: TempDir,
}

/// The passphrase of a key.
#[derive(Debug)]
struct Passphrase(&'static str);

impl Secrets for Passphrase {
    fn key(&self) -> Result<Option<String>, KeyError> {
        Ok(None)
    }

    fn passphrase(&self, _from: &str) -> Result<String, KeyError> {
        Ok(self.0.to_owned())
    }

    fn new_passphrase(&self) -> Result<String, KeyError> {
        Ok(self.0.to_owned())
    }
}

/// A running console of a target.
pub(crate) struct Served {
    pub(crate) browser: Browser,
    pub(crate) token: String,
    /// Seconds that the clock of the console is ahead.
    pub(crate) ahead: Arc<AtomicU64>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: JoinHandle<Ended>,
}

impl System {
    pub(crate) async fn start(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        Self::with_secrets(seed, folder, &NoSecrets).await
    }

    /// Starts a system with a key that has this passphrase.
    pub(crate) async fn with_passphrase(seed: u64, passphrase: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let file = local_key_file(folder.path());
        SigningKey::generate(&file, Some(passphrase.to_owned())).expect("a key can be generated");
        Self::with_secrets(seed, folder, &Passphrase(passphrase)).await
    }

    async fn with_secrets(seed: u64, folder: TempDir, secrets: &dyn Secrets) -> Self {
        let table = Table::without_target(seed).await;
        let target = target(&table, folder.path()).await;
        let key =
            Arc::new(local::signing_key(folder.path(), secrets).expect("a key can be generated"));
        Self {
            target,
            table,
            key,
            folder,
        }
    }

    /// Makes changes with one commit, and completes their records.
    pub(crate) async fn change(&self, changes: &[StateChange]) {
        let mut signer = Signer::with(&self.target, Arc::clone(&self.key));
        let progress = Progress::none();
        let command = "packcast assign tool@1.0";
        let done = signer.change(&self.target, changes, command, &progress);
        done.await.expect("a change can be made");
    }

    /// Publishes a package that runs a command, and activates it.
    pub(crate) async fn publish(&self, name: &str, version: &str) -> PackageRecord {
        self.publish_by(&self.key, name, version).await
    }

    /// Publishes a package as the owner of a key.
    pub(crate) async fn publish_by(
        &self,
        key: &SigningKey,
        name: &str,
        version: &str,
    ) -> PackageRecord {
        let request = PublishRequest {
            name: name.parse().expect("a package name"),
            version: version.parse().expect("a package version"),
            priority: Priority::DEFAULT,
            action: ActionName::Execute,
            command: Some("apt-get -y install vlc".to_owned()),
            folder: None,
            terms: PackageTerms {
                platform: Platform::Any,
                success_codes: [0].into(),
                reboot_codes: BTreeSet::new(),
                timeout_s: 3_600,
                validity_s: None,
                rerun_after_interruption: false,
                audience: Audience::Any,
                windows: WindowsTerms::default(),
            },
        };
        let plan = request.plan(None).expect("the request is complete");
        let progress = Progress::none();
        let published = publish(&self.target, &plan, None, key, &progress).await;
        let id = published.expect("a package can be published").package.id;
        let (at, by) = ([location()], mia());
        let activated = self.table.records.activate(id, &at, &by);
        activated
            .await
            .expect("a published package can be activated")
    }

    pub(crate) fn group(name: &str) -> GroupName {
        name.parse().expect("a group name")
    }

    /// Assigns a package to a group or a device.
    pub(crate) async fn assign(&self, to: EntryOwner, package: &PackageRecord) {
        self.change(&[Self::assigning(to, package)]).await;
    }

    pub(crate) fn assigning(to: EntryOwner, package: &PackageRecord) -> StateChange {
        let assignment = NewAssignment {
            package: package.id,
            manifest: package
                .published()
                .expect("the package is published")
                .manifest,
            force: false,
            terms: Terms::default(),
        };
        StateChange::Assign { to, assignment }
    }

    /// Assigns a package to a device, and records its result.
    pub(crate) async fn deploy(&self, number: u32, package: &PackageRecord, code: &str, out: &str) {
        let device = packcast_testing::table::device(number).device;
        let to = EntryOwner::Device(device.clone());
        self.assign(to, package).await;
        let task = self.table.task(&device, package.id).await;
        let task = task.expect("the package is assigned");
        let finished = FinishedTask {
            output_tail: Some(out.to_owned()),
            ..result(&task, code)
        };
        let recorded = self.table.records.record_result(&device, &task, &finished);
        recorded.await.expect("a result can be recorded");
    }

    /// Starts a console.
    pub(crate) async fn serve(&self) -> Served {
        self.serve_with("").await
    }

    /// Starts a console with these options in its command lines.
    pub(crate) async fn serve_with(&self, target_options: &str) -> Served {
        let (target, _) = self.target.for_display();
        // The meter of the table counts what the console reads.
        let target = Target {
            records: self.table.records.clone(),
            ..target
        };
        Served::start(target, target_options).await
    }

    /// Starts a console, and opens its session.
    pub(crate) async fn signed_in(&self) -> Served {
        self.serve().await.signed_in().await
    }

    /// Starts a console that changes nothing, and opens its session.
    pub(crate) async fn read_only(&self) -> Served {
        let (target, _) = self.target.for_display();
        let served = Served::start_with(target, "", true).await;
        served.signed_in().await
    }

    /// Returns the number of commits.
    pub(crate) async fn commits(&self) -> usize {
        let request = LogRequest {
            limit: 1_000,
            before: None,
            after: None,
            is_signed_only: true,
            package: None,
            group: None,
            device: None,
            most_reads: None,
        };
        let log = log(&self.target, &request).await;
        log.expect("the history can be read").entries.len()
    }
}

impl Served {
    /// Starts a console of a target, with these options in its command lines.
    pub(crate) async fn start(target: Target, target_options: &str) -> Self {
        Self::start_with(target, target_options, false).await
    }

    async fn start_with(target: Target, target_options: &str, is_read_only: bool) -> Self {
        let uploads = target.key_file.with_file_name("uploads");
        Self::start_in(target, target_options, is_read_only, uploads).await
    }

    /// Starts a console with a folder for its uploads.
    pub(crate) async fn start_in(
        target: Target,
        target_options: &str,
        is_read_only: bool,
        uploads_dir: PathBuf,
    ) -> Self {
        let ahead = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&ahead);
        let options = ConsoleOptions {
            port: 0,
            target_options: target_options.to_owned(),
            uploads_dir,
            is_read_only,
            clock: Clock::new(move || UnixTime(clock::now().0 + clock.load(Ordering::SeqCst))),
        };
        let console = Console::bind(target, options)
            .await
            .expect("loopback has a free port");
        let link = console.sign_in_link();
        let (_, token) = link.split_once('#').expect("the link ends with the token");
        let (stop, stopped) = oneshot::channel::<()>();
        Self {
            browser: Browser::of(console.address()),
            token: token.to_owned(),
            ahead,
            stop,
            ended: tokio::spawn(console.serve(async {
                let _ = stopped.await;
            })),
        }
    }

    /// Stops the console, which completes its changes.
    pub(crate) async fn stop_after_changes(self) -> Ended {
        self.stop.send(()).expect("the console is running");
        self.ended.await.expect("the console ends")
    }

    /// Opens the session.
    pub(crate) async fn signed_in(self) -> Self {
        let mut served = self;
        let token = served.token.clone();
        let answer = served.browser.sign_in(&token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        served
    }
}

async fn target(table: &Table, folder: &Path) -> Target {
    target_at(&table.endpoint, table.records.table(), folder).await
}

/// Returns a target with a table at this address.
pub(crate) async fn target_at(endpoint: &str, table: &str, folder: &Path) -> Target {
    let system = LocalSystem {
        endpoint: endpoint.to_owned(),
        table: table.to_owned(),
        objects_dir: folder.join("objects"),
        prefix: "d".parse().expect("a path"),
        ca_file: folder.join("ca.pem"),
    };
    Target::local(folder, system, Arc::new(NoSecrets)).await
}
