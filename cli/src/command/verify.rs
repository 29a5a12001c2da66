//! `packcast verify`: fetches a package back, and compares every byte with the publication.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::{LocationName, PackageRef};
use packcast_publisher::Failure;
use packcast_publisher::verify::{self, MAX_PROBLEMS, Through, VerifiedSource};

use crate::Globals;
use crate::output;
use crate::progress::Bar;

/// Fetch a package back and check every byte of it
///
/// Fetches manifest, signature, info and every fragment through each location that the package
/// is active at, and checks every digest, those of the whole archive, and the signature. Ends
/// with 1 if anything is not what was published.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast verify vlc@3.0.21
  packcast verify vlc@3.0.21 --location site-berlin
  packcast verify 1795327754 --stored")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    /// Fetch through this location of the package only (repeatable)
    #[arg(long, value_name = "NAME", conflicts_with = "stored")]
    location: Vec<LocationName>,
    /// Read what is stored, instead of what locations serve
    #[arg(long)]
    stored: bool,
    /// The public key that has to have signed the package, instead of the target's own
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
        output::result(globals.format, &verification, |it| text(&it.sources));
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
        results.push("failed: and the rest was not looked at".to_owned());
    }
    results
}
