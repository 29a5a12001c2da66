//! Reads the files of a package in a thread, with the reader of the agents.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use packcast_protocol::FragmentSize;
use packcast_publisher::publish::agent_builds::collect_builds;
use packcast_publisher::publish::inspect;
use packcast_publisher::publish::source::Source;
use packcast_publisher::publish::thread::ThreadError;
use packcast_publisher::{Failure, Progress};

use super::fields::Refusal;
use super::gauge::Gauge;
use super::installer::{Installer, SEARCHED};
use super::wizard::{Check, Checked, Wanted, Wizard};
use super::wizards::WizardId;
use crate::app::App;

/// The state of the files of a pass.
#[derive(Debug)]
pub(crate) enum Files {
    /// The task has no files.
    None,
    Reading,
    Read(Arc<Checked>),
    Failed(Arc<Failure>),
}

/// Returns the state of the files, and reads them if they were not read as they are wanted now.
pub(crate) fn files(app: &App, id: WizardId, wizard: &Wizard) -> Result<Files, Refusal> {
    let Some(wanted) = wizard.wanted()? else {
        return Ok(Files::None);
    };
    let state = app.wizards().update(id, |wizard| match &wizard.check {
        Some(check) if check.wanted == wanted => state(check),
        _ => {
            let mut check = Check {
                wanted,
                gauge: Arc::new(Gauge::default()),
                outcome: None,
            };
            // The thread waits for the end of this update before it stores its outcome.
            if let Err(error) = start(app.clone(), id, wizard.clone(), check.clone()) {
                check.outcome = Some(Err(Arc::new(Failure::failed(error))));
            }
            wizard.check = Some(check.clone());
            state(&check)
        }
    });
    Ok(state.unwrap_or(Files::None))
}

/// Forgets the last reading, so that the files are read again.
pub(crate) fn again(app: &App, id: WizardId) {
    app.wizards().update(id, |wizard| wizard.check = None);
}

fn state(check: &Check) -> Files {
    match &check.outcome {
        None => Files::Reading,
        Some(Ok(checked)) => Files::Read(Arc::clone(checked)),
        Some(Err(failure)) => Files::Failed(Arc::clone(failure)),
    }
}

/// Reads the files in a thread. The reading cannot be interrupted, so a later one does not wait for it.
fn start(app: App, id: WizardId, wizard: Wizard, check: Check) -> Result<(), ThreadError> {
    let work = move || {
        let read = read(&wizard, &check.wanted, &check.gauge.progress());
        let outcome = read.map(Arc::new).map_err(Arc::new);
        app.wizards().update(id, |wizard| {
            let current = wizard.check.as_mut();
            let Some(current) = current.filter(|it| Arc::ptr_eq(&it.gauge, &check.gauge)) else {
                return;
            };
            current.outcome = Some(outcome);
            wizard.guess();
        });
    };
    let started = thread::Builder::new().spawn(work);
    started.map(drop).map_err(ThreadError::Start)
}

fn read(wizard: &Wizard, wanted: &Wanted, progress: &Progress) -> Result<Checked, Failure> {
    let (source, system) = if wanted.is_update {
        collect_builds(&wizard.builds())?
    } else {
        let encoding = wizard.options.encoding()?;
        let path = wanted
            .files
            .first()
            .map_or(Path::new(""), |it| it.as_path());
        let source = Source::open(path, wanted.system, encoding)?;
        (source, wanted.system)
    };
    let size = wanted.fragment_size.map(FragmentSize::try_from);
    let size = size.transpose().map_err(Failure::usage)?;
    Ok(Checked {
        installer: installer(source.path()),
        inspection: inspect(&source, size, progress)?,
        source,
        system,
    })
}

/// Finds the tool that has built an installer. A file that cannot be read, or an archive, tells nothing.
fn installer(path: &Path) -> Installer {
    if path
        .extension()
        .is_none_or(|it| !it.eq_ignore_ascii_case("exe"))
    {
        return Installer::Unknown;
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SEARCHED).read_to_end(&mut bytes));
    read.map_or(Installer::Unknown, |_| Installer::of(&bytes))
}
