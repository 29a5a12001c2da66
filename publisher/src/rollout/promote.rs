//! Opening the next wave of a rollout before its time, or a wave without a time.

use packcast_protocol::state::{RolloutId, WaveNumber};
use packcast_protocol::{PackageId, PackageRef, UnixTime};
use packcast_rollout::rollout::{Gate, promote};
use packcast_rollout::state::StateChange;
use serde::Serialize;

use super::control::{failure, read_gate, refused};
use super::live::{LiveRollout, find_live};
use super::members::RolloutMembers;
use crate::clock::now;
use crate::failure::Failure;
use crate::package::named;
use crate::preview::Preview;
use crate::progress::Progress;
use crate::signing::Signer;
use crate::target::Target;

/// A promotion that is decided. Nothing is changed yet.
#[derive(Debug)]
pub struct PromotePlan<'a> {
    target: &'a Target,
    live: LiveRollout,
    opening: Opening,
    /// Time from which the wave is open.
    from: UnixTime,
    preview: Preview,
}

/// The wave that a promotion opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opening {
    wave: WaveNumber,
    /// The calendar gets a time for the wave, because it has none, or one that is still to come.
    in_calendar: bool,
    /// The gate opens the wave in a new round. Otherwise the gate has opened it, and only the calendar
    /// keeps it closed.
    in_gate: bool,
}

/// The result of a promotion.
#[derive(Debug, Serialize)]
pub struct RolloutPromoted {
    pub rollout: RolloutId,
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    /// The wave that is open now.
    pub wave: WaveNumber,
    /// Number of the commit that set the time of the wave; `None` if its time had come.
    pub commit: Option<u64>,
    /// `false` if the wave was opened in the meantime.
    pub changed: bool,
}

/// Plans the promotion of a package's rollout. Nothing is changed yet, and no key is read.
pub async fn plan_promotion<'a>(
    target: &'a Target,
    package: &PackageRef,
) -> Result<PromotePlan<'a>, Failure> {
    let live = find_live(target, package).await?;
    let name = named(&live.package);
    let gate = read_gate(target, live.id, &name).await?;
    let from = now();
    let opening = opening(&live, &gate, target.records.table(), from)?;
    let members = RolloutMembers::of(target, &live.document).await?;
    let members = members.by_wave(&live.document);
    let preview = Preview::new(format!(
        "Opens wave {} of the rollout of {name}",
        opening.wave
    ));
    let mut preview = preview.with_packages([name]);
    preview.devices = members.get(&opening.wave).copied().unwrap_or(0).into();
    Ok(PromotePlan {
        target,
        live,
        opening,
        from,
        preview,
    })
}

/// Returns the wave that a promotion opens: the latest one of the gate if the calendar keeps it
/// closed, otherwise the next one.
fn opening(
    live: &LiveRollout,
    gate: &Gate,
    table: &str,
    now: UnixTime,
) -> Result<Opening, Failure> {
    let waves = &live.document.waves;
    let is_open = |wave| waves.get(wave).is_some_and(|wave| wave.is_open(now));
    let decided = promote(gate, table, waves, now);
    if gate.closed(table).is_none() && !is_open(gate.wave) {
        return Ok(Opening {
            wave: gate.wave,
            in_calendar: true,
            in_gate: false,
        });
    }
    decided.map_err(|error| refused(&named(&live.package), error))?;
    let wave = gate.wave.next().unwrap_or(gate.wave);
    Ok(Opening {
        wave,
        in_calendar: !is_open(wave),
        in_gate: true,
    })
}

impl PromotePlan<'_> {
    /// Returns the effect of the promotion.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the wave that the promotion opens.
    pub const fn wave(&self) -> WaveNumber {
        self.opening.wave
    }

    /// Returns the changes of the signed state; none if the time of the wave has come.
    pub fn state_changes(&self) -> Vec<StateChange> {
        let change = StateChange::OpenWave {
            rollout: self.live.id,
            wave: self.opening.wave,
            from: self.from,
        };
        if self.opening.in_calendar {
            vec![change]
        } else {
            Vec::new()
        }
    }

    /// Sets the time of the wave with one commit, if its time has not come, and opens the wave.
    pub async fn perform(
        self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<RolloutPromoted, Failure> {
        let (target, rollout, opening) = (self.target, self.live.id, self.state_changes());
        let (package, name) = (self.live.package.id, named(&self.live.package));
        let Opening {
            wave,
            in_calendar,
            in_gate,
        } = self.opening;
        let (mut commit, mut waves) = (None, self.live.document.waves);
        if in_calendar {
            waves = waves.opening(wave, self.from).map_err(Failure::conflict)?;
            let command = format!("packcast rollout promote {name}");
            let done = signer.change(target, &opening, &command, progress).await?;
            commit = done.committed.number();
        }
        let mut changed = commit.is_some();
        if in_gate {
            let by = target.changed_by();
            let promoted = target
                .records
                .promote_rollout(package, rollout, &waves, &by);
            changed = promoted.await.map_err(|error| failure(&name, error))?;
        }
        Ok(RolloutPromoted {
            rollout,
            package,
            name,
            wave,
            commit,
            changed,
        })
    }
}
