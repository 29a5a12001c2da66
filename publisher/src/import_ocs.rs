//! Imports packages, groups, assignments and results from an OCS Inventory server.
//!
//! The plan is a pure function of the rows of the OCS database, of the files in its download
//! directory, and of the packages here. The crate `packcast-ocs-database` reads the rows.

pub mod compare;
pub mod downloads;
mod existing;
pub mod info;
mod markup;
mod memory;
pub mod move_script;
pub mod names;
mod perform;
pub mod plan;
pub mod rows;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::{PackageId, with_causes};
use packcast_rollout::PackageRecord;

pub use self::existing::{Repeat, existing_packages, keep_new};
pub use self::perform::{Imported, perform};

use self::downloads::Downloads;
use self::plan::PackageFiles;
use self::rows::OcsDatabase;
use crate::progress::{Progress, Work};

/// The files of packages, each with the reason why they cannot be used.
pub type FilesOfPackages = BTreeMap<PackageId, Result<PackageFiles, String>>;

/// Reads the files of the packages of an OCS server. The archives of packages that are published
/// here are not read.
pub fn read_files(
    database: &OcsDatabase,
    downloads: &Downloads,
    existing: &[PackageRecord],
    progress: &Progress,
) -> FilesOfPackages {
    let published = existing.iter().filter(|it| it.published().is_some());
    let published: BTreeSet<PackageId> = published.map(|it| it.id).collect();
    let rows = database.packages.iter().filter(|row| !row.is_deleted);
    let ids: BTreeSet<PackageId> = rows.filter_map(|row| row.file_id.parse().ok()).collect();
    progress.begin(Work::Checking, 0);
    let files = ids.into_iter().map(|id| {
        let files = if published.contains(&id) {
            let inspection = None;
            let info = downloads.info(id);
            info.map(|info| PackageFiles { info, inspection })
        } else {
            downloads.package(id, progress)
        };
        (id, files.map_err(|error| with_causes(&error)))
    });
    let files = files.collect();
    progress.end();
    files
}
