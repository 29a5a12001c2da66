//! `packcast keys revoke`: stops agents from trusting a key.

use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use packcast_publisher::Failure;
use packcast_publisher::signing::revoke::{self, Revoked};

use super::note_first;
use crate::Globals;
use crate::command::key_arg::KeyArg;
use crate::output;

pub(super) const REFUSED: &str = "agents refuse the packages above: \
publish each under another version, and assign that version";

pub(super) const NEXT_CHECK_IN: &str = "a device trusts the key until its next check-in; \
a device without a key list keeps trusting the key until the key is removed from trusted_keys \
in the device's configuration";

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
        let revoked = revoke::revoke(&target, &self.public_key, key).await?;
        output::result(globals.format, &revoked, text);
        if !revoked.refused.is_empty() {
            output::note(REFUSED);
        }
        note_first(revoked.is_first);
        output::note(NEXT_CHECK_IN);
        Ok(())
    }
}

pub(super) fn text(revoked: &Revoked) -> String {
    output::fields([
        ("revoked", revoked.public_key.clone()),
        ("trusted", revoked.trusted.join(", ")),
        ("refused packages", revoked.refused.join(", ")),
    ])
}
