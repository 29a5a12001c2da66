//! `packcast location check`: checks that locations serve packages as agents need them.

use packcast_protocol::LocationName;
use packcast_publisher::location::{self, CheckedLocation};
use packcast_publisher::package::NEWEST;
use packcast_publisher::{Failure, Target};

use crate::Globals;
use crate::output;

pub(super) async fn run(
    globals: &Globals,
    target: &Target,
    names: &[LocationName],
) -> Result<(), Failure> {
    let checked = location::check(target, names).await?;
    output::result(globals.format, &checked, |checked| text(checked));
    for checked in &checked {
        for warning in &checked.warnings {
            output::note(&warning_text(&checked.name, warning));
        }
    }
    location::conclude(&checked)
}

fn warning_text(name: &LocationName, warning: &str) -> String {
    format!("warning: location {name}: {warning}")
}

fn text(checked: &[CheckedLocation]) -> String {
    output::table(
        ["NAME", "ADDRESS", "RESULT", "TIME"],
        checked.iter().map(|one| {
            [
                one.name.to_string(),
                one.location.to_string(),
                result(one),
                format!("{} ms", one.milliseconds),
            ]
        }),
    )
}

fn result(checked: &CheckedLocation) -> String {
    match (&checked.problem, &checked.package) {
        (Some(problem), _) => format!("failed: {problem}"),
        (None, Some(package)) => format!("ok: serves {package}"),
        (None, None) => {
            format!("ok: reachable; none of the newest {NEWEST} packages is active there")
        }
    }
}
