//! `packcast token`: creates an enrolment token for a number of devices.

mod batches;

use std::path::PathBuf;

use packcast_protocol::enrolment::BatchName;
use packcast_publisher::clock::now;
use packcast_publisher::enrolment::{NewToken, create_token};
use packcast_publisher::values::duration;
use packcast_publisher::{Failure, text};

use self::batches::BatchCommand;
use crate::Globals;
use crate::output::{self, Format};
use crate::places;

/// Create an enrolment token for a limited number of devices
///
/// Packcast agents with the token can enrol until the token expires, or until the number of devices
/// is reached. A device that enrols again counts once. Devices that have enrolled stay enrolled.
/// The token is a secret: write it to a file that only the agent can read, and name the file in
/// agent.toml. The devices of one token are a batch. Create a token for each batch of machines, so
/// that you can revoke it without the others.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  packcast token --name berlin --devices 500 --target production > token
  packcast token --devices 1 --expires-in 2d > token
  packcast token list
  packcast token revoke berlin"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<BatchCommand>,
    /// Number of devices that the token enrols, at most 1,000,000
    #[arg(long, required = true, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: Option<u32>,
    /// Name of the batch: 1 to 20 lower-case letters, digits, '_' and '-'
    ///
    /// The first character is a letter or digit. 'packcast device show' shows the name for each device
    /// of the batch.
    #[arg(long)]
    name: Option<BatchName>,
    /// Expire the token after this time, such as 14d
    #[arg(long, default_value = "30d", value_name = "DURATION", value_parser = duration::days(1, 3_650))]
    expires_in: u64,
    /// Read the pass key from this file instead of the target's secrets
    ///
    /// The secrets of a stack are in NAME.secrets beside packcast.toml, on the machine that deployed
    /// the stack.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self.command {
            Some(command) => command.run(globals).await,
            None => self.create(globals),
        }
    }

    fn create(self, globals: &Globals) -> Result<(), Failure> {
        let Some(devices) = self.devices else {
            return Err(Failure::usage("--devices is missing"));
        };
        let secrets = match self.secrets {
            Some(file) => file,
            None => places::find()?.secrets_file(&globals.target),
        };
        let expires = now().plus(self.expires_in);
        let token = create_token(&secrets, self.name.as_ref(), devices, expires)?;
        output::result(globals.format, &token, |token| token.token.clone());
        if globals.format == Format::Text {
            output::note(&note(&token));
        }
        Ok(())
    }
}

fn note(token: &NewToken) -> String {
    let devices = match token.devices {
        1 => "one device".to_owned(),
        devices => format!("{devices} devices"),
    };
    format!(
        "the token of batch {} enrols {devices} until {}",
        token.batch,
        text::time(token.expires)
    )
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;

    use super::*;

    #[test]
    fn a_note_has_the_limits_of_the_token() {
        let note = |devices| {
            note(&NewToken {
                token: "secret".to_owned(),
                batch: "berlin-a4dqobyha4dqobyha4dqobyha4".parse().unwrap(),
                devices,
                expires: UnixTime(1_795_000_000),
            })
        };
        insta::assert_snapshot!(note(1), @"the token of batch berlin-a4dqobyha4dqobyha4dqobyha4 enrols one device until 2026-11-18 11:06:40 UTC");
        insta::assert_snapshot!(note(500), @"the token of batch berlin-a4dqobyha4dqobyha4dqobyha4 enrols 500 devices until 2026-11-18 11:06:40 UTC");
    }
}
