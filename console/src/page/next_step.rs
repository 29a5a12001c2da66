//! The next step with a package, from its activation to the computers that get it.

use maud::{Markup, html};
use packcast_publisher::page::PackageCounts;
use packcast_rollout::PackageRecord;

use crate::change::address::ACTIVATE;
use crate::change::computers;
use crate::visit::Visit;

/// A step with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Activate,
    Choose,
    /// Somebody has the package already.
    ChooseMore,
}

/// Writes the next step with a package. A read-only console has none.
pub(super) fn next_step(package: &PackageRecord, counts: &PackageCounts, visit: &Visit) -> Markup {
    let is_usable = package.published().is_some() && !package.is_deleted();
    if visit.app.is_read_only() || !is_usable {
        return Markup::default();
    }
    let has_computers = !counts.groups.is_empty() || counts.tally.assigned > 0;
    let computers = computers::path(package.id);
    html! {
        @match step(package.active, has_computers) {
            Step::Activate => (notice(
                "Next: activate",
                " the package at its locations. No device sees it before.",
                &format!("{ACTIVATE}?package={}", package.id),
                "Activate the package",
            )),
            Step::Choose => (notice(
                "Next: choose the computers",
                " that get the package. No computer has it yet.",
                &computers,
                "Choose the computers",
            )),
            Step::ChooseMore => p { a href=(computers) { "Choose further computers" } },
        }
    }
}

const fn step(is_active: bool, has_computers: bool) -> Step {
    match (is_active, has_computers) {
        (false, _) => Step::Activate,
        (true, false) => Step::Choose,
        (true, true) => Step::ChooseMore,
    }
}

fn notice(next: &str, rest: &str, path: &str, name: &str) -> Markup {
    html! {
        section.notice.next aria-label="Next step" {
            p { strong { (next) } (rest) }
            p { a.button href=(path) { (name) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activation_comes_before_the_computers() {
        let steps = [(false, false), (false, true), (true, false), (true, true)];
        let steps = steps.map(|(is_active, has_computers)| step(is_active, has_computers));
        let expected = [
            Step::Activate,
            Step::Activate,
            Step::Choose,
            Step::ChooseMore,
        ];
        assert_eq!(steps, expected);
    }
}
