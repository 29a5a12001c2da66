//! The results of an import.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{LeafName, Mandate};
use packcast_rollout::apply::latest;
use packcast_rollout::state::{NotLoaded, StatePart};
use packcast_rollout::{FinishedTask, OpenTask, PackageRecord, TaskState};
use packcast_store::records::Recorded;

use super::super::memory::{DETAIL, is_imported};
use super::super::plan::ResultImport;
use super::Import;
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::progress::Work;
use crate::state::current_part;

/// Results of packages, each with a device.
type Results<'a> = Vec<&'a ResultImport>;

impl<'a> Import<'a> {
    /// Returns the results of packages that this import has published, and those of packages that
    /// were here before.
    pub(super) fn results(&self) -> (Results<'a>, Results<'a>) {
        let is_imported = |it: &&ResultImport| {
            self.packages.contains_key(&it.package) && !self.excluded.contains(&it.device)
        };
        let results = self.plan.results.iter().filter(is_imported);
        results.partition(|it| self.fresh.contains(&it.package))
    }

    /// Records results, and counts those that are new here.
    pub(super) async fn add_results(&mut self, results: &[&ResultImport]) -> Result<(), Failure> {
        self.imported.results += self.write_results(results).await?;
        Ok(())
    }

    /// Uses up the mandates that groups have got since the results were recorded.
    pub(super) async fn use_mandates(&self, results: &[&ResultImport]) -> Result<(), Failure> {
        let here = results.iter().copied();
        let here: Results<'_> = here
            .filter(|it| self.packages.contains_key(&it.package))
            .collect();
        if here.is_empty() {
            return Ok(());
        }
        let state = self.groups_of(&here).await?;
        let mut written = stream::iter(here)
            .map(|result| self.use_mandates_of(result, &state))
            .buffer_unordered(AT_ONCE);
        while written.try_next().await?.is_some() {}
        Ok(())
    }

    async fn use_mandates_of(
        &self,
        result: &ResultImport,
        state: &StatePart,
    ) -> Result<(), Failure> {
        let used = used_mandates(result, state).map_err(Failure::failed)?;
        let records = &self.target.records;
        let before = records.finished(&result.device, result.package).await?;
        match before.filter(is_imported) {
            Some(before) => self.add_mandates(result, before, &used).await,
            // The device was removed here, or has reported to Packcast since.
            None => Ok(()),
        }
    }

    /// Records results, with the mandates of the groups that the results use up: no group of the
    /// device starts another attempt. Returns the number of results that are new here.
    async fn write_results(&self, results: &[&ResultImport]) -> Result<usize, Failure> {
        let state = self.groups_of(results).await?;
        self.progress.begin(Work::Importing, results.len() as u64);
        let mut written = stream::iter(results.iter().copied())
            .map(|result| self.add_result(result, &state))
            .buffer_unordered(AT_ONCE);
        let mut number = 0;
        while let Some(is_written) = written.try_next().await? {
            number += usize::from(is_written);
            self.progress.advance(1);
        }
        drop(written);
        self.progress.end();
        Ok(number)
    }

    /// Returns the documents of devices with results, and of their groups.
    async fn groups_of(&self, results: &[&ResultImport]) -> Result<StatePart, Failure> {
        let devices = results.iter();
        let devices = devices
            .map(|it| LeafName::Device(it.device.clone()))
            .collect();
        let mut state = current_part(self.target, devices).await?;
        let groups = state.named_groups();
        state.extend(current_part(self.target, groups).await?);
        Ok(state)
    }

    /// Returns true if the result was new here, or another one than before.
    async fn add_result(&self, result: &ResultImport, state: &StatePart) -> Result<bool, Failure> {
        let used = used_mandates(result, state).map_err(Failure::failed)?;
        let package = &self.packages[&result.package];
        let (records, device) = (&self.target.records, &result.device);
        let finished = FinishedTask {
            package: result.package,
            attempt: 1,
            outcome: result.code.outcome(&package.success_codes),
            code: result.code.clone(),
            detail: Some(DETAIL.to_owned()),
            output_tail: None,
            mandate: None,
            used,
            finished_at: now(),
        };
        let written = records.import_result(device, package.priority, &finished);
        if written.await? == Recorded::Written {
            return Ok(true);
        }
        let before = records.finished(device, result.package).await?;
        match before {
            Some(before) if before.code == finished.code && is_imported(&before) => {
                self.add_mandates(result, before, &finished.used).await?;
                Ok(false)
            }
            Some(before) if !is_imported(&before) => Ok(false),
            before => {
                let tasks = records.device_state(device).await?.tasks;
                let task = tasks.iter().find(|task| task.package == result.package);
                self.replace(result, package, (before, task), finished)
                    .await
            }
        }
    }

    /// Records a result in place of an earlier one, or of a task that the function has not
    /// announced: the OCS server has deployed the package in the meantime.
    async fn replace(
        &self,
        result: &ResultImport,
        package: &PackageRecord,
        (before, task): (Option<FinishedTask>, Option<&OpenTask>),
        mut finished: FinishedTask,
    ) -> Result<bool, Failure> {
        let (records, device) = (&self.target.records, &result.device);
        let written = match (before, task) {
            (_, Some(task)) if task.state == TaskState::Pending => {
                finished.attempt = task.attempt;
                finished.mandate = task.mandate;
                finished.used = merged(&task.used, &finished.used);
                records.record_result(device, task, &finished).await?
            }
            (Some(before), None) => {
                finished.attempt = before.attempt;
                finished.mandate = before.mandate;
                finished.used = merged(&before.used, &finished.used);
                let corrected =
                    records.correct_result(device, package.priority, &before, &finished);
                corrected.await?
            }
            // The device has begun here: its next report counts.
            (_, Some(_)) | (None, None) => return Ok(false),
        };
        Ok(written == Recorded::Written)
    }

    /// Adds the mandates that a recorded result uses up since a commit. An attempt that a group has
    /// opened by one of them, and that was not announced, ends.
    async fn add_mandates(
        &self,
        result: &ResultImport,
        before: FinishedTask,
        used: &BTreeSet<Mandate>,
    ) -> Result<(), Failure> {
        let after = FinishedTask {
            used: merged(&before.used, used),
            ..before.clone()
        };
        if after.used == before.used {
            return Ok(());
        }
        let (records, device) = (&self.target.records, &result.device);
        let priority = self.packages[&result.package].priority;
        let corrected = records.correct_result(device, priority, &before, &after);
        if corrected.await? == Recorded::Written {
            return Ok(());
        }
        let tasks = records.device_state(device).await?.tasks;
        let opened = tasks.iter().find(|task| {
            let mandate = task.group_mandate.as_ref();
            task.package == result.package
                && task.state == TaskState::Pending
                && mandate.is_some_and(|mandate| used.contains(mandate))
        });
        if let Some(task) = opened {
            let ended = FinishedTask {
                attempt: task.attempt,
                ..after
            };
            records.record_result(device, task, &ended).await?;
        }
        Ok(())
    }
}

fn merged(before: &BTreeSet<Mandate>, new: &BTreeSet<Mandate>) -> BTreeSet<Mandate> {
    latest(before | new)
}

/// Returns the mandates of groups that the result of a device uses up.
fn used_mandates(result: &ResultImport, state: &StatePart) -> Result<BTreeSet<Mandate>, NotLoaded> {
    let mut used = BTreeSet::new();
    let groups = state.groups_of(&result.device)?;
    for group in groups.into_keys() {
        let document = state.group(group)?;
        let entry = document.and_then(|document| document.packages.of(result.package));
        used.extend(entry.map(|entry| entry.group_mandate(group)));
    }
    Ok(used)
}
