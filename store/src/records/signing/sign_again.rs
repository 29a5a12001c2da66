//! Signing assignments again, before they expire or with another key.

use std::ops::ControlFlow;

use packcast_protocol::assignments::{Assignee, Assignments, Held};
use packcast_protocol::{AgentId, DeviceId, GroupName, UnixTime};
use packcast_rollout::assignments::{VerifiedPackages, as_recorded, with_new_validity};
use packcast_rollout::validity::{Validity, expires_soon};
use packcast_rollout::{GroupState, Memberships, OpenTask};

use super::device_assignments::{AssignError, NextDeviceAssignments, signed};
use super::verify::MOST_BEHIND;
use super::{Signing, SigningError};
use crate::records::commit::Commit;
use crate::records::group::GroupError;
use crate::records::key::Key;
use crate::records::stored::DeviceAssignmentsItem;
use crate::records::write::{self, PRESENT, Terms};
use crate::records::{Records, RecordsError};

/// Selection of the assignments that are signed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningScope<'a> {
    /// Assignments that expire soon, or are not signed by the current signing key.
    Due,
    /// All assignments that are signed by one of the publisher's keys.
    All,
    /// All assignments that are signed by one of the publisher's keys, even if the publisher's
    /// memory has later ones. This is for a table that was restored.
    Restored,
    /// All assignments on record, with or without a signature. This is for a publisher who has
    /// checked the records, and has verified the signed manifests of the packages.
    AsRecorded(&'a VerifiedPackages),
}

impl SigningScope<'_> {
    const fn is_as_recorded(self) -> bool {
        matches!(self, Self::AsRecorded(_))
    }
}

/// Outcome of signing again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningOutcome {
    /// The assignments were signed, and are valid until this time.
    Signed { expires: UnixTime },
    /// The assignments did not need a new signature, and are valid until this time.
    Good { expires: UnixTime },
    /// There are no assignments to sign.
    Nothing,
}

/// Recorded inputs for device assignments without a valid signature.
struct Recorded {
    latest: Option<Held>,
    memberships: Memberships,
    tasks: Vec<OpenTask>,
}

impl Records {
    /// Signs the assignments of a group again, with the same revision.
    pub async fn sign_group(
        &self,
        group: &GroupName,
        renewal: SigningScope<'_>,
        signing: Signing<'_>,
    ) -> Result<SigningOutcome, GroupError> {
        self.retry_on_conflict((), |()| async move {
            let Some(state) = self.group(group).await? else {
                let group = group.clone();
                return Err(GroupError::NoGroup { group });
            };
            let recipient = Assignee::Group(group.clone());
            let issued = state.held().map(|held| held.issued);
            let signing_again = |issued| Validity::signing_again(issued, signing.now);
            let validity = match renewal {
                SigningScope::AsRecorded(verified) => {
                    Signing::check_packages(&state, verified)?;
                    signing.validity_after_unsigned(&recipient, issued)
                }
                SigningScope::Due | SigningScope::All => {
                    signing.verify_latest_group(&state)?;
                    issued.map_or_else(|| Validity::from(signing.now), signing_again)
                }
                SigningScope::Restored => {
                    signing.verify_group(&state)?;
                    signing.validity_after_unsigned(&recipient, issued)
                }
            };
            if let Some(expires) = valid_group(&state, renewal, signing) {
                return Ok(ControlFlow::Break(SigningOutcome::Good { expires }));
            }
            let next = signing.sign_group(state.clone(), validity)?;
            if self.commit(self.replacing(&state, &next)).await? == Commit::Done {
                signing.remember(&recipient, next.held());
                let expires = validity.expires;
                return Ok(ControlFlow::Break(SigningOutcome::Signed { expires }));
            }
            Ok(ControlFlow::Continue(()))
        })
        .await
    }

    /// Signs the device assignments of a device with a Packcast agent again.
    pub async fn sign_device(
        &self,
        agent: &AgentId,
        renewal: SigningScope<'_>,
        signing: Signing<'_>,
    ) -> Result<SigningOutcome, AssignError> {
        let device = DeviceId::Agent(agent.clone());
        let recipient = Assignee::Device(agent.clone());
        let (device, recipient) = (&device, &recipient);
        self.retry_on_conflict(0, |behind| async move {
            let item: Option<DeviceAssignmentsItem> =
                self.get(&Key::device_assignments(device)).await?;
            let found = item.as_ref().map(|item| match renewal {
                SigningScope::Restored => signing.verify_signed(&item.signed, recipient),
                SigningScope::Due | SigningScope::All | SigningScope::AsRecorded(_) => {
                    signing.verify_latest(&item.signed, recipient)
                }
            });
            let next = match found {
                Some(Ok(before)) => {
                    let is_signed_now = item
                        .as_ref()
                        .is_some_and(|item| signing.is_signed_by_current_key(&item.signed));
                    let expires = before.expires();
                    if renewal == SigningScope::Due
                        && is_signed_now
                        && !expires_soon(expires, signing.now)
                    {
                        return Ok(ControlFlow::Break(SigningOutcome::Good { expires }));
                    }
                    let known = signing.latest(recipient);
                    with_new_validity(&before, known, signing.now).map_err(SigningError::from)?
                }
                Some(Err(
                    error @ (SigningError::RolledBack { .. } | SigningError::Expired { .. }),
                )) if !renewal.is_as_recorded() => return Err(error.into()),
                unsigned => {
                    let is_damaged = unsigned.is_some();
                    let recorded = self.recorded(device, item.as_ref()).await?;
                    if !is_damaged && recorded.is_empty() {
                        return Ok(ControlFlow::Break(SigningOutcome::Nothing));
                    }
                    let SigningScope::AsRecorded(verified) = renewal else {
                        // The first assignments may have been signed after they were read above.
                        if !is_damaged && recorded.latest.is_some() && behind < MOST_BEHIND {
                            return Ok(ControlFlow::Continue(behind + 1));
                        }
                        return Err(SigningError::NotOurs {
                            recipient: recipient.clone(),
                        }
                        .into());
                    };
                    recorded.state(agent, signing.latest(recipient), verified, signing.now)?
                }
            };
            let before = item.map(|item| item.held);
            let next_assignments = self.write_of_assignments(agent, before, &next, signing)?;
            if self.commit_assignments(device, &next_assignments).await? {
                signing.remember_assignments(Some(&next_assignments));
                let expires = next.expires();
                return Ok(ControlFlow::Break(SigningOutcome::Signed { expires }));
            }
            Ok(ControlFlow::Continue(behind))
        })
        .await
    }

    async fn recorded(
        &self,
        device: &DeviceId,
        item: Option<&DeviceAssignmentsItem>,
    ) -> Result<Recorded, RecordsError> {
        let device_state = self.device_state(device).await?;
        Ok(Recorded {
            latest: device_state.signed.max(item.map(|item| item.held)),
            memberships: device_state.memberships,
            tasks: device_state.tasks,
        })
    }

    async fn commit_assignments(
        &self,
        device: &DeviceId,
        next: &NextDeviceAssignments,
    ) -> Result<bool, RecordsError> {
        // A device whose removal was interrupted is signed as well, so its removal can go on.
        let (expression, terms) = signed(Some(next), "SET".to_owned(), " ", Terms::default());
        let key = Key::device(device);
        let update = write::update(self.table(), &key, &expression, Some(PRESENT), &terms);
        let writes = vec![update, next.write()];
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
        verified: &VerifiedPackages,
        now: UnixTime,
    ) -> Result<Assignments, SigningError> {
        let Self {
            latest,
            memberships,
            tasks,
        } = self;
        let assignments = as_recorded(agent, *latest, known, memberships, tasks, verified, now);
        Ok(assignments?)
    }
}

/// Returns the end of a group's validity, or `None` if its state must be signed.
fn valid_group(
    state: &GroupState,
    renewal: SigningScope<'_>,
    signing: Signing<'_>,
) -> Option<UnixTime> {
    let expires = state.signature.as_ref()?.expires;
    let is_signed_now = state
        .signed()
        .is_some_and(|signed| signing.is_signed_by_current_key(&signed));
    let is_valid =
        renewal == SigningScope::Due && is_signed_now && !expires_soon(expires, signing.now);
    is_valid.then_some(expires)
}
