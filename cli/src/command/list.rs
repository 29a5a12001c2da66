//! `packcast list`: every package.

use packcast_publisher::Failure;
use packcast_publisher::package::{self, NEWEST, state};

use crate::Globals;
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
            package::deleted(&target).await?
        } else {
            package::newest(&target, self.limit).await?
        };
        if !self.deleted && packages.len() == self.limit {
            let limit = self.limit;
            output::note(&format!("the newest {limit} packages; --limit shows more"));
        }
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
