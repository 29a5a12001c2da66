//! Pausing and resuming a rollout: changes of its gate, which nobody signs.
//!
//! A person who can write to the table can do the same. The signed calendar still binds the devices.

use packcast_protocol::api::GO_VALID_S;
use packcast_protocol::state::RolloutId;
use packcast_protocol::{PackageId, PackageRef, UnixTime};
use packcast_rollout::rollout::{ControlError, Gate, GateChange, has_news, pause, resume};
use packcast_store::records::GateControlError;
use serde::Serialize;

use super::live::{LiveRollout, find_live};
use crate::clock::now;
use crate::failure::Failure;
use crate::package::named;
use crate::preview::Preview;
use crate::stopping::complete_in_s;
use crate::target::Target;
use crate::text::count;
use crate::warning::Warning;

/// A pause or a resume that is decided. Nothing is changed yet.
#[derive(Debug)]
pub struct ControlPlan<'a> {
    target: &'a Target,
    live: LiveRollout,
    control: Control,
    preview: Preview,
    warnings: Vec<Warning>,
}

#[derive(Clone, Copy, Debug)]
enum Control {
    Pause,
    Resume { after_halt: bool },
}

/// The result of a pause or a resume.
#[derive(Debug, Serialize)]
pub struct RolloutChanged {
    pub rollout: RolloutId,
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    /// `false` if the rollout was paused, or ran, already.
    pub changed: bool,
    /// Number of devices, of all groups, that were told of the package before a pause, and have not
    /// reported; 0 after a resume. OCS agents among them deploy the package in any case.
    pub told: u64,
    /// Seconds until no Packcast agent begins with an earlier permission; 0 after a resume.
    pub complete_in_s: u64,
}

/// Plans the pause of a package's rollout. Nothing is changed yet.
pub async fn plan_pause<'a>(
    target: &'a Target,
    package: &PackageRef,
) -> Result<ControlPlan<'a>, Failure> {
    plan(target, package, Control::Pause).await
}

/// Plans the end of a pause, of a halt if `after_halt` is set, or of a wait for silent devices that
/// have taken each place. Nothing is changed yet.
pub async fn plan_resume<'a>(
    target: &'a Target,
    package: &PackageRef,
    after_halt: bool,
) -> Result<ControlPlan<'a>, Failure> {
    plan(target, package, Control::Resume { after_halt }).await
}

async fn plan<'a>(
    target: &'a Target,
    package: &PackageRef,
    control: Control,
) -> Result<ControlPlan<'a>, Failure> {
    let live = find_live(target, package).await?;
    let name = named(&live.package);
    let gate = read_gate(target, live.id, &name).await?;
    let table = target.records.table();
    let changed = control.decide(&gate, table);
    let changed = changed.map_err(|error| refused(&name, error))?.is_some();
    let warnings = control.warning(&name, &gate, table, now()).into_iter();
    let preview = Preview::new(format!("{} the rollout of {name}", control.verb()));
    let mut preview = preview.with_packages([name]);
    if changed {
        let groups: Vec<_> = live.document.groups.as_set().iter().cloned().collect();
        preview = preview.with_groups(target, &groups).await?;
    }
    Ok(ControlPlan {
        target,
        live,
        control,
        preview,
        warnings: warnings.collect(),
    })
}

impl Control {
    const fn verb(self) -> &'static str {
        match self {
            Self::Pause => "Pauses",
            Self::Resume { .. } => "Resumes",
        }
    }

    fn decide(self, gate: &Gate, table: &str) -> Result<Option<GateChange>, ControlError> {
        match self {
            Self::Pause => pause(gate),
            Self::Resume { after_halt } => resume(gate, table, after_halt, now()),
        }
    }

    /// Warns if devices with places may still become healthy: the new round does not count these
    /// devices, so the next wave waits for others.
    fn warning(self, name: &str, gate: &Gate, table: &str, now: UnixTime) -> Option<Warning> {
        let is_full = gate.closed(table).is_none() && gate.free == 0;
        let working = gate.unhealthy().saturating_sub(gate.failed);
        let is_resume = matches!(self, Self::Resume { .. });
        if !is_resume || !is_full || working == 0 || !has_news(gate, now) {
            return None;
        }
        let (devices, them) = match working {
            1 => ("1 device works or settles".to_owned(), "it"),
            _ => (format!("{working} devices work or settle"), "them"),
        };
        let places = count(gate.limits.values().halt_at.into(), "place");
        Some(
            Warning::new(format!(
                "{devices}, and may still become healthy: the new round does not count {them}, and gives {places} to other devices"
            ))
            .hint(format!(
                "run 'packcast rollout show {name}' later: it says if the rollout is full, and names the devices"
            )),
        )
    }
}

impl ControlPlan<'_> {
    /// Returns the effect of the change. It has no devices if nothing changes.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the warnings, which a person should see before the change.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Makes the change, with its event.
    pub async fn perform(self) -> Result<RolloutChanged, Failure> {
        let (target, records) = (self.target, &self.target.records);
        let (package, rollout) = (self.live.package.id, self.live.id);
        let (by, name) = (target.changed_by(), named(&self.live.package));
        let changed = match self.control {
            Control::Pause => records.pause_rollout(package, rollout, &by).await,
            Control::Resume { after_halt } => {
                let resumed = records.resume_rollout(package, rollout, after_halt, &by);
                resumed.await
            }
        };
        let changed = changed.map_err(|error| failure(&name, error))?;
        let (told, complete_in_s) = match self.control {
            Control::Pause => (records.tally(package).await?.told(), permitted_s(target)),
            Control::Resume { .. } => (0, 0),
        };
        Ok(RolloutChanged {
            rollout,
            package,
            name,
            changed,
            told,
            complete_in_s,
        })
    }
}

/// Returns the seconds until no Packcast agent begins with a permission that it got before the gate
/// changed.
pub(crate) fn permitted_s(target: &Target) -> u64 {
    complete_in_s(target).max(GO_VALID_S)
}

/// Reads the gate of a rollout.
pub(super) async fn read_gate(
    target: &Target,
    rollout: RolloutId,
    name: &str,
) -> Result<Gate, Failure> {
    let gate = target.records.gate(rollout).await?;
    gate.ok_or_else(|| no_gate(name))
}

/// Returns the failure for an error of a change of the gate.
pub(super) fn failure(name: &str, error: GateControlError) -> Failure {
    match error {
        GateControlError::NoGate { .. } => no_gate(name),
        GateControlError::Control(error) => refused(name, error),
        GateControlError::Records(error) => error.into(),
    }
}

pub(super) fn refused(name: &str, error: ControlError) -> Failure {
    let hint = match error {
        ControlError::Ended => {
            format!("run 'packcast rollout end {name}' to withdraw the package from its groups")
        }
        ControlError::Halted { .. } => {
            format!("run 'packcast rollout show {name}' to see the failures")
        }
        ControlError::NotRunning => format!("run 'packcast rollout resume {name}'"),
        ControlError::LastWave { .. } => {
            format!("run 'packcast rollout finish {name}' to make the rollout a plain assignment")
        }
    };
    Failure::conflict(error).hint(hint)
}

fn no_gate(name: &str) -> Failure {
    Failure::conflict(format!(
        "the rollout of {name} has no gate, so that no device begins: the table has lost it"
    ))
    .hint(format!(
        "run 'packcast rollout end {name}', and start another rollout"
    ))
}

#[cfg(test)]
mod tests {
    use packcast_rollout::rollout::{GateState, LimitValues, default_limits};
    use packcast_testing::table::NOW;

    use super::*;
    use crate::rendered::failures;

    /// Returns the gate of a rollout whose first device has taken the only place now.
    fn taken() -> Gate {
        let limits = LimitValues {
            at_once: 1,
            ..default_limits(3)
        };
        let rollout = RolloutId::from_bytes([7; 16]);
        let limits = limits.try_into().unwrap();
        Gate {
            free: 0,
            begun: 1,
            changed: Some(NOW),
            ..Gate::new(rollout, "table".to_owned(), limits, NOW)
        }
    }

    #[test]
    fn a_resume_of_a_full_gate_warns_while_devices_may_still_be_heard_from() {
        let resume = Control::Resume { after_halt: false };
        let warning = |control: Control, gate: &Gate, after| {
            control.warning("tool@1", gate, "table", NOW.plus(after))
        };
        let warned = warning(resume, &taken(), 1).unwrap();
        insta::assert_snapshot!(warned, @"
        warning: 1 device works or settles, and may still become healthy: the new round does not count it, and gives 1 place to other devices
        hint: run 'packcast rollout show tool@1' later: it says if the rollout is full, and names the devices
        ");
        assert_eq!(warning(Control::Pause, &taken(), 1), None);
        assert_eq!(warning(resume, &taken(), 90_000), None);
        let free = Gate { free: 1, ..taken() };
        let failed = Gate {
            failed: 1,
            ..taken()
        };
        let paused = Gate {
            state: GateState::Paused,
            ..taken()
        };
        for gate in [free, failed, paused] {
            assert_eq!(warning(resume, &gate, 1), None, "{gate:?}");
        }
    }

    #[test]
    fn refusals_have_next_steps() {
        let wave = 3.try_into().unwrap();
        let errors = [
            ControlError::Ended,
            ControlError::Halted { failed: 3 },
            ControlError::NotRunning,
            ControlError::LastWave { wave },
        ];
        let refusals = errors.into_iter().map(|error| refused("tool@1", error));
        insta::assert_snapshot!(failures(refusals.chain([no_gate("tool@1")])), @"
        Conflict: cannot change the rollout: it has ended
        hint: run 'packcast rollout end tool@1' to withdraw the package from its groups
        Conflict: cannot resume the rollout: 3 failures have halted it; look at them, then add --after-halt
        hint: run 'packcast rollout show tool@1' to see the failures
        Conflict: cannot promote the rollout: it does not run; resume it first
        hint: run 'packcast rollout resume tool@1'
        Conflict: cannot promote the rollout: wave 3 is the last
        hint: run 'packcast rollout finish tool@1' to make the rollout a plain assignment
        Conflict: the rollout of tool@1 has no gate, so that no device begins: the table has lost it
        hint: run 'packcast rollout end tool@1', and start another rollout
        ");
    }
}
