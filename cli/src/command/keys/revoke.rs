//! `packcast keys revoke`: agents trust a key no more.

use packcast_protocol::signature::PublicKey;
use packcast_publisher::Failure;
use packcast_publisher::signing::revoke::{self, Revoked};

use super::warn_of_the_first;
use crate::Globals;
use crate::command::key_arg::KeyArg;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The key that is trusted no more
    public_key: PublicKey,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let key = self.key.load(&target)?;
        let revoked = revoke::revoke(&target, &self.public_key, &key).await?;
        output::result(globals.format, &revoked, text);
        if !revoked.refused.is_empty() {
            output::note(
                "agents refuse the packages above from now on: publish each under another version, and assign that",
            );
        }
        warn_of_the_first(revoked.is_first);
        output::note(
            "a device follows at its next check-in; until then, and where trusted_keys of its configuration names the key and no list reaches it, the key counts",
        );
        Ok(())
    }
}

fn text(revoked: &Revoked) -> String {
    output::fields([
        ("revoked", revoked.public_key.clone()),
        ("trusted", revoked.trusted.join(", ")),
        ("packages it signed", revoked.refused.join(", ")),
    ])
}
