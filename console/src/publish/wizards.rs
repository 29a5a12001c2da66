//! The passes through the wizard that a console keeps until its end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::upload_folder::UploadFolder;
use super::wizard::{Job, Wizard};

/// The number of passes that a console keeps. A further one replaces the oldest.
const MOST: usize = 16;

/// The number of a pass, in addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WizardId(u64);

/// The passes of a console, and its folder for uploads.
#[derive(Debug)]
pub(crate) struct Wizards {
    folder: UploadFolder,
    all: Mutex<Numbered>,
}

#[derive(Debug, Default)]
struct Numbered {
    last: u64,
    wizards: BTreeMap<WizardId, Wizard>,
}

impl Wizards {
    /// Keeps uploads in a private folder below `uploads`.
    pub(crate) fn new(uploads: PathBuf) -> Self {
        Self {
            folder: UploadFolder::new(uploads),
            all: Mutex::default(),
        }
    }

    pub(crate) const fn folder(&self) -> &UploadFolder {
        &self.folder
    }

    /// Adds a pass. The oldest one that is not being published makes room for it.
    pub(crate) fn add(&self, wizard: Wizard) -> WizardId {
        let mut all = self.lock();
        all.last += 1;
        let id = WizardId(all.last);
        if all.wizards.len() >= MOST {
            let mut wizards = all.wizards.iter();
            let oldest = wizards.find(|(_, it)| !matches!(it.job, Job::Running(_)));
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                all.wizards.remove(&oldest);
            }
        }
        all.wizards.insert(id, wizard);
        id
    }

    /// Returns a pass as it is now.
    pub(crate) fn get(&self, id: WizardId) -> Option<Wizard> {
        self.lock().wizards.get(&id).cloned()
    }

    /// Changes a pass; `None` if there is none.
    pub(crate) fn update<T>(
        &self,
        id: WizardId,
        change: impl FnOnce(&mut Wizard) -> T,
    ) -> Option<T> {
        self.lock().wizards.get_mut(&id).map(change)
    }

    /// Removes a pass with its uploads.
    pub(crate) fn remove(&self, id: WizardId) {
        self.lock().wizards.remove(&id);
    }

    /// Returns all passes that are not complete, the newest first.
    pub(crate) fn open(&self) -> Vec<(WizardId, Wizard)> {
        let all = self.lock();
        let open = all.wizards.iter().rev();
        open.filter(|(_, wizard)| !matches!(wizard.job, Job::Done(_)))
            .map(|(id, wizard)| (*id, wizard.clone()))
            .collect()
    }

    /// Removes everything, at the end of the console.
    pub(crate) fn clear(&self) {
        self.lock().wizards.clear();
        self.folder.remove();
    }

    fn lock(&self) -> MutexGuard<'_, Numbered> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for WizardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for WizardId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use packcast_protocol::manifest::Platform;

    use super::*;
    use crate::publish::gauge::Gauge;

    #[test]
    fn the_oldest_pass_that_is_not_being_published_makes_room() {
        let wizards = Wizards::new(PathBuf::from("/nonexistent"));
        let first = wizards.add(Wizard::new(Platform::Any));
        let second = wizards.add(Wizard::new(Platform::Any));
        let running = Job::Running(Arc::new(Gauge::default()));
        assert!(wizards.update(first, |it| it.job = running).is_some());
        for _ in 0..MOST - 1 {
            wizards.add(Wizard::new(Platform::Any));
        }
        assert!(wizards.get(first).is_some());
        assert!(wizards.get(second).is_none());
        assert_eq!(wizards.open().len(), MOST);
        wizards.clear();
        assert!(wizards.get(first).is_none());
    }
}
