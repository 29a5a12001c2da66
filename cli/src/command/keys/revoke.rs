//! `packcast keys revoke`: lets a publisher sign no further changes of the target.

use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use packcast_publisher::Failure;
use packcast_publisher::signing::publisher_keys::{self, ChangedKeys};

use crate::Globals;
use crate::command::key_arg::KeyArg;
use crate::output;

pub(super) const NEXT_CHECK_IN: &str =
    "a device accepts changes that this key signs until its next check-in";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Public key to revoke
    public_key: PublicKey,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let key = Arc::new(self.key.load(&target)?);
        let work = Box::pin(publisher_keys::revoke(&target, &self.public_key, key));
        output::result(globals.format, &work.await?, text);
        output::note(NEXT_CHECK_IN);
        Ok(())
    }
}

pub(super) fn text(changed: &ChangedKeys) -> String {
    output::fields([
        ("revoked", changed.public_key.clone()),
        ("trusted", changed.trusted.join(", ")),
    ])
}
