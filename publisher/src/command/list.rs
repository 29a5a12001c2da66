//! `packcast list`: every package.

use super::{NEWEST, newest, state};
use crate::Globals;
use crate::failure::Failure;
use crate::output;

/// List the packages, the newest last
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List those that were deleted instead
    #[arg(long)]
    deleted: bool,
    /// List at most this many, the newest
    #[arg(long, default_value_t = NEWEST, value_name = "COUNT", conflicts_with = "deleted")]
    limit: usize,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let packages = if self.deleted {
            target.records.deleted_packages().await?
        } else {
            newest(&target, self.limit).await?
        };
        output::result(globals.format, &packages, |packages| {
            output::table(
                [
                    "ID", "NAME", "VERSION", "PRIORITY", "ACTION", "SIZE", "STATE", "CREATED",
                ],
                packages.iter().map(|package| {
                    [
                        package.id.to_string(),
                        package.name.to_string(),
                        package.version.to_string(),
                        package.priority.to_string(),
                        package.action.name().to_owned(),
                        package
                            .action
                            .archive()
                            .map_or_else(String::new, |archive| output::bytes(archive.bytes)),
                        state(package).to_owned(),
                        output::time(package.created_at),
                    ]
                }),
            )
        });
        Ok(())
    }
}
