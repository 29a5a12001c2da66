//! Reads the files of a package, in a thread that Ctrl-C does not wait for.

use std::thread;

use packcast_protocol::{FragmentSize, PackageName, PackageVersion};
use packcast_publisher::progress::Progress;
use packcast_publisher::publish::inspect::Inspection;
use packcast_publisher::publish::source::Source;
use packcast_publisher::publish::thread::ThreadError;
use packcast_publisher::publish::{self, Staging};
use packcast_publisher::{Failure, Target};
use tokio::sync::oneshot;

use crate::progress::{Bar, until_interrupted};

/// The files of a package, inspected, and the place of its fragments.
pub(in super::super) struct Read {
    pub(in super::super) source: (Source, Inspection),
    /// Removes the staged files that have not become objects with this value.
    pub(in super::super) staging: Option<Staging>,
}

/// Opens and inspects the source of a package with a name and a version.
pub(in super::super) async fn read(
    target: &Target,
    (name, version): (&PackageName, &PackageVersion),
    open: impl FnOnce() -> Result<Source, Failure> + Send + 'static,
    size: Option<FragmentSize>,
) -> Result<Read, Failure> {
    let staging = publish::stage(target, name, version).await;
    let area = staging.as_ref().map(Staging::area);
    let read = interruptible(move |progress| {
        let mut source = open()?;
        if let Some(area) = area {
            source.stage_in(area);
        }
        let inspection = publish::inspect(&source, size, progress)?;
        Ok((source, inspection))
    });
    Ok(Read {
        source: read.await?,
        staging,
    })
}

/// Packs or reads files. Ctrl-C ends the wait, and with the program the thread that works: its
/// temporary files have no names.
pub(in super::super) async fn interruptible<T: Send + 'static>(
    work: impl FnOnce(&Progress) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let bar = Bar::new();
    let progress = bar.progress();
    let result = async {
        let (done, result) = oneshot::channel();
        let started = thread::Builder::new().spawn(move || {
            // Nobody waits for the result after Ctrl-C.
            let _ = done.send(work(&progress));
        });
        started.map_err(|source| Failure::failed(ThreadError::Start(source)))?;
        result.await.expect("the thread sends a result")
    };
    until_interrupted("bytes", result, &bar).await
}
