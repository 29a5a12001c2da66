//! The passes through the wizard that a console keeps until its end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use packcast_publisher::Failure;

use super::upload_folder::UploadFolder;
use super::wizard::{Job, Wizard};

/// The number of passes that a console keeps.
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

    /// Adds a pass. A pass that is published, or for which nothing was chosen yet, makes room for it. Other
    /// passes contain the work of a person.
    pub(crate) fn add(&self, wizard: Wizard) -> Result<WizardId, Failure> {
        let mut all = self.lock();
        if all.wizards.len() >= MOST {
            let has = |is_unused: fn(&Wizard) -> bool| {
                let mut wizards = all.wizards.iter();
                wizards.find(|(_, it)| is_unused(it)).map(|(id, _)| *id)
            };
            let is_published = |it: &Wizard| matches!(it.job, Job::Done(_));
            let unused = has(is_published).or_else(|| has(|it| it.task.is_none()));
            let Some(unused) = unused else {
                let text = format!("cannot prepare another package: {MOST} are in preparation");
                return Err(Failure::conflict(text).hint("publish or discard one of them"));
            };
            all.wizards.remove(&unused);
        }
        all.last += 1;
        let id = WizardId(all.last);
        all.wizards.insert(id, wizard);
        Ok(id)
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
    use packcast_protocol::manifest::Platform;

    use super::*;
    use crate::publish::task::Task;

    #[test]
    fn only_a_pass_without_work_makes_room_for_another() {
        let wizards = Wizards::new(PathBuf::from("/nonexistent"));
        let begun = || Wizard {
            task: Some(Task::Execute),
            ..Wizard::new(Platform::Any)
        };
        let first = wizards.add(begun()).unwrap();
        let unused = wizards.add(Wizard::new(Platform::Any)).unwrap();
        let published = wizards.add(begun()).unwrap();
        let id = "1795327754".parse().unwrap();
        wizards.update(published, |it| it.job = Job::Done(id));
        for _ in 0..MOST - 3 {
            wizards.add(begun()).unwrap();
        }
        wizards.add(begun()).unwrap();
        assert!(wizards.get(published).is_none() && wizards.get(unused).is_some());
        wizards.add(begun()).unwrap();
        assert!(wizards.get(unused).is_none());
        let refused = wizards.add(begun()).unwrap_err();
        insta::assert_snapshot!(refused.message(), @"cannot prepare another package: 16 are in preparation");
        assert!(wizards.get(first).is_some());
        assert_eq!(wizards.open().len(), MOST);
        wizards.clear();
        assert!(wizards.get(first).is_none());
    }
}
