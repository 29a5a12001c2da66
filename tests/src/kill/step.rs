//! The steps of an agent, as the tracer saw them.

use super::effect::EffectKind;
use super::journal::JournalStage;
use super::point::{Moment, Point};
use super::tracer::{Stop, TracedEffect};

/// The beginning or the end of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TracedStep {
    pub(super) effect: TracedEffect,
    pub(super) stop: Stop,
    /// The stage in a journal that has just got its name.
    pub(super) stage: Option<JournalStage>,
}

impl TracedStep {
    /// Returns whether the effect is counted at this step.
    ///
    /// Effects are counted at their beginning, but received bytes at the end, when they are known.
    pub(super) fn begins(&self) -> bool {
        self.stop == Stop::Before || self.effect.kind == EffectKind::Receive
    }
}

/// Returns the effects of these steps.
pub(super) fn effects(steps: &[TracedStep]) -> impl Iterator<Item = &TracedEffect> {
    let begin = steps.iter().filter(|step| step.begins());
    begin.map(|step| &step.effect)
}

/// Returns every point at which these effects can be cut off.
pub(super) fn points<'a>(effects: impl Iterator<Item = &'a TracedEffect>) -> Vec<Point> {
    let points = effects.flat_map(|effect| {
        let moments = Moment::of(effect.kind, effect.halves).into_iter();
        moments.map(|moment| Point {
            kind: effect.kind,
            object: effect.object.clone(),
            ordinal: effect.ordinal,
            moment,
        })
    });
    points.collect()
}
