//! `packcast sign`: assignments are signed again, before they expire.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use packcast_protocol::assignments::Recipient;
use packcast_protocol::{AgentId, DeviceId, GroupName, UnixTime};
use packcast_store::records::{AssignError, GroupError, Renewal, Renewed, SigningError};
use serde::Serialize;

use super::group;
use super::recipients::{AT_ONCE, until_interrupted};
use super::signer::{self, KeyArg, Signer};
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
    #[command(flatten)]
    key: KeyArg,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    signed: usize,
    /// They are good for long, by the key that signs.
    good: usize,
    /// No key of the publisher has signed them.
    refused: Vec<String>,
    /// When the first of them expires.
    good_until: Option<UnixTime>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let is_named = !self.group.is_empty() || !self.device.is_empty();
        let (recipients, renewal) = if is_named {
            (self.named(&target).await?, Renewal::AsRecorded)
        } else if self.everything {
            (all(&target).await?, Renewal::All)
        } else {
            (all(&target).await?, Renewal::Due)
        };
        let signer = self.key.unlocked(&target)?;
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
    renewal: Renewal,
    signer: &Signer,
) -> Result<Outcome, Failure> {
    let bar = output::counting("signing", recipients.len() as u64);
    let outcome = until_interrupted(sign_each(target, recipients, renewal, signer, &bar), &bar);
    let outcome = outcome.await?;
    bar.finish_and_clear();
    Ok(outcome)
}

async fn sign_each(
    target: &Target,
    recipients: Vec<Recipient>,
    renewal: Renewal,
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
            Ok::<_, Failure>((recipient, renewed))
        })
        .buffer_unordered(AT_ONCE);
    while let Some((recipient, renewed)) = renewals.try_next().await? {
        outcome.count(&recipient, renewed);
        bar.inc(1);
    }
    Ok(outcome)
}

/// Signs what a group has; none if no key of the publisher has.
async fn renew_group(
    target: &Target,
    group: &GroupName,
    renewal: Renewal,
    signer: &Signer,
) -> Result<Option<Renewed>, Failure> {
    let signing = signer.signing();
    match target.records.renew_group(group, renewal, signing).await {
        Ok(renewed) => Ok(Some(renewed)),
        Err(GroupError::Signing(SigningError::NotOurs { .. })) => Ok(None),
        // It was deleted meanwhile.
        Err(GroupError::NoGroup { .. }) if renewal != Renewal::AsRecorded => {
            Ok(Some(Renewed::Nothing))
        }
        Err(error) => Err(group::failure(error)),
    }
}

async fn renew_device(
    target: &Target,
    agent: &AgentId,
    renewal: Renewal,
    signer: &Signer,
) -> Result<Option<Renewed>, Failure> {
    let signing = signer.signing();
    match target.records.renew_device(agent, renewal, signing).await {
        Ok(renewed) => Ok(Some(renewed)),
        Err(AssignError::Signing(SigningError::NotOurs { .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Outcome {
    fn count(&mut self, recipient: &Recipient, renewed: Option<Renewed>) {
        let expires = match renewed {
            None => {
                self.refused.push(recipient.to_string());
                return;
            }
            Some(Renewed::Nothing) => return,
            Some(Renewed::Signed { expires }) => {
                self.signed += 1;
                expires
            }
            Some(Renewed::Good { expires }) => {
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
        for name in self.refused.iter().take(NAMED) {
            output::note(&format!("{name}: not signed by your key"));
        }
        if self.refused.is_empty() {
            return Ok(());
        }
        let count = self.refused.len();
        let why = format!(
            "what {count} groups or devices are assigned on record is not signed by your key"
        );
        Err(Failure::conflict(why).hint(signer::HOW_TO_SIGN_ANYWAY))
    }
}
