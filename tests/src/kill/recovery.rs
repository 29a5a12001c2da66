//! The recovery of an agent after a kill, and the points of the second kill.

use std::collections::BTreeSet;

use super::effect::Kind;
use super::journal::Journals;
use super::point::{Kill, Point};
use super::step::{Step, effects, points};

/// The recovery after a kill.
#[derive(Debug)]
pub(super) struct Recovery {
    at: Point,
    /// The stages of the packages at the kill.
    journals: Journals,
    points: Vec<Point>,
}

impl Recovery {
    pub(super) fn new(at: &Point, journals: &Journals, steps: &[Step]) -> Self {
        Self {
            at: at.clone(),
            journals: journals.clone(),
            points: points(effects(recovery(steps))),
        }
    }
}

/// Returns the steps of an agent before it continues with a package: it settles the state that it
/// finds, checks in, and removes accepted results.
pub(super) fn recovery(steps: &[Step]) -> &[Step] {
    let mut has_received = false;
    let works = |step: &Step| {
        let effect = &step.effect;
        has_received |= effect.kind == Kind::Receive;
        let begins = match effect.kind {
            Kind::Connect => true,
            Kind::Create | Kind::MakeFolder => effect.object.starts_with("state/packages/"),
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
    use super::super::journal::Stage;
    use super::super::tracer::{Effect, Stop};
    use super::*;

    fn step(kind: Kind, object: &str) -> Step {
        Step {
            effect: Effect {
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
            step(Kind::Create, "state/packages/tool/journal.new"),
            step(Kind::Connect, "connection-1"),
            step(Kind::Receive, "connection-1"),
            step(Kind::Create, "state/history"),
        ];
        for next in [
            step(Kind::Create, "state/packages/tool/journal.new"),
            step(Kind::Connect, "connection-2"),
        ] {
            let mut steps = settles.to_vec();
            steps.extend([next, step(Kind::Send, "connection-2")]);
            assert_eq!(recovery(&steps), settles);
        }
        assert_eq!(recovery(&settles), settles);
    }

    #[test]
    fn a_second_kill_is_tried_once_for_equal_journals() {
        let recovery = |at: &str, stage, removed: &[&str]| {
            let journals = Journals::from([("tool".to_owned(), stage)]);
            let steps = removed.iter().map(|path| step(Kind::Remove, path));
            let steps: Vec<Step> = steps.collect();
            Recovery::new(&at.parse().unwrap(), &journals, &steps)
        };
        let kills = second_kills(vec![
            recovery("sync:b#1:after", Stage::Fetching, &["x"]),
            recovery("sync:a#1:after", Stage::Fetching, &["x", "y"]),
            recovery("sync:c#1:after", Stage::Acting, &["y"]),
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
