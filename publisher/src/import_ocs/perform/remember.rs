//! The memory of an import, at its end.

use std::collections::BTreeSet;

use packcast_protocol::PackageId;
use packcast_protocol::state::LeafName;
use packcast_rollout::state::StateChange;
use packcast_store::records::{ImportedGroup, ImportedPackage, ImportedRows};

use super::Import;
use crate::failure::Failure;
use crate::state::current_part;

impl Import<'_> {
    /// Remembers the rows that are here now, and the groups on the OCS server.
    pub(super) async fn remember(&self) -> Result<(), Failure> {
        let records = &self.target.records;
        let names = self.plan.own_groups.keys().cloned().map(LeafName::Group);
        let state = current_part(self.target, names.collect()).await?;
        self.remember_packages().await?;
        let remembered = records.imported_groups().await?;
        for (name, group) in &self.plan.own_groups {
            let document = state.group(name).map_err(Failure::failed)?;
            let Some(document) = document else {
                continue;
            };
            let imported = ImportedGroup {
                origin: document.origin(name),
                ocs_id: group.ocs_id,
                ocs_name: group.ocs_name.clone(),
                query: group.query.clone(),
                ocs_created: group.ocs_created.clone(),
            };
            if !remembered.contains(&imported) {
                records.remember_imported_group(&imported).await?;
            }
        }
        let mut rows = self.plan.rows.clone();
        for row in &self.not_done {
            rows.remove(&row.id);
        }
        Ok(records.remember_imported_rows(&rows).await?)
    }

    /// Remembers packages that are assigned again: after an interruption, another assignment would
    /// start another attempt.
    pub(super) async fn remember_again(&self, changes: &[StateChange]) -> Result<(), Failure> {
        let packages: BTreeSet<PackageId> = changes
            .iter()
            .filter_map(|change| match change {
                StateChange::Assign { assignment, .. } => Some(assignment.package),
                _ => None,
            })
            .collect();
        let again = self.plan.assignments.iter();
        let again = again.filter(|it| it.is_again && packages.contains(&it.package));
        let rows = again.map(|it| self.plan.row_of(it));
        let rows = rows.filter(|row| !self.not_done.contains(row));
        let rows: ImportedRows = rows.map(|row| (row.id, row.content)).collect();
        if !rows.is_empty() {
            self.target.records.remember_imported_rows(&rows).await?;
        }
        Ok(())
    }

    /// Remembers name and comment of each package of which neither is on record.
    async fn remember_packages(&self) -> Result<(), Failure> {
        let records = &self.target.records;
        let remembered = records.imported_packages().await?;
        let remembered: BTreeSet<PackageId> = remembered.iter().map(|it| it.package).collect();
        let packages = self.plan.packages.iter();
        let packages = packages
            .filter(|it| self.packages.contains_key(&it.id) && !remembered.contains(&it.id));
        for package in packages {
            let imported = ImportedPackage {
                package: package.id,
                ocs_name: package.ocs_name.clone(),
                comment: package.comment.clone(),
            };
            records.remember_imported_package(&imported).await?;
        }
        Ok(())
    }
}
