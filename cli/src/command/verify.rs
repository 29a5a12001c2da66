//! `packcast verify`: downloads a package, and compares every byte with the publication.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::{LocationName, PackageRef};
use packcast_publisher::Failure;
use packcast_publisher::verify::{self, MAX_PROBLEMS, Through, VerifiedSource};

use crate::Globals;
use crate::output;
use crate::progress::Bar;

/// Download a package and check every byte of it
///
/// Fetches the manifest, the signature, the info and all fragments through each location of the
/// package, and checks the signature and all digests. The exit code is 1 if anything differs from
/// the publication.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast verify vlc@3.0.21
  packcast verify vlc@3.0.21 --location site-berlin
  packcast verify 1795327754 --stored")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
    /// Fetch only through this location of the package (repeatable)
    #[arg(long, value_name = "NAME", conflicts_with = "stored")]
    location: Vec<LocationName>,
    /// Read the objects from the bucket or directory, not through locations
    #[arg(long)]
    stored: bool,
    /// Public key that must have signed the package, instead of any publisher key of the target
    #[arg(long, value_name = "KEY")]
    public_key: Option<PublicKey>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let through = if self.stored {
            Through::Store
        } else {
            Through::Locations(self.location)
        };
        let progress = Bar::new().progress();
        let verification =
            verify::verify(&target, &self.package, &through, self.public_key, &progress).await?;
        output::warn(&verification.warnings);
        output::result(globals.format, &verification, |verification| {
            text(&verification.sources)
        });
        verification.conclude()
    }
}

fn text(verified: &[VerifiedSource]) -> String {
    let rows = verified.iter().flat_map(|one| {
        let results = if one.is_intact {
            vec!["ok".to_owned()]
        } else {
            results(&one.problems)
        };
        results
            .into_iter()
            .map(|result| [one.source.clone(), result])
    });
    output::table(["LOCATION", "RESULT"], rows)
}

fn results(problems: &[String]) -> Vec<String> {
    let mut results: Vec<String> = problems
        .iter()
        .map(|problem| format!("failed: {problem}"))
        .collect();
    if problems.len() >= MAX_PROBLEMS {
        results.push("failed: the rest was not checked".to_owned());
    }
    results
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::{self, plain};
    use crate::output::screen::tests::on_terminals;

    fn verified(source: &str, problems: &[&str]) -> VerifiedSource {
        VerifiedSource {
            package: fixtures::id(),
            source: source.to_owned(),
            is_intact: problems.is_empty(),
            problems: problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn each_location_has_its_result() {
        let problems = ["manifest: unreachable", "fragment 3: SHA-256 mismatch"];
        let sources = [verified("cdn", &[]), verified("site-berlin", &problems)];
        assert_snapshot!(on_terminals(|| text(&sources)), @"
        80:
        LOCATION     RESULT
        cdn          ok
        site-berlin  failed: manifest: unreachable
        site-berlin  failed: fragment 3: SHA-256 mismatch

        140:
        LOCATION     RESULT
        cdn          ok
        site-berlin  failed: manifest: unreachable
        site-berlin  failed: fragment 3: SHA-256 mismatch
        ");
        assert_snapshot!(plain(&text(&sources)), @"
        LOCATION     RESULT
        cdn          ok
        site-berlin  failed: manifest: unreachable
        site-berlin  failed: fragment 3: SHA-256 mismatch
        ");
        let many = verified("cdn", &["x"; MAX_PROBLEMS]);
        assert_snapshot!(results(&many.problems).last().unwrap(), @"failed: the rest was not checked");
    }
}
