//! `packcast keys rotate`: replaces the signing key with a new one.

use std::path::{Path, PathBuf};

use packcast_publisher::Failure;
use packcast_publisher::signing::rotate::{self, Rotated};

use crate::Globals;
use crate::command::key_arg::RootKeyArg;
use crate::output;

pub(super) const NEXT_CHECK_IN: &str = "agents trust the new key from their next check-in on; \
configure new agents with this trust line";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Replace the key in this file instead of the target's own key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Do not encrypt the new key: anybody who can read the file can sign
    #[arg(long)]
    unencrypted: bool,
    #[command(flatten)]
    root_key: RootKeyArg,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let root = self.root_key.load()?;
        let work = rotate::rotate(&target, self.key, self.unencrypted, root);
        let rotated = Box::pin(work).await?;
        if let Some(file) = &rotated.resumed_from {
            output::note(&resumed(file));
        }
        output::result(globals.format, &rotated, text);
        output::note(NEXT_CHECK_IN);
        Ok(())
    }
}

pub(super) fn resumed(file: &Path) -> String {
    format!(
        "resuming with the new key of an earlier run: {}",
        file.display()
    )
}

pub(super) fn text(rotated: &Rotated) -> String {
    output::fields([
        ("public key", rotated.public_key.clone()),
        ("trust line", rotated.trust.to_string()),
        (
            "secret key file",
            rotated.secret_key_file.display().to_string(),
        ),
        (
            "old secret key file",
            rotated.old_secret_key_file.display().to_string(),
        ),
    ])
}
