//! Publishes the package of a pass in a thread, which goes on when the browser is closed.

use std::sync::Arc;
use std::thread;

use packcast_protocol::PackageId;
use packcast_publisher::publish::plan::Plan;
use packcast_publisher::publish::publish;
use packcast_publisher::publish::thread::ThreadError;
use packcast_publisher::signing::SigningKey;
use packcast_publisher::{Failure, Progress, Target};
use tokio::runtime::Handle;

use super::gauge::Gauge;
use super::wizard::{Checked, Job};
use super::wizards::WizardId;
use crate::app::App;

/// A package that is ready to publish.
pub(crate) struct Ready {
    pub(crate) target: Target,
    pub(crate) plan: Plan,
    pub(crate) checked: Option<Arc<Checked>>,
    pub(crate) key: SigningKey,
}

/// Starts the publication, unless it is running or complete already.
pub(crate) fn start(app: &App, id: WizardId, ready: Ready) {
    let gauge = Arc::new(Gauge::default());
    let is_new = app.wizards().update(id, |wizard| {
        let is_new = matches!(wizard.job, Job::None | Job::Failed(_));
        if is_new {
            wizard.job = Job::Running(Arc::clone(&gauge));
        }
        is_new
    });
    if is_new != Some(true) {
        return;
    }
    let (shared, runtime) = (app.clone(), Handle::current());
    let work = move || {
        let result = runtime.block_on(run(&shared, &ready, &gauge.progress()));
        end(&shared, id, result);
    };
    if let Err(source) = thread::Builder::new().spawn(work) {
        end(app, id, Err(Failure::failed(ThreadError::Start(source))));
    }
}

fn end(app: &App, id: WizardId, result: Result<PackageId, Failure>) {
    app.wizards().update(id, |wizard| {
        if result.is_ok() {
            // The uploads are on record now, and only take space here.
            wizard.files.clear();
            wizard.check = None;
        }
        wizard.job = match result {
            Ok(package) => Job::Done(package),
            Err(failure) => Job::Failed(Arc::new(failure)),
        };
    });
}

/// Publishes until the end of the console. The same package continues after an interruption.
async fn run(app: &App, ready: &Ready, progress: &Progress) -> Result<PackageId, Failure> {
    let source = ready.checked.as_ref().map(|checked| &checked.source);
    let mut ended = app.ended();
    let publication = publish(&ready.target, &ready.plan, source, &ready.key, progress);
    tokio::select! {
        published = publication => Ok(published?.package.id),
        _ = ended.wait_for(Option::is_some) => {
            Err(Failure::failed("cannot complete the publication: the console has ended"))
        }
    }
}
