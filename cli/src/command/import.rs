//! `packcast import`: imports from other servers.

mod ocs;

use packcast_publisher::Failure;

use crate::Globals;

/// Import from another deployment server
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    Ocs(Box<ocs::Args>),
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Ocs(args) => Box::pin(args.run(globals)).await,
        }
    }
}
