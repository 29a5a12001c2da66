//! The choices for the start of a rollout.

use packcast_protocol::state::{RolloutId, RolloutSeed, Terms};
use packcast_protocol::{GroupName, PackageRef, Sha256Digest, UnixTime};
use packcast_rollout::rollout::{LimitValues, WaveShares, Weekdays, default_limits};

use crate::failure::Failure;
use crate::signing::verify_record::AlsoAccept;
use crate::target::Target;
use crate::text::time;

/// The time for which a plan may be confirmed, in seconds. Its first opening may have passed since.
const PLAN_VALID_S: u64 = 3_600;

/// The parameters of [`plan_start`](super::plan_start).
#[derive(Clone, Debug)]
pub struct StartRequest {
    pub package: PackageRef,
    pub groups: Vec<GroupName>,
    /// Groups whose devices come before all others, a wave for each group.
    pub pilots: Vec<GroupName>,
    /// `None` for the default waves for the number of devices.
    pub waves: Option<WaveShares>,
    pub limits: LimitChoices,
    /// Days on which waves open.
    pub days: Weekdays,
    /// Only the first wave opens by itself.
    pub by_hand: bool,
    /// Time from which the first wave may open; `None` for the time of the plan. The other waves open
    /// at the same hour.
    pub from: Option<UnixTime>,
    /// The random numbers of the rollout; `None` to draw them. With the same numbers and the same time,
    /// an interface that plans twice gets the same waves.
    pub draw: Option<RolloutDraw>,
    /// Offset of the publisher's local time from UTC, in seconds.
    pub offset_s: i32,
    /// Devices deploy the package although they have a later package of the same name.
    pub allow_downgrade: bool,
    /// Additional keys that may have signed the package.
    pub also_accept: AlsoAccept,
}

/// The random numbers of a rollout, which no other rollout has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutDraw {
    pub rollout: RolloutId,
    /// The seeds that decide on the wave of each device follow from these bits.
    pub seed: RolloutSeed,
}

/// Limits that replace the default ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitChoices {
    pub halt_at: Option<u32>,
    /// In percent.
    pub tolerate: Option<u8>,
    pub at_once: Option<u32>,
    /// Time to settle in seconds, also in the first wave.
    pub settle_s: Option<u32>,
    pub wait_s: Option<u32>,
}

impl StartRequest {
    /// Returns the random numbers of the rollout, which must be new.
    pub(super) async fn drawn(&self, target: &Target) -> Result<RolloutDraw, Failure> {
        let Some(draw) = self.draw else {
            return RolloutDraw::random();
        };
        match target.records.gate(draw.rollout).await? {
            None => Ok(draw),
            Some(_) => Err(started_before()),
        }
    }

    /// Returns the terms of the package's entries in a rollout.
    pub(super) fn terms(&self, rollout: RolloutId) -> Result<Terms, Failure> {
        let terms = if self.allow_downgrade {
            Terms::allowing_downgrade()
        } else {
            Terms::default()
        };
        terms.with_rollout(rollout).map_err(Failure::failed)
    }
}

impl RolloutDraw {
    /// Draws the random numbers of a rollout.
    pub fn random() -> Result<Self, Failure> {
        Ok(Self {
            rollout: RolloutId::from_bytes(random()?),
            seed: RolloutSeed::from_bytes(random()?),
        })
    }
}

impl LimitChoices {
    /// Returns the limits of a rollout to so many devices.
    pub(super) fn of(self, devices: u32) -> LimitValues {
        let default = default_limits(devices);
        let halt_at = self.halt_at.unwrap_or(default.halt_at);
        // A higher limit of failures needs as many places.
        let at_once = default.at_once.max(halt_at).min(LimitValues::MAX_AT_ONCE);
        LimitValues {
            halt_at,
            tolerate: self.tolerate.unwrap_or(default.tolerate),
            at_once: self.at_once.unwrap_or(at_once),
            settle_s: self.settle_s.unwrap_or(default.settle_s),
            first_settle_s: self.settle_s.unwrap_or(default.first_settle_s),
            wait_s: self.wait_s.unwrap_or(default.wait_s),
        }
    }
}

/// Returns the time from which the first wave may open.
pub(super) fn first_opening(from: Option<UnixTime>, now: UnixTime) -> Result<UnixTime, Failure> {
    match from {
        Some(from) if from.plus(PLAN_VALID_S) < now => Err(Failure::usage(format!(
            "cannot start the rollout at {}: the time has passed",
            time(from)
        ))
        .hint("choose a time that is still to come, or none to start at once")),
        from => Ok(from.unwrap_or(now)),
    }
}

/// Returns the seeds that follow from random bits, each a digest of the one before it.
pub(super) fn seeds(first: RolloutSeed) -> impl FnMut() -> RolloutSeed {
    let mut last = Sha256Digest::of(first.to_string().as_bytes());
    move || {
        let mut seed = [0; 16];
        seed.copy_from_slice(&last.as_bytes()[..16]);
        last = Sha256Digest::of(&seed);
        RolloutSeed::from_bytes(seed)
    }
}

fn random() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Failure::failed)?;
    Ok(bytes)
}

fn started_before() -> Failure {
    Failure::conflict("cannot start the rollout: a rollout was started with this plan before")
        .hint("plan the rollout again")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rendered::failures;

    const HOUR_S: u32 = 3_600;

    #[test]
    fn chosen_limits_replace_the_default_ones() {
        let choices = LimitChoices {
            halt_at: Some(50),
            settle_s: Some(60),
            ..LimitChoices::default()
        };
        let limits = choices.of(200);
        assert_eq!([limits.halt_at, limits.at_once], [50, 50]);
        assert_eq!([limits.settle_s, limits.first_settle_s], [60, 60]);
        assert_eq!([limits.wait_s, limits.tolerate.into()], [24 * HOUR_S, 5]);
        assert_eq!(LimitChoices::default().of(200), default_limits(200));
    }

    #[test]
    fn a_rollout_starts_now_or_later() {
        let now = UnixTime(1_795_000_000);
        let tomorrow = now.plus(86_400);
        let opens = |from| first_opening(from, now).unwrap();
        assert_eq!(opens(None), now);
        assert_eq!(opens(Some(tomorrow)), tomorrow);
        let planned = UnixTime(now.0 - 60);
        assert_eq!(opens(Some(planned)), planned);
        let passed = first_opening(Some(UnixTime(now.0 - 86_400)), now).unwrap_err();
        insta::assert_snapshot!(failures([passed, started_before()]), @"
        Usage: cannot start the rollout at 2026-11-17 11:06:40 UTC: the time has passed
        hint: choose a time that is still to come, or none to start at once
        Conflict: cannot start the rollout: a rollout was started with this plan before
        hint: plan the rollout again
        ");
    }

    #[test]
    fn each_seed_is_another_one() {
        let first = RolloutSeed::from_bytes([7; 16]);
        let mut draw = seeds(first);
        let drawn: BTreeSet<RolloutSeed> = (0..100).map(|_| draw()).collect();
        assert_eq!(drawn.len(), 100);
        let mut again = seeds(first);
        assert!(drawn.contains(&again()));
    }
}
