//! `packcast keys trust`: adds the key of another publisher to the keys that agents trust.

use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use packcast_publisher::Failure;
use packcast_publisher::signing::trust::{self, Trusting};

use super::note_first;
use crate::Globals;
use crate::command::key_arg::KeyArg;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Public key of the other publisher
    public_key: PublicKey,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let key = Arc::new(self.key.load(&target)?);
        let trusting = trust::trust(&target, &self.public_key, key).await?;
        output::result(globals.format, &trusting, text);
        note_first(trusting.is_first);
        Ok(())
    }
}

pub(super) fn text(trusting: &Trusting) -> String {
    output::fields([
        ("added", trusting.public_key.clone()),
        ("trusted", trusting.trusted.join(", ")),
    ])
}
