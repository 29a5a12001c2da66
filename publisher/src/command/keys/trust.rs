//! `packcast keys trust`: agents trust the key of another publisher, too.

use packcast_protocol::signature::PublicKey;
use serde::Serialize;

use super::lists::{self, Published, signed};
use crate::Globals;
use crate::clock::now;
use crate::command::signer::KeyArg;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The key that is trusted, too
    public_key: PublicKey,
    #[command(flatten)]
    key: KeyArg,
}

#[derive(Serialize)]
struct Trusting {
    public_key: String,
    trusted: Vec<String>,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let key = self.key.load(&target)?;
        let published = Published::read(&target, key.public()).await?;
        let list = published.lists.trust(&self.public_key, now());
        let list = list.map_err(lists::failure)?;
        published.add(&target, &[signed(&list, &key)?]).await?;
        let trusting = Trusting {
            public_key: self.public_key.to_string(),
            trusted: list.keys().iter().map(ToString::to_string).collect(),
        };
        output::result(globals.format, &trusting, |trusting| {
            output::fields([
                ("trusted too", trusting.public_key.clone()),
                ("trusted", trusting.trusted.join(", ")),
            ])
        });
        lists::warn_of_the_first(&published.lists);
        Ok(())
    }
}
