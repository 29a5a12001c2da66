//! `packcast keys accept-head`: confirms the head of a target that this machine does not know.

use packcast_protocol::state::CommitId;
use packcast_publisher::Failure;
use packcast_publisher::state::accept::{self, ShownHead};

use crate::Globals;
use crate::output;
use crate::prompt;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Confirm this commit without a question
    ///
    /// The head must be this commit, or a later one that contains it.
    commit: Option<CommitId>,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let commit = match self.commit {
            Some(commit) => commit,
            None => confirmed(&accept::shown_head(&target).await?)?,
        };
        let head = accept::accept_head(&target, commit).await?;
        output::result(globals.format, &head, text);
        Ok(())
    }
}

/// Shows the head to a person, and asks for a confirmation.
fn confirmed(head: &ShownHead) -> Result<CommitId, Failure> {
    output::note(&text(head));
    if !output::is_interactive() {
        return Err(nobody_to_ask(head));
    }
    if prompt::confirm(QUESTION)? {
        Ok(head.commit)
    } else {
        Err(Failure::failed("the head was not accepted"))
    }
}

pub(super) const QUESTION: &str = "Is this a commit of your administrators?";

pub(super) fn nobody_to_ask(head: &ShownHead) -> Failure {
    let accept = format!(
        "compare the commit with another machine, then run 'packcast keys accept-head {}'",
        head.commit
    );
    Failure::usage("cannot ask for a confirmation: there is no terminal").hint(accept)
}

pub(in super::super) fn text(head: &ShownHead) -> String {
    let about = head.about.as_ref();
    let author = about.map(|about| format!("{} on {}", about.author, about.host));
    let command = about.map(|about| about.command.to_string());
    output::fields([
        ("commit", head.commit.to_string()),
        ("signed with", head.key.to_string()),
        ("issued", output::time(head.issued)),
        ("expires", output::time(head.expires)),
        ("author", author.unwrap_or_default()),
        ("command", command.unwrap_or_default()),
    ])
}
