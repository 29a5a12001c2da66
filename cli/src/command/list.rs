//! `packcast list`: lists packages.

mod space;

use clap::ValueEnum;
use packcast_protocol::UnixTime;
use packcast_publisher::Failure;
use packcast_publisher::clock::now;
use packcast_publisher::package::{self, NEWEST, state};
use packcast_rollout::PackageRecord;

use crate::Globals;
use crate::output;

/// List packages, newest last
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast list
  packcast list --sort size
  packcast list --limit 10 --format json
  packcast list --deleted")]
pub(crate) struct Args {
    /// List deleted packages instead
    #[arg(long)]
    deleted: bool,
    /// List only this many packages: the newest, or the largest
    ///
    /// The default is 100 for text; JSON and CSV have all packages.
    #[arg(long, value_name = "COUNT", conflicts_with = "deleted")]
    limit: Option<usize>,
    /// Sort the packages by this value
    ///
    /// A package is unused if it is assigned to no group, and open on no device.
    #[arg(long, value_enum, default_value_t, conflicts_with = "deleted")]
    sort: OrderChoice,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OrderChoice {
    /// The newest last
    #[default]
    Created,
    /// The largest archive first, with a total and a mark for each unused package
    Size,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let limit = globals.limit(self.limit, NEWEST);
        if self.sort == OrderChoice::Size {
            return space::print(&target, limit, globals).await;
        }
        let packages = if self.deleted {
            package::deleted(&target).await?
        } else {
            package::newest(&target, limit).await?
        };
        // A list that is as long as its limit was probably cut off.
        if !self.deleted && packages.len() == limit {
            output::note(&limited(limit));
        }
        output::result(globals.format, &packages, |packages| text(packages, now()));
        Ok(())
    }
}

/// Returns the note for a list that reaches its limit: more packages may exist.
pub(super) fn limited(limit: usize) -> String {
    format!("showing the newest {limit} packages; pass a higher --limit for more")
}

/// Writes the state of a package with the day of its expiry, if it has one.
fn dated_state(package: &PackageRecord, now: UnixTime) -> String {
    let state = state(package, now);
    let expires = package.published().and_then(|published| published.expires);
    match expires {
        None => state.to_owned(),
        Some(expires) if expires <= now => format!("{state} {}", expires.day()),
        Some(expires) => format!("{state} until {}", expires.day()),
    }
}

fn text(packages: &[PackageRecord], now: UnixTime) -> String {
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
                dated_state(package, now),
                output::when(package.created_at),
            ]
        }),
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::{NOON, active, deleted, draft, expiring, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn packages_are_listed_with_their_states() {
        let shown = [
            draft(),
            active(),
            deleted(),
            expiring(NOON),
            expiring(NOON + 1),
        ];
        assert_snapshot!(on_terminals(|| text(&shown, UnixTime(NOON))), @"
        80:
        ID          NAME  VERSION  ACTION  SIZE       STATE             CREATED
        1795327754  vlc   3.0.21   LAUNCH  42.92 MiB  draft             2026-11-18
                                                                        11:06:40 UTC
        1795327754  vlc   3.0.21   LAUNCH  42.92 MiB  active            2026-11-18
                                                                        11:06:40 UTC
        1795327754  vlc   3.0.21   LAUNCH  42.92 MiB  deleted           2026-11-18
                                                                        11:06:40 UTC
        1795327754  vlc   3.0.21   LAUNCH  42.92 MiB  expired           2026-11-18
                                                      2026-11-18        11:06:40 UTC
        1795327754  vlc   3.0.21   LAUNCH  42.92 MiB  active until      2026-11-18
                                                      2026-11-18        11:06:40 UTC

        140:
        ID          NAME  VERSION  PRIORITY  ACTION  SIZE       STATE                    CREATED
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  draft                    2026-11-18 11:06:40 UTC
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  active                   2026-11-18 11:06:40 UTC
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  deleted                  2026-11-18 11:06:40 UTC
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  expired 2026-11-18       2026-11-18 11:06:40 UTC
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  active until 2026-11-18  2026-11-18 11:06:40 UTC
        ");
        assert_snapshot!(plain(&text(&shown, UnixTime(NOON))), @"
        ID          NAME  VERSION  PRIORITY  ACTION  SIZE       STATE                    CREATED
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  draft                    2026-11-18 11:06:40 UTC
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  active                   2026-11-18 11:06:40 UTC
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  deleted                  2026-11-18 11:06:40 UTC
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  expired 2026-11-18       2026-11-18 11:06:40 UTC
        1795327754  vlc   3.0.21   5         LAUNCH  42.92 MiB  active until 2026-11-18  2026-11-18 11:06:40 UTC
        ");
        assert_snapshot!(limited(100), @"showing the newest 100 packages; pass a higher --limit for more");
    }
}
