//! Parts of the state of a target, as its head has it now.

use std::collections::BTreeSet;

use packcast_protocol::state::{Commit, LeafName};
use packcast_rollout::state::StatePart;
use packcast_store::{Records, RecordsError};

use super::commit::Validity;
use super::expiry;
use super::reader::TargetState;
use crate::clock::now;
use crate::failure::Failure;
use crate::target::Target;
use crate::text::{count, for_target};
use crate::warning::Warning;

/// Returns the documents of these names in the verified head.
///
/// The next commit may change them. So the answer decides on the text of a refusal, and on the need
/// for a commit, but never on the content of a commit.
pub(crate) async fn current_part(
    target: &Target,
    names: BTreeSet<LeafName>,
) -> Result<StatePart, Failure> {
    let mut state = TargetState::read(&target.records, &target.trust()?).await?;
    Ok(state.trees.part(&target.records, names).await?)
}

/// Returns the documents of all groups in the verified head.
pub(crate) async fn current_groups(target: &Target) -> Result<StatePart, Failure> {
    let mut state = TargetState::read(&target.records, &target.trust()?).await?;
    Ok(state.trees.all_groups(&target.records).await?)
}

/// Warns a person who reads the records of a target: of a head or a key list that expires soon, and of
/// incomplete records of the last commits, because the command may show earlier records.
///
/// Returns the signed state. `None` if this machine does not know the root keys of the target, or
/// if the state does not verify: changing commands and `audit` report that error. A forged head can
/// then cause only a wrong warning.
pub(crate) async fn warn_of_head(target: &Target) -> Result<Option<TargetState>, Failure> {
    let state = match target.trust() {
        Ok(trust) => TargetState::read(&target.records, &trust).await.ok(),
        Err(_) => None,
    };
    // Before the head, so that a higher number than that of the head is forged.
    let recorded = recorded_order(&target.records).await?;
    let head = target.records.head().await?;
    if let Some(state) = &state {
        warn_of_state(target, state);
    } else {
        let text = head.as_ref().map(|head| head.commit.signed.text());
        let commit = text.and_then(|text| serde_json::from_str::<Commit>(text).ok());
        warn_of_validity(
            target,
            Validity {
                commit: commit.map(|commit| commit.expires),
                keys: None,
            },
        );
    }
    let order = head.map_or(0, |head| head.order);
    if recorded > order {
        target.warnings.push(forged_number(&target.name));
    } else if recorded < order {
        let open = order - recorded;
        target.warnings.push(open_records(open, &target.name));
    }
    Ok(state)
}

/// Returns the number of changes of the head whose records are complete, as the table says. It is 0
/// if the statement is unreadable.
pub(crate) async fn recorded_order(records: &Records) -> Result<u64, RecordsError> {
    match records.recorded_head().await {
        Ok(recorded) => Ok(recorded.map_or(0, |head| head.order)),
        Err(RecordsError::Corrupt { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}

fn forged_number(target: &str) -> Warning {
    Warning::new(
        "somebody has changed the table: it lists more complete commits than the target has",
    )
    .hint(for_target(
        "find out who can write to the table, then run 'packcast sign' to write all records again",
        target,
    ))
}

/// Warns a person who reads the signed state if the head or the key list expires soon.
pub(crate) fn warn_of_state(target: &Target, state: &TargetState) {
    warn_of_validity(target, Validity::of(state));
}

/// Warns if a state expires soon.
pub(super) fn warn_of_validity(target: &Target, validity: Validity) {
    for warning in expiry::warnings(validity, &target.name, now()) {
        target.warnings.push(warning);
    }
}

fn open_records(commits: u64, target: &str) -> Warning {
    let commits = count(commits, "commit");
    Warning::new(format!(
        "the records of {commits} are incomplete: a command is running, or was interrupted"
    ))
    .hint(for_target(
        "run 'packcast sign', or any command that changes the target, to complete the records",
        target,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_of_open_records() {
        let warnings = [
            open_records(1, "local"),
            open_records(2, "prod"),
            forged_number("prod"),
        ];
        let warnings = warnings.map(|warning| warning.to_string());
        insta::assert_snapshot!(warnings.join("\n"), @r"
        warning: the records of 1 commit are incomplete: a command is running, or was interrupted
        hint: run 'packcast sign', or any command that changes the target, to complete the records
        warning: the records of 2 commits are incomplete: a command is running, or was interrupted
        hint: run 'packcast --target prod sign', or any command that changes the target, to complete the records
        warning: somebody has changed the table: it lists more complete commits than the target has
        hint: find out who can write to the table, then run 'packcast --target prod sign' to write all records again
        ");
    }
}
