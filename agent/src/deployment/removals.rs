//! Removals in the folders of packages, which may take long or hang.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use packcast_protocol::PackageId;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::blocking;
use crate::state::{PackageDir, StateError};

/// The longest wait for a removal.
///
/// A hung mount must not keep the device from its check-ins, which only a finished round makes.
const PATIENCE: Duration = Duration::from_mins(1);

/// The removals under way, each on a thread of its own.
#[derive(Debug, Default)]
pub(crate) struct Removals(RefCell<BTreeMap<PackageId, CancellationToken>>);

impl Removals {
    /// Runs a removal in the folder of a package, and waits for its end.
    ///
    /// # Errors
    /// The removal takes too long. It goes on, and until its end no other work on the package begins.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        id: PackageId,
        dir: &PackageDir,
        work: impl FnOnce(&PackageDir) -> T + Send + 'static,
    ) -> Result<T, StateError> {
        self.run_within(PATIENCE, id, dir, work).await
    }

    /// Runs a removal like [`Removals::run`], with another limit of the wait.
    pub(crate) async fn run_within<T: Send + 'static>(
        &self,
        patience: Duration,
        id: PackageId,
        dir: &PackageDir,
        work: impl FnOnce(&PackageDir) -> T + Send + 'static,
    ) -> Result<T, StateError> {
        self.ended(id, dir)?;
        let end = CancellationToken::new();
        self.0.borrow_mut().insert(id, end.clone());
        let own = dir.clone();
        let removal = blocking(move || {
            // Also after a panic.
            let _end = end.drop_guard();
            work(&own)
        });
        match timeout(patience, removal).await {
            Ok(value) => Ok(value),
            Err(_) => Err(dir.still_removing()),
        }
    }

    /// Checks that no removal of an earlier call still runs.
    pub(crate) fn ended(&self, id: PackageId, dir: &PackageDir) -> Result<(), StateError> {
        let mut removals = self.0.borrow_mut();
        removals.retain(|_, end| !end.is_cancelled());
        if removals.contains_key(&id) {
            return Err(dir.still_removing());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::state::StateDir;

    #[tokio::test]
    async fn a_removal_that_hangs_holds_up_its_package_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().canonicalize().unwrap().join("state")).unwrap();
        let [one, other] = [1, 2].map(|n| PackageId::try_from(1_795_000_000 + n).unwrap());
        let removals = Removals::default();
        let (gate, waiting) = mpsc::channel::<()>();
        let (end, ended) = mpsc::channel();
        let folder = state.package(one);
        let hangs = removals.run_within(Duration::ZERO, one, &folder, move |_| {
            let _ = waiting.recv();
            let _ = end.send(());
        });
        assert!(hangs.await.is_err());
        assert!(removals.run(one, &folder, |_| ()).await.is_err());
        let removed = removals.run(other, &state.package(other), |_| 7).await;
        assert_eq!(removed.unwrap(), 7);
        drop(gate);
        ended.recv().unwrap();
        // The thread ends directly after its message.
        while removals.ended(one, &folder).is_err() {
            tokio::task::yield_now().await;
        }
        removals.run(one, &folder, |_| ()).await.unwrap();
    }
}
