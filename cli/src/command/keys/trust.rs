//! `packcast keys trust`: agents trust the key of another publisher, too.

use packcast_protocol::signature::PublicKey;
use packcast_publisher::Failure;
use packcast_publisher::signing::trust;

use super::warn_of_the_first;
use crate::Globals;
use crate::command::key_arg::KeyArg;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The key that is trusted, too
    public_key: PublicKey,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let key = self.key.load(&target)?;
        let trusting = trust::trust(&target, &self.public_key, &key).await?;
        output::result(globals.format, &trusting, |trusting| {
            output::fields([
                ("trusted too", trusting.public_key.clone()),
                ("trusted", trusting.trusted.join(", ")),
            ])
        });
        warn_of_the_first(trusting.is_first);
        Ok(())
    }
}
