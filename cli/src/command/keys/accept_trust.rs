//! `packcast keys accept-trust`: stores the trust line of a target that another machine has created.

use packcast_protocol::state::TrustedRoots;
use packcast_publisher::Failure;
use packcast_publisher::signing::key_files::{self, AcceptedTrust};

use crate::Globals;
use crate::output;
use crate::places;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Trust line, as 'packcast keys show' prints it on another machine
    #[arg(value_name = "LINE")]
    trust: TrustedRoots,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let memory = places::find()?.state_memory(&globals.target);
        let accepted = key_files::accept_trust(&memory, self.trust)?;
        output::result(globals.format, &accepted, text);
        output::note(&next(&globals.command("keys accept-head")));
        Ok(())
    }
}

pub(super) fn text(accepted: &AcceptedTrust) -> String {
    output::fields([("trust line", accepted.trust.to_string())])
}

pub(super) fn next(command: &str) -> String {
    format!("confirm the head of the target before the first change: {command}")
}
