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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::plain;
    use crate::output::screen::tests::on_terminals;

    fn checked(package: Option<&str>, problem: Option<&str>) -> CheckedLocation {
        CheckedLocation {
            name: "site-berlin".parse().unwrap(),
            location: "mirror.example.net:8443/packcast".parse().unwrap(),
            package: package.map(ToOwned::to_owned),
            problem: problem.map(ToOwned::to_owned),
            warnings: Vec::new(),
            milliseconds: 87,
        }
    }

    #[test]
    fn each_location_has_its_result() {
        let all = [
            checked(Some("vlc@3.0.21"), None),
            checked(None, None),
            checked(Some("vlc@3.0.21"), Some("unreachable")),
        ];
        assert_snapshot!(on_terminals(|| text(&all)), @"
        80:
        NAME         ADDRESS                           RESULT                      TIME
        site-berlin  mirror.example.net:8443/packcast  ok: serves vlc@3.0.21       87 ms
        site-berlin  mirror.example.net:8443/packcast  ok: reachable; none of the  87 ms
                                                       newest 100 packages is
                                                       active there
        site-berlin  mirror.example.net:8443/packcast  failed: unreachable         87 ms

        140:
        NAME         ADDRESS                           RESULT                                                          TIME
        site-berlin  mirror.example.net:8443/packcast  ok: serves vlc@3.0.21                                           87 ms
        site-berlin  mirror.example.net:8443/packcast  ok: reachable; none of the newest 100 packages is active there  87 ms
        site-berlin  mirror.example.net:8443/packcast  failed: unreachable                                             87 ms
        ");
        assert_snapshot!(plain(&text(&all)), @"
        NAME         ADDRESS                           RESULT                                                          TIME
        site-berlin  mirror.example.net:8443/packcast  ok: serves vlc@3.0.21                                           87 ms
        site-berlin  mirror.example.net:8443/packcast  ok: reachable; none of the newest 100 packages is active there  87 ms
        site-berlin  mirror.example.net:8443/packcast  failed: unreachable                                             87 ms
        ");
        let name = "site-berlin".parse().unwrap();
        assert_snapshot!(warning_text(&name, "it answers 304"), @"warning: location site-berlin: it answers 304");
    }
}
