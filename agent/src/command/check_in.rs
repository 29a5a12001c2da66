//! `packcast-agent check-in`: asks the running service for a round.

use std::path::Path;

use packcast_protocol::terminal;

use super::Format;
use crate::output;
use crate::service::client::{RoundError, check_in};
use crate::service::message::Reply;

/// Ask the running service to check in now, and show its progress
///
/// The service checks in, deploys the announced packages, and reports the results. If it already
/// deploys a package, it checks in after that. Ctrl-C ends this command, not the work of the
/// service.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(after_help = "\
Examples:
  packcast-agent check-in
  packcast-agent check-in --format json | jq -r .event")]
pub struct Args {}

pub(super) fn run(state_dir: &Path, format: Format) -> Result<(), RoundError> {
    check_in(state_dir, |reply| show(reply, format))?;
    if format == Format::Text {
        output::text("done: `packcast-agent status` shows the results\n");
    }
    Ok(())
}

/// Prints the progress of a round: in JSON, the same events as `run`.
pub(super) fn show(reply: &Reply, format: Format) {
    let line = match (reply, format) {
        (Reply::Event { event }, Format::Json) => return output::json(event),
        (Reply::Event { event }, Format::Text) => event.to_string(),
        (Reply::Waiting { activity }, Format::Text) => {
            format!("waiting for the round under way: {activity}")
        }
        _ => return,
    };
    output::text(&(terminal::line(&line) + "\n"));
}
