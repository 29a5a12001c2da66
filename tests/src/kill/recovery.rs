//! The recovery of an agent after a kill, and the points of the second kill.

use std::collections::BTreeSet;

use super::effect::EffectKind;
use super::journal::Journals;
use super::point::{Kill, Point};
use super::step::{TracedStep, effects, points};

/// The recovery after a kill.
#[derive(Debug)]
pub(super) struct Recovery {
    at: Point,
    /// The stages of the packages at the kill.
    journals: Journals,
    points: Vec<Point>,
}

impl Recovery {
    pub(super) fn new(at: &Point, journals: &Journals, steps: &[TracedStep]) -> Self {
        Self {
            at: at.clone(),
            journals: journals.clone(),
            points: points(effects(recovery(steps))),
        }
    }
}

/// Returns the steps of an agent before it continues with a package: it settles the state that it
/// finds, checks in, and removes accepted results.
pub(super) fn recovery(steps: &[TracedStep]) -> &[TracedStep] {
    let mut has_received = false;
    let works = |step: &TracedStep| {
        let effect = &step.effect;
        has_received |= effect.kind == EffectKind::Receive;
        let begins = match effect.kind {
            EffectKind::Connect => true,
            EffectKind::Create | EffectKind::MakeFolder => {
                effect.object.starts_with("state/packages/")
            }
            _ => false,
        };
        has_received && begins
    };
    let end = steps.iter().position(works);
    &steps[..end.unwrap_or(steps.len())]
}

/// Chooses the points of second kills: each point that was seen in a recovery, once for each
/// different set of journals.
pub(super) fn second_kills(mut recoveries: Vec<Recovery>) -> Vec<Kill> {
    // Sorted, because several threads have added to the list.
    recoveries.sort_by_key(|recovery| recovery.at.to_string());
    let mut seen = BTreeSet::new();
    let mut kills = Vec::new();
    for Recovery {
        at,
        journals,
        points,
    } in recoveries
    {
        for then in points {
            if seen.insert((journals.clone(), then.to_string())) {
                kills.push(Kill {
                    at: at.clone(),
                    then: Some(then),
                });
            }
        }
    }
    kills
}

#[cfg(test)]
mod tests {
    use super::super::journal::JournalStage;
    use super::super::tracer::{Stop, TracedEffect};
    use super::*;

    fn step(kind: EffectKind, object: &str) -> TracedStep {
        TracedStep {
            effect: TracedEffect {
                kind,
                object: object.to_owned(),
                ordinal: 1,
                halves: false,
            },
            stop: Stop::Before,
            stage: None,
        }
    }

    #[test]
    fn a_recovery_ends_where_work_on_a_package_begins() {
        let settles = [
            step(EffectKind::Create, "state/packages/tool/journal.new"),
            step(EffectKind::Connect, "connection-1"),
            step(EffectKind::Receive, "connection-1"),
            step(EffectKind::Create, "state/history"),
        ];
        for next in [
            step(EffectKind::Create, "state/packages/tool/journal.new"),
            step(EffectKind::Connect, "connection-2"),
        ] {
            let mut steps = settles.to_vec();
            steps.extend([next, step(EffectKind::Send, "connection-2")]);
            assert_eq!(recovery(&steps), settles);
        }
        assert_eq!(recovery(&settles), settles);
    }

    #[test]
    fn a_second_kill_is_tried_once_for_equal_journals() {
        let recovery = |at: &str, stage, removed: &[&str]| {
            let journals = Journals::from([("tool".to_owned(), stage)]);
            let steps = removed.iter().map(|path| step(EffectKind::Remove, path));
            let steps: Vec<TracedStep> = steps.collect();
            Recovery::new(&at.parse().unwrap(), &journals, &steps)
        };
        let kills = second_kills(vec![
            recovery("sync:b#1:after", JournalStage::Fetching, &["x"]),
            recovery("sync:a#1:after", JournalStage::Fetching, &["x", "y"]),
            recovery("sync:c#1:after", JournalStage::Acting, &["y"]),
        ]);
        let kills: Vec<String> = kills.iter().map(ToString::to_string).collect();
        let expected = [
            "sync:a#1:after, then remove:x#1:before",
            "sync:a#1:after, then remove:x#1:after",
            "sync:a#1:after, then remove:y#1:before",
            "sync:a#1:after, then remove:y#1:after",
            "sync:c#1:after, then remove:y#1:before",
            "sync:c#1:after, then remove:y#1:after",
        ];
        assert_eq!(kills, expected);
    }
}
