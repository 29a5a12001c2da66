//! A target with its console, for one test.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use packcast_console::{Clock, Console, ConsoleOptions, Ended};
use packcast_protocol::state::Terms;
use packcast_protocol::{GroupName, UnixTime};
use packcast_publisher::signing::{NoSecrets, Signer, SigningKey};
use packcast_publisher::target::LocalSystem;
use packcast_publisher::{Progress, Target, clock, local};
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_rollout::{FinishedTask, PackageRecord};
use packcast_testing::table::{Table, result};
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
        let table = Table::without_target(seed).await;
        let folder = tempfile::tempdir().unwrap();
        let target = target(&table, folder.path()).await;
        let key = Arc::new(local::signing_key(folder.path(), &NoSecrets).unwrap());
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
        done.await.unwrap();
    }

    pub(crate) fn group(name: &str) -> GroupName {
        name.parse().unwrap()
    }

    /// Assigns a package to a group or a device.
    pub(crate) async fn assign(&self, to: EntryOwner, package: &PackageRecord) {
        let assignment = NewAssignment {
            package: package.id,
            manifest: package.published().unwrap().manifest,
            force: false,
            terms: Terms::default(),
        };
        self.change(&[StateChange::Assign { to, assignment }]).await;
    }

    /// Assigns a package to a device, and records its result.
    pub(crate) async fn deploy(&self, number: u32, package: &PackageRecord, code: &str, out: &str) {
        let device = packcast_testing::table::device(number).device;
        let to = EntryOwner::Device(device.clone());
        self.assign(to, package).await;
        let task = self.table.task(&device, package.id).await.unwrap();
        let finished = FinishedTask {
            output_tail: Some(out.to_owned()),
            ..result(&task, code)
        };
        let recorded = self.table.records.record_result(&device, &task, &finished);
        recorded.await.unwrap();
    }

    /// Starts a console.
    pub(crate) async fn serve(&self) -> Served {
        let (target, _) = self.target.for_display();
        // The meter of the table counts what the console reads.
        let target = Target {
            records: self.table.records.clone(),
            ..target
        };
        let ahead = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&ahead);
        let options = ConsoleOptions {
            port: 0,
            target_options: String::new(),
            clock: Clock::new(move || UnixTime(clock::now().0 + clock.load(Ordering::SeqCst))),
        };
        let console = Console::bind(target, options).await.unwrap();
        let link = console.sign_in_link();
        let (_, token) = link.split_once('#').unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        Served {
            browser: Browser::of(console.address()),
            token: token.to_owned(),
            ahead,
            stop,
            ended: tokio::spawn(console.serve(async {
                let _ = stopped.await;
            })),
        }
    }

    /// Starts a console, and opens its session.
    pub(crate) async fn signed_in(&self) -> Served {
        let mut served = self.serve().await;
        let token = served.token.clone();
        let answer = served.browser.sign_in(&token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        served
    }
}

async fn target(table: &Table, folder: &Path) -> Target {
    let system = LocalSystem {
        endpoint: table.endpoint.clone(),
        table: table.records.table().to_owned(),
        objects_dir: folder.join("objects"),
        prefix: "d".parse().unwrap(),
        ca_file: folder.join("ca.pem"),
    };
    Target::local(folder, system, Arc::new(NoSecrets)).await
}
