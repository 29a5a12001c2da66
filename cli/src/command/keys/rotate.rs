//! `packcast keys rotate`: a new key signs from now on.

use std::path::PathBuf;

use packcast_publisher::Failure;
use packcast_publisher::signing::rotate::{self, Rotated};

use super::warn_of_the_first;
use crate::Globals;
use crate::command::sign;
use crate::output;
use crate::progress::{Bar, until_interrupted};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Replace this key file's key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Do not encrypt the new key; whoever can read the file can sign
    #[arg(long)]
    unencrypted: bool,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let bar = Bar::new();
        let progress = bar.progress();
        let work = Box::pin(rotate::rotate(
            &target,
            self.key,
            self.unencrypted,
            &progress,
        ));
        let rotated = until_interrupted("groups and devices", work, &bar).await?;
        if let Some(file) = &rotated.resumed_from {
            output::note(&format!(
                "going on with the new key that an earlier run has made, {}",
                file.display()
            ));
        }
        output::result(globals.format, &rotated, text);
        warn_of_the_first(rotated.is_first);
        output::note(
            "agents follow at their next check-in; give those that you set up from now on the new public key",
        );
        sign::complete(&rotated.signed)
    }
}

fn text(rotated: &Rotated) -> String {
    output::fields([
        ("public key", rotated.public_key.clone()),
        (
            "secret key file",
            rotated.secret_key_file.display().to_string(),
        ),
        (
            "old secret key file",
            rotated.old_secret_key_file.display().to_string(),
        ),
        ("signed again", rotated.signed.signed.to_string()),
    ])
}
