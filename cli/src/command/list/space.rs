//! The packages by the size of their archives.

use packcast_protocol::UnixTime;
use packcast_publisher::clock::now;
use packcast_publisher::package::named;
use packcast_publisher::package::space::{PackageSpace, SizedPackage, SpaceTotal, by_size};
use packcast_publisher::{Failure, Target};

use super::dated_state;
use crate::Globals;
use crate::output;

pub(super) async fn print(target: &Target, limit: usize, globals: &Globals) -> Result<(), Failure> {
    let space = by_size(target, limit).await?;
    output::result(globals.format, &space, |space| text(space, now()));
    let shown = space.packages.len();
    if shown < space.total.packages {
        output::note(&limited(shown, space.total.packages));
    }
    // The largest unused package is the first that is worth deleting.
    if let Some(unused) = space.packages.iter().find(|sized| sized.unused) {
        output::note(&next(unused));
    }
    Ok(())
}

fn limited(shown: usize, known: usize) -> String {
    format!("showing the largest {shown} of {known} packages; pass a higher --limit for more")
}

fn next(unused: &SizedPackage) -> String {
    format!(
        "hint: run 'packcast delete {}' to delete an unused package",
        named(&unused.package)
    )
}

fn text(space: &PackageSpace, now: UnixTime) -> String {
    let rows = space.packages.iter().map(|sized| {
        let package = &sized.package;
        [
            output::bytes(sized.bytes()),
            package.name.to_string(),
            package.version.to_string(),
            dated_state(package, now),
            if sized.unused { "unused" } else { "" }.to_owned(),
            output::when(package.created_at),
        ]
    });
    let heading = ["SIZE", "NAME", "VERSION", "STATE", "USE", "CREATED"];
    format!(
        "{}\n\n{}",
        output::table(heading, rows),
        total(&space.total)
    )
}

fn total(total: &SpaceTotal) -> String {
    let number = |packages: usize| match packages {
        1 => "1 package".to_owned(),
        _ => format!("{packages} packages"),
    };
    let unused = match total.unused {
        0 => String::new(),
        unused => format!(
            "; {} in {} unused",
            output::bytes(total.unused_bytes),
            number(unused)
        ),
    };
    format!(
        "{} in {}{unused}.",
        output::bytes(total.bytes),
        number(total.packages)
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::{NOON, active, draft, expiring};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn packages_are_listed_by_size_with_a_total() {
        let sized = |package, unused| SizedPackage { package, unused };
        let space = PackageSpace {
            packages: vec![
                sized(active(), false),
                sized(expiring(NOON), true),
                sized(draft(), false),
            ],
            total: SpaceTotal {
                packages: 3,
                bytes: 135_000_000,
                unused: 1,
                unused_bytes: 45_000_000,
            },
        };
        assert_snapshot!(on_terminals(|| text(&space, UnixTime(NOON))), @"
        80:
        SIZE       NAME  VERSION  STATE               USE     CREATED
        42.92 MiB  vlc   3.0.21   active                      2026-11-18 11:06:40 UTC
        42.92 MiB  vlc   3.0.21   expired 2026-11-18  unused  2026-11-18 11:06:40 UTC
        42.92 MiB  vlc   3.0.21   draft                       2026-11-18 11:06:40 UTC

        128.75 MiB in 3 packages; 42.92 MiB in 1 package unused.

        140:
        SIZE       NAME  VERSION  STATE               USE     CREATED
        42.92 MiB  vlc   3.0.21   active                      2026-11-18 11:06:40 UTC
        42.92 MiB  vlc   3.0.21   expired 2026-11-18  unused  2026-11-18 11:06:40 UTC
        42.92 MiB  vlc   3.0.21   draft                       2026-11-18 11:06:40 UTC

        128.75 MiB in 3 packages; 42.92 MiB in 1 package unused.
        ");
        assert_snapshot!(next(&space.packages[1]), @"hint: run 'packcast delete vlc@3.0.21' to delete an unused package");
        assert_snapshot!(limited(100, 240), @"showing the largest 100 of 240 packages; pass a higher --limit for more");
        let one = SpaceTotal {
            packages: 1,
            bytes: 2_048,
            ..SpaceTotal::default()
        };
        assert_snapshot!(total(&one), @"2.00 KiB in 1 package.");
        assert_snapshot!(total(&SpaceTotal::default()), @"0 B in 0 packages.");
    }
}
