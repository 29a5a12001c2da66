//! Signs the assignments of groups and devices again, before their signatures expire.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::assignments::Assignee;
use packcast_protocol::{AgentId, DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::assignments::direct_tasks;
use packcast_store::records::{
    AssignError, GroupError, SigningError, SigningOutcome, SigningScope,
};
use serde::Serialize;

use super::signer::{HOW_TO_SIGN_ANYWAY, Signer};
use super::verify_record::AlsoAccept;
use crate::concurrency::AT_ONCE;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::progress::{Progress, Work};
use crate::target::Target;

/// The assignments to sign.
#[derive(Clone, Debug)]
pub enum ToSign {
    /// Assignments whose signature expires soon, or that another key has signed.
    Due,
    /// All assignments.
    Everything,
    /// All assignments of a restored table, even if this machine has signed later states of them.
    Restored,
    /// The recorded assignments of these groups and devices, signed by any key or not signed.
    AsRecorded {
        groups: Vec<GroupName>,
        devices: Vec<DeviceName>,
        /// Additional keys that may have signed their packages.
        also_accept: AlsoAccept,
    },
}

/// The result of signing again.
#[derive(Debug, Default, Serialize)]
pub struct SignResult {
    /// The number of groups and devices whose assignments were signed.
    pub signed: usize,
    /// The number of assignments that were left alone: the same key signed them, and they do not
    /// expire soon.
    pub good: usize,
    /// The error of each refused group or device.
    pub refused: Vec<String>,
    /// At least one refused state is older than the state that this machine has signed.
    #[serde(skip)]
    is_rolled_back: bool,
    /// The earliest end of the validity of all signatures.
    pub good_until: Option<UnixTime>,
}

/// An attempt to sign the assignments of one group or device.
enum SignAttempt {
    Done(SigningOutcome),
    /// An error of this group or device only; the others are signed nevertheless.
    Refused(SigningError),
}

/// Signs assignments again. The function reads the key of `signer` after it has found all groups and
/// devices.
///
/// Refused assignments do not stop the others; see [`SignResult::complete`].
pub async fn sign(
    target: &Target,
    to_sign: &ToSign,
    mut signer: Signer,
    progress: &Progress,
) -> Result<SignResult, Failure> {
    let assignees = match to_sign {
        ToSign::AsRecorded {
            groups, devices, ..
        } => named(target, groups, devices).await?,
        ToSign::Due | ToSign::Everything | ToSign::Restored => all(target).await?,
    };
    signer.unlock()?;
    // Declared here, because the renewal borrows the packages until all assignments are signed.
    let verified;
    let renewal = match to_sign {
        ToSign::Due => SigningScope::Due,
        ToSign::Everything => SigningScope::All,
        ToSign::Restored => SigningScope::Restored,
        ToSign::AsRecorded { also_accept, .. } => {
            let packages = recorded(target, &assignees).await?;
            verified = also_accept.verify_all(target, &packages, &signer).await?;
            SigningScope::AsRecorded(&verified)
        }
    };
    sign_each(target, assignees, renewal, &signer, progress).await
}

/// Signs all assignments that expire soon or that another key has signed.
pub(super) async fn sign_due(
    target: &Target,
    signer: &Signer,
    progress: &Progress,
) -> Result<SignResult, Failure> {
    sign_each(
        target,
        all(target).await?,
        SigningScope::Due,
        signer,
        progress,
    )
    .await
}

async fn named(
    target: &Target,
    groups: &[GroupName],
    devices: &[DeviceName],
) -> Result<Vec<Assignee>, Failure> {
    let mut assignees: Vec<Assignee> = groups.iter().cloned().map(Assignee::Group).collect();
    for name in devices {
        match name.find(target).await? {
            DeviceId::Agent(agent) => assignees.push(Assignee::Device(agent)),
            device @ DeviceId::Ocs(_) => return Err(verifies_nothing(&device)),
        }
    }
    Ok(assignees)
}

fn verifies_nothing(device: &DeviceId) -> Failure {
    Failure::usage(format!(
        "cannot sign the assignments of {device}: its OCS agent verifies no signatures"
    ))
}

/// Returns every group, and every device with a Packcast agent.
async fn all(target: &Target) -> Result<Vec<Assignee>, Failure> {
    let groups = target.records.groups().await?;
    let groups = groups.into_iter().map(|state| Assignee::Group(state.group));
    let devices = target.records.members(&GroupName::all()).await?;
    let agents = devices.into_iter().filter_map(|device| match device {
        DeviceId::Agent(agent) => Some(Assignee::Device(agent)),
        DeviceId::Ocs(_) => None,
    });
    Ok(groups.chain(agents).collect())
}

/// Returns the packages in the recorded assignments of these groups and devices.
async fn recorded(target: &Target, assignees: &[Assignee]) -> Result<Vec<PackageId>, Failure> {
    let mut packages = Vec::new();
    for assignee in assignees {
        match assignee {
            Assignee::Group(group) => {
                let state = target.records.group(group).await?;
                let has = state.map(|state| state.assignments).unwrap_or_default();
                packages.extend(has.iter().map(|assignment| assignment.package));
            }
            Assignee::Device(agent) => {
                let device = DeviceId::Agent(agent.clone());
                let device_state = target.records.device_state(&device).await?;
                packages.extend(direct_tasks(&device_state.tasks).map(|task| task.package));
            }
        }
    }
    Ok(packages)
}

async fn sign_each(
    target: &Target,
    assignees: Vec<Assignee>,
    renewal: SigningScope<'_>,
    signer: &Signer,
    progress: &Progress,
) -> Result<SignResult, Failure> {
    progress.begin(Work::Signing, assignees.len() as u64);
    let mut result = SignResult::default();
    let mut attempts = stream::iter(assignees)
        .map(async |assignee| match &assignee {
            Assignee::Group(group) => sign_group(target, group, renewal, signer).await,
            Assignee::Device(agent) => sign_device(target, agent, renewal, signer).await,
        })
        .buffer_unordered(AT_ONCE);
    while let Some(attempt) = attempts.try_next().await? {
        result.count(attempt);
        progress.advance(1);
    }
    progress.end();
    Ok(result)
}

async fn sign_group(
    target: &Target,
    group: &GroupName,
    renewal: SigningScope<'_>,
    signer: &Signer,
) -> Result<SignAttempt, Failure> {
    let signing = signer.signing();
    match target.records.sign_group(group, renewal, signing).await {
        Ok(renewed) => Ok(SignAttempt::Done(renewed)),
        Err(GroupError::Signing(error)) => SignAttempt::refused(error),
        // The group was deleted after the groups were listed.
        Err(GroupError::NoGroup { .. }) if !matches!(renewal, SigningScope::AsRecorded(_)) => {
            Ok(SignAttempt::Done(SigningOutcome::Nothing))
        }
        Err(error) => Err(error.into()),
    }
}

async fn sign_device(
    target: &Target,
    agent: &AgentId,
    renewal: SigningScope<'_>,
    signer: &Signer,
) -> Result<SignAttempt, Failure> {
    let signing = signer.signing();
    match target.records.sign_device(agent, renewal, signing).await {
        Ok(renewed) => Ok(SignAttempt::Done(renewed)),
        Err(AssignError::Signing(error)) => SignAttempt::refused(error),
        Err(error) => Err(error.into()),
    }
}

impl SignAttempt {
    /// Separates errors of one group or device from errors that stop the whole operation.
    fn refused(error: SigningError) -> Result<Self, Failure> {
        match error {
            SigningError::NotOurs { .. }
            | SigningError::RolledBack { .. }
            | SigningError::Expired { .. }
            | SigningError::Unverified { .. } => Ok(Self::Refused(error)),
            SigningError::Sign(_) | SigningError::Assignments(_) | SigningError::TooLarge(_) => {
                Err(error.into())
            }
        }
    }
}

impl SignResult {
    fn count(&mut self, attempt: SignAttempt) {
        let expires = match attempt {
            SignAttempt::Refused(error) => {
                self.is_rolled_back |= matches!(error, SigningError::RolledBack { .. });
                self.refused.push(error.to_string());
                return;
            }
            SignAttempt::Done(SigningOutcome::Nothing) => return,
            SignAttempt::Done(SigningOutcome::Signed { expires }) => {
                self.signed += 1;
                expires
            }
            SignAttempt::Done(SigningOutcome::Good { expires }) => {
                self.good += 1;
                expires
            }
        };
        let first = self.good_until.unwrap_or(expires).min(expires);
        self.good_until = Some(first);
    }

    /// Returns an error if assignments were refused.
    pub fn complete(&self) -> Result<(), Failure> {
        if self.refused.is_empty() {
            return Ok(());
        }
        let why = format!(
            "cannot sign the recorded assignments of {}",
            match self.refused.len() {
                1 => "1 group or device".to_owned(),
                n => format!("{n} groups or devices"),
            }
        );
        let refused = Failure::conflict(why).hint(HOW_TO_SIGN_ANYWAY);
        Err(if self.is_rolled_back {
            refused.hint(
                "if the table was restored, run 'packcast sign --restored' to sign its content",
            )
        } else {
            refused
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn refused_assignments_have_next_steps() {
        let refused = |number, is_rolled_back| SignResult {
            refused: vec![String::new(); number],
            is_rolled_back,
            ..SignResult::default()
        };
        let results = [refused(1, false), refused(2, true)];
        let errors = results.map(|result| result.complete().unwrap_err());
        insta::assert_snapshot!(failures(errors), @r"
        Conflict: cannot sign the recorded assignments of 1 group or device
        hint: run 'packcast group show GROUP' or 'packcast device show DEVICE' to check the recorded assignments; if they are right, run 'packcast sign --group GROUP' or 'packcast sign --device DEVICE' to sign them
        Conflict: cannot sign the recorded assignments of 2 groups or devices
        hint: run 'packcast group show GROUP' or 'packcast device show DEVICE' to check the recorded assignments; if they are right, run 'packcast sign --group GROUP' or 'packcast sign --device DEVICE' to sign them
        hint: if the table was restored, run 'packcast sign --restored' to sign its content
        ");
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        insta::assert_snapshot!(failures([verifies_nothing(&device)]), @"Usage: cannot sign the assignments of ocs:web01-2026-03-04-05-06-07: its OCS agent verifies no signatures");
    }
}
