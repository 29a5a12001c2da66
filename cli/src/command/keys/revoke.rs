//! `packcast keys revoke`: lets a publisher sign no further changes of the target.

use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use packcast_publisher::Failure;
use packcast_publisher::signing::publisher_keys::{self, ChangedKeys, ListKeys};

use crate::Globals;
use crate::command::key_arg::{KeyArg, RootKeyArg};
use crate::output;

pub(super) const NEXT_CHECK_IN: &str =
    "a device accepts changes that this key signs until its next check-in";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Public key to revoke
    public_key: PublicKey,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    root_key: RootKeyArg,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let keys = ListKeys {
            own: Arc::new(self.key.load(&target)?),
            root: self.root_key.load()?,
        };
        let work = Box::pin(publisher_keys::revoke(&target, &self.public_key, &keys));
        output::result(globals.format, &work.await?, text);
        output::note(NEXT_CHECK_IN);
        Ok(())
    }
}

pub(super) fn text(changed: &ChangedKeys) -> String {
    output::fields([
        ("revoked", changed.public_key.clone()),
        ("signing keys", changed.trusted.join(", ")),
    ])
}
