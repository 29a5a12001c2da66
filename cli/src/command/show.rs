//! `packcast show`: shows the record of a package.

use std::collections::BTreeSet;

use packcast_protocol::manifest::Audience;
use packcast_protocol::windows::Afterwards;
use packcast_protocol::{Action, DeviceId, GroupName, PackageRef, UnixTime, WindowsTerms};
use packcast_publisher::Failure;
use packcast_publisher::clock::now;
use packcast_publisher::package::{self, named, state};
use packcast_publisher::text as words;
use packcast_rollout::{LocationRecord, PackageRecord, PackageState};
use packcast_store::records::ImportedPackage;

use crate::Globals;
use crate::output::{self, Format};

/// Show a package: its state, action, archive and locations
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast show vlc@3.0.21
  packcast show 1795327754 --format json")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = package::show(&target, &self.package).await?;
        let imported = package::imported(&target, &package).await;
        let shown = Shown { package, imported };
        output::result(globals.format, &shown, |shown| {
            text_of(&shown.package, shown.imported.as_ref(), now())
        });
        Ok(())
    }
}

/// A package with the package of an OCS server from which it was imported.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    package: PackageRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    imported: Option<ImportedPackage>,
}

/// Prints a package as the result of a command.
pub(crate) fn print(format: Format, package: &PackageRecord) {
    output::result(format, package, |package| text(package, now()));
}

fn long_state(package: &PackageRecord, now: UnixTime) -> String {
    match package.state {
        PackageState::Deleted { deleted_at } => {
            format!("deleted {}", output::time(deleted_at))
        }
        PackageState::Draft | PackageState::Published(_) => state(package, now).to_owned(),
    }
}

/// Writes the steps of OCS agents on Windows before and after the action.
fn on_windows(terms: &WindowsTerms) -> String {
    let notice = terms.dialogue.notice.as_ref();
    let steps = [
        notice.map(|notice| format!("shows {:?} before the action", notice.message.as_str())),
        terms.schedule.map(|at| format!("waits until {at}")),
        terms
            .dialogue
            .closing
            .as_ref()
            .map(|text| format!("shows {:?} after the action", text.as_str())),
        terms.afterwards.map(|afterwards| match afterwards {
            Afterwards::Reboot => "restarts".to_owned(),
            Afterwards::Shutdown => "shuts down".to_owned(),
        }),
    ];
    steps.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn codes(codes: &BTreeSet<i32>) -> String {
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    codes.join(", ")
}

/// Writes the devices that may run the package.
pub(super) fn audience(audience: &Audience) -> String {
    match audience {
        Audience::Any => "any device".to_owned(),
        Audience::Devices(devices) => {
            let devices: Vec<String> = devices
                .iter()
                .map(|agent| DeviceId::Agent(agent.clone()).to_string())
                .collect();
            devices.join(", ")
        }
        Audience::Groups(groups) => {
            let groups: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
            format!("devices in {}", groups.join(", "))
        }
    }
}

/// Writes the time limit of the program, and its repetition after an interruption. STORE and UPDATE
/// run no program.
fn time_limit(package: &PackageRecord) -> String {
    if matches!(package.action, Action::Store { .. } | Action::Update { .. }) {
        return String::new();
    }
    let limit = output::duration(package.timeout_s.into());
    if package.rerun_after_interruption {
        format!("{limit}, runs again after an interruption")
    } else {
        limit
    }
}

/// Writes an action with its command or folder.
pub(super) fn action<A>(action: &Action<A>) -> String {
    match action {
        Action::Launch { command, .. } => format!("LAUNCH {command}"),
        Action::Execute { command, .. } => format!("EXECUTE {command}"),
        Action::Store { folder, .. } => format!("STORE into {folder}"),
        Action::Update { .. } => "UPDATE of the Packcast agent".to_owned(),
    }
}

/// Writes the name of a location with its address.
pub(super) fn location(at: &LocationRecord) -> String {
    format!("{} ({})", at.name, at.location)
}

/// Describes a package for a person.
pub(crate) fn text(package: &PackageRecord, now: UnixTime) -> String {
    text_of(package, None, now)
}

fn text_of(package: &PackageRecord, imported: Option<&ImportedPackage>, now: UnixTime) -> String {
    let of_import = |text: fn(&ImportedPackage) -> &str| {
        let text = imported.map(text);
        text.unwrap_or_default().to_owned()
    };
    let archive = package.action.archive().map_or_else(
        || "none".to_owned(),
        |archive| {
            format!(
                "{}, {}, sha256 {}",
                archive.format,
                output::bytes(archive.bytes),
                archive.sha256
            )
        },
    );
    let locations: Vec<String> = package.locations.iter().map(location).collect();
    let published = package.published();
    output::fields([
        ("package", format!("{} {}", package.id, named(package))),
        ("state", long_state(package, now)),
        ("priority", package.priority.to_string()),
        ("platform", words::platform(package.platform).to_owned()),
        ("audience", audience(&package.audience)),
        ("action", action(&package.action)),
        ("archive", archive),
        (
            "fragments",
            published.map_or_else(String::new, |published| published.fragments.to_string()),
        ),
        ("success codes", codes(&package.success_codes)),
        ("reboot codes", codes(&package.reboot_codes)),
        ("time limit", time_limit(package)),
        ("on Windows", on_windows(&package.windows)),
        (
            "manifest",
            published.map_or_else(String::new, |published| {
                format!("sha256 {}", published.manifest)
            }),
        ),
        (
            "signed by",
            published.map_or_else(String::new, |published| published.signer.to_string()),
        ),
        (
            "expires",
            published.map_or_else(String::new, |published| {
                published
                    .expires
                    .map_or_else(|| "never".to_owned(), output::time)
            }),
        ),
        ("locations", locations.join(", ")),
        ("created", output::time(package.created_at)),
        ("OCS name", of_import(|it| &it.ocs_name)),
        ("comment", of_import(|it| &it.comment)),
    ])
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, NOON};

    const NOW: UnixTime = UnixTime(NOON);

    #[test]
    fn an_imported_package_is_shown_with_its_comment() {
        let package = fixtures::active();
        let imported = ImportedPackage {
            package: package.id,
            ocs_name: "VLC 3.0.21".to_owned(),
            comment: "For the media lab".to_owned(),
        };
        let shown = text_of(&package, Some(&imported), NOW);
        let lines: Vec<&str> = shown.lines().rev().take(2).collect();
        assert_snapshot!(lines.join("\n"), @"
        comment        For the media lab
        OCS name       VLC 3.0.21
        ");
    }

    #[test]
    fn every_state_of_a_package_is_shown() {
        assert_snapshot!(text(&fixtures::active(), NOW), @"
        package        1795327754 vlc@3.0.21
        state          active
        priority       5
        platform       Windows
        audience       any device
        action         LAUNCH setup.exe /S
        archive        zip, 42.92 MiB, sha256 5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f
        fragments      43
        success codes  0, 3010
        reboot codes   1641
        time limit     2 hours
        manifest       sha256 5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f
        signed by      RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        expires        never
        locations      cdn (cdn.example.net)
        created        2026-11-18 11:06:40 UTC
        ");
        assert_snapshot!(text(&fixtures::draft(), NOW), @"
        package        1795327754 vlc@3.0.21
        state          draft
        priority       5
        platform       Windows
        audience       any device
        action         LAUNCH setup.exe /S
        archive        zip, 42.92 MiB, sha256 5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f
        success codes  0, 3010
        reboot codes   1641
        time limit     2 hours
        created        2026-11-18 11:06:40 UTC
        ");
        assert_snapshot!(text(&fixtures::deleted(), NOW), @"
        package        1795327754 vlc@3.0.21
        state          deleted 2026-11-18 12:06:40 UTC
        priority       5
        platform       Windows
        audience       any device
        action         LAUNCH setup.exe /S
        archive        zip, 42.92 MiB, sha256 5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f
        success codes  0, 3010
        reboot codes   1641
        time limit     2 hours
        created        2026-11-18 11:06:40 UTC
        ");
    }

    #[test]
    fn steps_on_windows_are_shown_in_their_order() {
        let package = PackageRecord {
            windows: fixtures::read(json!({
                "dialogue": {
                    "notice": {
                        "message": "VLC is updated",
                        "countdown_s": 60,
                        "may_abort": false,
                        "may_delay": true,
                    },
                    "closing": "Done",
                },
                "schedule": "2026/12/01 22:00",
                "afterwards": "reboot",
            })),
            action: fixtures::read(json!({
                "type": "execute",
                "archive": null,
                "command": "apt-get update",
            })),
            ..fixtures::active()
        };
        assert_snapshot!(text(&package, NOW), @r#"
        package        1795327754 vlc@3.0.21
        state          active
        priority       5
        platform       Windows
        audience       any device
        action         EXECUTE apt-get update
        archive        none
        fragments      43
        success codes  0, 3010
        reboot codes   1641
        time limit     2 hours
        on Windows     shows "VLC is updated" before the action, waits until 2026/12/01 22:00, shows "Done" after the action, restarts
        manifest       sha256 5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f
        signed by      RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        expires        never
        locations      cdn (cdn.example.net)
        created        2026-11-18 11:06:40 UTC
        "#);
    }
}
