//! An identity that was created on another machine.
//!
//! The function treats devices with one identity as one device. So a copied machine enrols as a new
//! device, with a key of its own. It keeps its history, so that no package of the image runs again.

use packcast_protocol::DeviceId;

use super::{Agent, RunError};
use crate::event::Event;
use crate::platform::MachineIds;
use crate::state::identity::{Identity, IdentityError};
use crate::state::{StateDir, StateError};

/// The identity of another machine in the state folder, and the one that will replace it.
#[derive(Clone, Debug)]
pub(super) struct CopiedIdentity {
    before: DeviceId,
    /// The new identity, on disk only after the function has enrolled it.
    pub(super) own: Identity,
}

impl CopiedIdentity {
    /// Creates a new identity if the stored one is of another machine.
    pub(super) fn of(
        stored: &Identity,
        here: &MachineIds,
        state: &StateDir,
    ) -> Result<Option<Self>, IdentityError> {
        if !stored.is_of_another_machine(here) {
            return Ok(None);
        }
        Ok(Some(Self {
            before: DeviceId::Agent(stored.key(state)?.id()),
            own: Identity::create(here)?,
        }))
    }
}

impl Agent {
    /// Returns `true` if this machine has to enrol as a new device.
    pub(super) fn is_copy(&self) -> bool {
        self.copied.borrow().is_some()
    }

    /// Returns the error of a device whose enrolment token is missing or invalid.
    pub(super) fn not_enrolled(&self) -> RunError {
        match &*self.copied.borrow() {
            Some(CopiedIdentity { before, .. }) => {
                let device = before.clone();
                (self.observer)(Event::IdentityConflict {
                    device: device.clone(),
                });
                RunError::OtherMachine { device }
            }
            None => RunError::NotEnrolled,
        }
    }

    /// Stores the new identity, which the function has enrolled.
    pub(super) fn adopt_identity(&self) -> Result<(), StateError> {
        let Some(CopiedIdentity { before, own }) = self.copied.borrow().clone() else {
            return Ok(());
        };
        own.replace(&self.state)?;
        self.copied.take();
        let device = DeviceId::Agent(self.api.agent().clone());
        tracing::warn!(%before, %device, "this machine is a copy, and has enrolled as a new device");
        (self.observer)(Event::IdentityReplaced { before, device });
        Ok(())
    }
}
