//! Signing again what a group or a device has: before it expires, or with another key.

use std::ops::ControlFlow;

use packcast_protocol::assignments::{Assignee, Assignments, Held};
use packcast_protocol::{AgentId, DeviceId, GroupName, UnixTime};
use packcast_rollout::assignments::{VerifiedPackages, as_recorded, renewed};
use packcast_rollout::validity::{Validity, is_due};
use packcast_rollout::{GroupState, Memberships, OpenTask};

use super::device_assignments::{AssignError, NextDeviceAssignments};
use super::verify::MOST_BEHIND;
use super::{Signing, SigningError};
use crate::records::commit::Commit;
use crate::records::group::GroupError;
use crate::records::key::Key;
use crate::records::stored::DeviceAssignmentsItem;
use crate::records::{Records, RecordsError};

/// What is signed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal<'a> {
    /// What expires soon, or is not signed by the key that signs now.
    Due,
    /// All that one of the publisher's keys has signed.
    All,
    /// The same, also where something later is known: for a table that was restored.
    Restored,
    /// What is on record, whoever put it there: for a publisher who has looked at it, and has
    /// seen the signed manifests of its packages.
    AsRecorded(&'a VerifiedPackages),
}

impl Renewal<'_> {
    const fn is_as_recorded(self) -> bool {
        matches!(self, Self::AsRecorded(_))
    }
}

/// What came of signing again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It was signed, and is good until then.
    Signed { expires: UnixTime },
    /// It was good already, until then.
    Good { expires: UnixTime },
    /// There is nothing to sign.
    Nothing,
}

/// What the records say of a device's own assignments.
struct Recorded {
    latest: Option<Held>,
    memberships: Memberships,
    tasks: Vec<OpenTask>,
}

impl Records {
    /// Signs what a group has once more; its revision stays.
    pub async fn sign_group(
        &self,
        group: &GroupName,
        renewal: Renewal<'_>,
        signing: Signing<'_>,
    ) -> Result<Renewed, GroupError> {
        self.retry_on_conflict((), |()| async move {
            let Some(state) = self.group(group).await? else {
                let group = group.clone();
                return Err(GroupError::NoGroup { group });
            };
            let recipient = Assignee::Group(group.clone());
            let issued = state.held().map(|held| held.issued);
            let renewing = |issued| Validity::renewing(issued, signing.now);
            let term = match renewal {
                Renewal::AsRecorded(vouched) => {
                    Signing::vouched_for(&state, vouched)?;
                    signing.term_after_unsigned(&recipient, issued)
                }
                Renewal::Due | Renewal::All => {
                    signing.ours_of_group(&state)?;
                    issued.map_or_else(|| Validity::from(signing.now), renewing)
                }
                Renewal::Restored => {
                    signing.signed_by_us_of_group(&state)?;
                    signing.term_after_unsigned(&recipient, issued)
                }
            };
            if let Some(expires) = good_group(&state, renewal, signing) {
                return Ok(ControlFlow::Break(Renewed::Good { expires }));
            }
            let next = signing.signed_group(state.clone(), term)?;
            if self.commit(self.replacing(&state, &next)).await? == Commit::Done {
                signing.written(&recipient, next.held());
                let expires = term.expires;
                return Ok(ControlFlow::Break(Renewed::Signed { expires }));
            }
            Ok(ControlFlow::Continue(()))
        })
        .await
    }

    /// Signs what a device with our agent is assigned itself once more.
    pub async fn sign_device(
        &self,
        agent: &AgentId,
        renewal: Renewal<'_>,
        signing: Signing<'_>,
    ) -> Result<Renewed, AssignError> {
        let device = DeviceId::Agent(agent.clone());
        let recipient = Assignee::Device(agent.clone());
        let (device, recipient) = (&device, &recipient);
        self.retry_on_conflict(0, |behind| async move {
            let own: Option<DeviceAssignmentsItem> = self.get(&Key::device_assignments(device)).await?;
            let found = own.as_ref().map(|own| match renewal {
                Renewal::Restored => signing.signed_by_us(&own.signed, recipient),
                Renewal::Due | Renewal::All | Renewal::AsRecorded(_) => {
                    signing.ours(&own.signed, recipient)
                }
            });
            let next = match found {
                Some(Ok(before)) => {
                    let is_ours = own
                        .as_ref()
                        .is_some_and(|own| signing.is_latest(&own.signed));
                    let expires = before.expires();
                    if renewal == Renewal::Due && is_ours && !is_due(expires, signing.now) {
                        return Ok(ControlFlow::Break(Renewed::Good { expires }));
                    }
                    let known = signing.latest(recipient);
                    renewed(&before, known, signing.now).map_err(SigningError::from)?
                }
                Some(Err(
                    error @ (SigningError::RolledBack { .. } | SigningError::Expired { .. }),
                )) if !renewal.is_as_recorded() => return Err(error.into()),
                not_ours => {
                    let is_damaged = not_ours.is_some();
                    let recorded = self.recorded(device, own.as_ref()).await?;
                    if !is_damaged && recorded.is_empty() {
                        return Ok(ControlFlow::Break(Renewed::Nothing));
                    }
                    let Renewal::AsRecorded(vouched) = renewal else {
                        // The first ones may have been signed after these were looked for.
                        if !is_damaged && recorded.latest.is_some() && behind < MOST_BEHIND {
                            return Ok(ControlFlow::Continue(behind + 1));
                        }
                        return Err(SigningError::NotOurs {
                            recipient: recipient.clone(),
                        }
                        .into());
                    };
                    recorded.state(agent, signing.latest(recipient), vouched, signing.now)?
                }
            };
            let before = own.map(|own| own.held);
            let next_assignments = self.writing_assignments(agent, before, &next, signing)?;
            if self.commit_assignments(device, &next_assignments).await? {
                signing.remember_assignments(Some(&next_assignments));
                let expires = next.expires();
                return Ok(ControlFlow::Break(Renewed::Signed { expires }));
            }
            Ok(ControlFlow::Continue(behind))
        })
        .await
    }

    async fn recorded(
        &self,
        device: &DeviceId,
        own: Option<&DeviceAssignmentsItem>,
    ) -> Result<Recorded, RecordsError> {
        let standing = self.standing(device).await?;
        Ok(Recorded {
            latest: standing.signed.max(own.map(|own| own.held)),
            memberships: standing.memberships,
            tasks: standing.tasks,
        })
    }

    async fn commit_assignments(&self, device: &DeviceId, next: &NextDeviceAssignments) -> Result<bool, RecordsError> {
        let writes = vec![self.known_device(device, Some(next)), next.write()];
        Ok(self.commit(writes).await? == Commit::Done)
    }
}

impl Recorded {
    fn is_empty(&self) -> bool {
        self.latest.is_none()
            && self.memberships.joined().next().is_none()
            && !self.tasks.iter().any(|task| task.direct)
    }

    fn state(
        &self,
        agent: &AgentId,
        known: Option<Held>,
        vouched: &VerifiedPackages,
        now: UnixTime,
    ) -> Result<Assignments, SigningError> {
        let Self {
            latest,
            memberships,
            tasks,
        } = self;
        let made = as_recorded(agent, *latest, known, memberships, tasks, vouched, now);
        Ok(made?)
    }
}

/// Returns until when a group's state is good; none if it is to be signed.
fn good_group(state: &GroupState, renewal: Renewal<'_>, signing: Signing<'_>) -> Option<UnixTime> {
    let expires = state.signature.as_ref()?.expires;
    let is_ours = state
        .signed()
        .is_some_and(|signed| signing.is_latest(&signed));
    let is_good = renewal == Renewal::Due && is_ours && !is_due(expires, signing.now);
    is_good.then_some(expires)
}
