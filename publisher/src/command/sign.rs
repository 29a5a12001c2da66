//! `packcast sign`: assignments are signed again, before they expire.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use packcast_protocol::assignments::Recipient;
use packcast_protocol::{AgentId, DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::assignments::own;
use packcast_store::records::{AssignError, GroupError, Renewal, Renewed, SigningError};
use serde::Serialize;

use super::each::{AT_ONCE, until_interrupted};
use super::group;
use super::signer::{self, KeyArg, Signer};
use super::vouch::VouchArg;
use crate::Globals;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::target::Target;

/// How many recipients that were refused are named.
const NAMED: usize = 10;

/// Sign again what groups and devices are assigned
///
/// Our agents act on assignments for 180 days after they were signed. Without arguments, this
/// signs those that end within 90 days, and those that another key has signed: give the command
/// once a month. What no key of yours has signed is refused, unless it is named: then what is on
/// record is signed, so look at it first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast sign
  packcast sign --everything
  packcast sign --restored
  packcast sign --group lab --device web01")]
pub(crate) struct Args {
    /// What this group has on record, whoever has put it there (repeatable)
    #[arg(long, value_name = "GROUP")]
    group: Vec<GroupName>,
    /// What this device has on record itself, whoever has put it there (repeatable)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<DeviceName>,
    /// Sign what is good for long, too
    #[arg(long, conflicts_with_all = ["group", "device"])]
    everything: bool,
    /// Sign everything, also where a later state was signed: for a table that was restored
    #[arg(long, conflicts_with_all = ["group", "device", "everything"])]
    restored: bool,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    vouch: VouchArg,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    signed: usize,
    /// They are good for long, by the key that signs.
    good: usize,
    /// Why each of the others was not signed.
    refused: Vec<String>,
    /// Whether one of them is older than what was signed here.
    #[serde(skip)]
    is_rolled_back: bool,
    /// When the first of them expires.
    good_until: Option<UnixTime>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let is_named = !self.group.is_empty() || !self.device.is_empty();
        let recipients = if is_named {
            self.named(&target).await?
        } else {
            all(&target).await?
        };
        let signer = self.key.unlocked(&target)?;
        let vouched;
        let renewal = if is_named {
            let packages = recorded(&target, &recipients).await?;
            vouched = self.vouch.vouch_for(&target, &packages, &signer).await?;
            Renewal::AsRecorded(&vouched)
        } else if self.restored {
            Renewal::Restored
        } else if self.everything {
            Renewal::All
        } else {
            Renewal::Due
        };
        let outcome = sign(&target, recipients, renewal, &signer).await?;
        outcome.print(globals.format);
        outcome.end()
    }

    async fn named(&self, target: &Target) -> Result<Vec<Recipient>, Failure> {
        let mut recipients: Vec<Recipient> =
            self.group.iter().cloned().map(Recipient::Group).collect();
        for name in &self.device {
            match name.find(target).await? {
                DeviceId::Agent(agent) => recipients.push(Recipient::Device(agent)),
                device @ DeviceId::Ocs(_) => {
                    let why =
                        format!("device {device} has a stock agent, which checks no signature");
                    return Err(Failure::usage(why));
                }
            }
        }
        Ok(recipients)
    }
}

/// Returns the packages that these have on record.
async fn recorded(target: &Target, recipients: &[Recipient]) -> Result<Vec<PackageId>, Failure> {
    let mut packages = Vec::new();
    for recipient in recipients {
        match recipient {
            Recipient::Group(group) => {
                let state = target.records.group(group).await?;
                let has = state.map(|state| state.assignments).unwrap_or_default();
                packages.extend(has.iter().map(|assignment| assignment.package));
            }
            Recipient::Device(agent) => {
                let device = DeviceId::Agent(agent.clone());
                let standing = target.records.standing(&device).await?;
                packages.extend(own(&standing.tasks).map(|task| task.package));
            }
        }
    }
    Ok(packages)
}

/// Signs again all that is due.
pub(crate) async fn sign_due(target: &Target, signer: &Signer) -> Result<Outcome, Failure> {
    sign(target, all(target).await?, Renewal::Due, signer).await
}

/// Returns every group, and every device with our agent.
async fn all(target: &Target) -> Result<Vec<Recipient>, Failure> {
    let groups = target.records.groups().await?;
    let groups = groups
        .into_iter()
        .map(|state| Recipient::Group(state.group));
    let devices = target.records.members(&GroupName::all()).await?;
    let agents = devices.into_iter().filter_map(|device| match device {
        DeviceId::Agent(agent) => Some(Recipient::Device(agent)),
        DeviceId::Ocs(_) => None,
    });
    Ok(groups.chain(agents).collect())
}

async fn sign(
    target: &Target,
    recipients: Vec<Recipient>,
    renewal: Renewal<'_>,
    signer: &Signer,
) -> Result<Outcome, Failure> {
    let bar = output::counting("signing", recipients.len() as u64);
    let work = sign_each(target, recipients, renewal, signer, &bar);
    let outcome = until_interrupted("groups and devices", work, &bar);
    let outcome = outcome.await?;
    bar.finish_and_clear();
    Ok(outcome)
}

async fn sign_each(
    target: &Target,
    recipients: Vec<Recipient>,
    renewal: Renewal<'_>,
    signer: &Signer,
    bar: &ProgressBar,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let mut renewals = stream::iter(recipients)
        .map(async |recipient| {
            let renewed = match &recipient {
                Recipient::Group(group) => renew_group(target, group, renewal, signer).await?,
                Recipient::Device(agent) => renew_device(target, agent, renewal, signer).await?,
            };
            Ok::<_, Failure>(renewed)
        })
        .buffer_unordered(AT_ONCE);
    while let Some(renewed) = renewals.try_next().await? {
        outcome.count(renewed);
        bar.inc(1);
    }
    Ok(outcome)
}

/// Signs what a group has; none if no key of the publisher has.
async fn renew_group(
    target: &Target,
    group: &GroupName,
    renewal: Renewal<'_>,
    signer: &Signer,
) -> Result<Result<Renewed, SigningError>, Failure> {
    let signing = signer.signing();
    match target.records.renew_group(group, renewal, signing).await {
        Ok(renewed) => Ok(Ok(renewed)),
        Err(GroupError::Signing(error)) => refused(error),
        // It was deleted meanwhile.
        Err(GroupError::NoGroup { .. }) if !matches!(renewal, Renewal::AsRecorded(_)) => {
            Ok(Ok(Renewed::Nothing))
        }
        Err(error) => Err(group::failure(error)),
    }
}

async fn renew_device(
    target: &Target,
    agent: &AgentId,
    renewal: Renewal<'_>,
    signer: &Signer,
) -> Result<Result<Renewed, SigningError>, Failure> {
    let signing = signer.signing();
    match target.records.renew_device(agent, renewal, signing).await {
        Ok(renewed) => Ok(Ok(renewed)),
        Err(AssignError::Signing(error)) => refused(error),
        Err(error) => Err(error.into()),
    }
}

/// Keeps what concerns one recipient only: the others are signed all the same.
fn refused(error: SigningError) -> Result<Result<Renewed, SigningError>, Failure> {
    match error {
        SigningError::NotOurs { .. }
        | SigningError::RolledBack { .. }
        | SigningError::Expired { .. }
        | SigningError::Unvouched { .. } => Ok(Err(error)),
        SigningError::Sign(_) | SigningError::Assignments(_) | SigningError::TooLarge(_) => {
            Err(signer::failure(error))
        }
    }
}

impl Outcome {
    fn count(&mut self, renewed: Result<Renewed, SigningError>) {
        let expires = match renewed {
            Err(error) => {
                self.is_rolled_back |= matches!(error, SigningError::RolledBack { .. });
                self.refused.push(error.to_string());
                return;
            }
            Ok(Renewed::Nothing) => return,
            Ok(Renewed::Signed { expires }) => {
                self.signed += 1;
                expires
            }
            Ok(Renewed::Good { expires }) => {
                self.good += 1;
                expires
            }
        };
        let first = self.good_until.unwrap_or(expires).min(expires);
        self.good_until = Some(first);
    }

    /// Returns how many were signed.
    pub(crate) const fn signed(&self) -> usize {
        self.signed
    }

    fn print(&self, format: Format) {
        output::result(format, self, |outcome| {
            output::table(
                ["SIGNED", "GOOD BEFORE", "REFUSED", "ALL GOOD UNTIL"],
                [[
                    outcome.signed.to_string(),
                    outcome.good.to_string(),
                    outcome.refused.len().to_string(),
                    outcome.good_until.map_or_else(String::new, output::time),
                ]],
            )
        });
    }

    /// Ends with what was refused, if something was.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        for why in self.refused.iter().take(NAMED) {
            output::note(why);
        }
        if self.refused.is_empty() {
            return Ok(());
        }
        let count = self.refused.len();
        let why = format!(
            "of {count} groups or devices, what they are assigned on record was not signed again"
        );
        let refused = Failure::conflict(why).hint(signer::HOW_TO_SIGN_ANYWAY);
        Err(if self.is_rolled_back {
            refused.hint(
                "if the table was restored, 'packcast sign --restored' goes on from what it has",
            )
        } else {
            refused
        })
    }
}
