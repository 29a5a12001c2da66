//! Signs the assignments of groups and devices again, before their signatures expire.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::assignments::Assignee;
use packcast_protocol::{AgentId, DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::assignments::direct_tasks;
use packcast_store::records::{AssignError, GroupError, Renewal, Renewed, SigningError};
use serde::Serialize;

use super::signer::{HOW_TO_SIGN_ANYWAY, Signer};
use super::verify_record::AlsoAccept;
use crate::concurrency::AT_ONCE;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::progress::{Progress, Work};
use crate::target::Target;

/// The assignments that are signed again.
#[derive(Clone, Debug)]
pub enum ToSign {
    /// Those whose signature ends soon, and those that another key has signed.
    Due,
    /// All.
    Everything,
    /// All, also those of which a later state was signed: for a table that was restored.
    Restored,
    /// The recorded assignments of these groups and devices, whoever has signed them.
    AsRecorded {
        groups: Vec<GroupName>,
        devices: Vec<DeviceName>,
        /// Keys that may have signed their packages.
        also_accept: AlsoAccept,
    },
}

/// The result of signing again.
#[derive(Debug, Default, Serialize)]
pub struct SignResult {
    pub signed: usize,
    /// The number of those that are valid for long, by the key that signs.
    pub good: usize,
    /// The error of each of the others.
    pub refused: Vec<String>,
    /// One of the refused is older than the latest that was signed here.
    #[serde(skip)]
    is_rolled_back: bool,
    /// The first end of a signature.
    pub good_until: Option<UnixTime>,
}

/// An attempt to sign the assignments of one group or device.
enum Attempt {
    Done(Renewed),
    /// Concerns this one only: the others are signed all the same.
    Refused(SigningError),
}

/// Signs assignments again. The key of `signer` is read once the groups and devices are known.
///
/// Refused assignments do not keep the others from being signed: see [`SignResult::complete`].
pub async fn sign(
    target: &Target,
    to_sign: &ToSign,
    mut signer: Signer,
    progress: &Progress,
) -> Result<SignResult, Failure> {
    let recipients = match to_sign {
        ToSign::AsRecorded {
            groups, devices, ..
        } => named(target, groups, devices).await?,
        ToSign::Due | ToSign::Everything | ToSign::Restored => all(target).await?,
    };
    signer.unlock()?;
    let vouched;
    let renewal = match to_sign {
        ToSign::Due => Renewal::Due,
        ToSign::Everything => Renewal::All,
        ToSign::Restored => Renewal::Restored,
        ToSign::AsRecorded { also_accept, .. } => {
            let packages = recorded(target, &recipients).await?;
            vouched = also_accept.vouch_for(target, &packages, &signer).await?;
            Renewal::AsRecorded(&vouched)
        }
    };
    sign_each(target, recipients, renewal, &signer, progress).await
}

/// Signs again all that is due.
pub(super) async fn sign_due(
    target: &Target,
    signer: &Signer,
    progress: &Progress,
) -> Result<SignResult, Failure> {
    sign_each(target, all(target).await?, Renewal::Due, signer, progress).await
}

async fn named(
    target: &Target,
    groups: &[GroupName],
    devices: &[DeviceName],
) -> Result<Vec<Assignee>, Failure> {
    let mut recipients: Vec<Assignee> = groups.iter().cloned().map(Assignee::Group).collect();
    for name in devices {
        match name.find(target).await? {
            DeviceId::Agent(agent) => recipients.push(Assignee::Device(agent)),
            device @ DeviceId::Ocs(_) => {
                let why = format!("device {device} has a stock agent, which checks no signature");
                return Err(Failure::usage(why));
            }
        }
    }
    Ok(recipients)
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

/// Returns the packages that these have on record.
async fn recorded(target: &Target, recipients: &[Assignee]) -> Result<Vec<PackageId>, Failure> {
    let mut packages = Vec::new();
    for recipient in recipients {
        match recipient {
            Assignee::Group(group) => {
                let state = target.records.group(group).await?;
                let has = state.map(|state| state.assignments).unwrap_or_default();
                packages.extend(has.iter().map(|assignment| assignment.package));
            }
            Assignee::Device(agent) => {
                let device = DeviceId::Agent(agent.clone());
                let standing = target.records.standing(&device).await?;
                packages.extend(direct_tasks(&standing.tasks).map(|task| task.package));
            }
        }
    }
    Ok(packages)
}

async fn sign_each(
    target: &Target,
    recipients: Vec<Assignee>,
    renewal: Renewal<'_>,
    signer: &Signer,
    progress: &Progress,
) -> Result<SignResult, Failure> {
    progress.begin(Work::Signing, recipients.len() as u64);
    let mut result = SignResult::default();
    let mut attempts = stream::iter(recipients)
        .map(async |recipient| match &recipient {
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
    renewal: Renewal<'_>,
    signer: &Signer,
) -> Result<Attempt, Failure> {
    let signing = signer.signing();
    match target.records.sign_group(group, renewal, signing).await {
        Ok(renewed) => Ok(Attempt::Done(renewed)),
        Err(GroupError::Signing(error)) => Attempt::refused(error),
        // It was deleted meanwhile.
        Err(GroupError::NoGroup { .. }) if !matches!(renewal, Renewal::AsRecorded(_)) => {
            Ok(Attempt::Done(Renewed::Nothing))
        }
        Err(error) => Err(error.into()),
    }
}

async fn sign_device(
    target: &Target,
    agent: &AgentId,
    renewal: Renewal<'_>,
    signer: &Signer,
) -> Result<Attempt, Failure> {
    let signing = signer.signing();
    match target.records.sign_device(agent, renewal, signing).await {
        Ok(renewed) => Ok(Attempt::Done(renewed)),
        Err(AssignError::Signing(error)) => Attempt::refused(error),
        Err(error) => Err(error.into()),
    }
}

impl Attempt {
    /// Tells an error of one group or device from one that keeps all from being signed.
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
    fn count(&mut self, attempt: Attempt) {
        let expires = match attempt {
            Attempt::Refused(error) => {
                self.is_rolled_back |= matches!(error, SigningError::RolledBack { .. });
                self.refused.push(error.to_string());
                return;
            }
            Attempt::Done(Renewed::Nothing) => return,
            Attempt::Done(Renewed::Signed { expires }) => {
                self.signed += 1;
                expires
            }
            Attempt::Done(Renewed::Good { expires }) => {
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
        let count = self.refused.len();
        let why = format!(
            "of {count} groups or devices, what they are assigned on record was not signed again"
        );
        let refused = Failure::conflict(why).hint(HOW_TO_SIGN_ANYWAY);
        Err(if self.is_rolled_back {
            refused.hint(
                "if the table was restored, 'packcast sign --restored' goes on from what it has",
            )
        } else {
            refused
        })
    }
}
