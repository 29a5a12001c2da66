//! Assigns a package to devices or groups, and unassigns it.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_protocol::PackageRef;
use packcast_publisher::assign::{self, AssignRequest, AssignResult, AssignedTo};
use packcast_publisher::assignees::AssigneeNames;
use packcast_publisher::signing::verify_record::AlsoAccept;
use packcast_publisher::unassign::{self, UnassignedFrom};
use packcast_publisher::{Failure, Target};

use super::address::{ACTIVATE, ASSIGN, UNASSIGN};
use super::controls::Control;
use super::fields::{check, line};
use super::input::Input;
use super::ledger::Outcome;
use super::{Change, Planned, Signed, assignees};
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::{count, device_with_id, group_link, package_path, text};

const PACKAGE: &str = "Package";
const FORCE: &str = "Deploy again";
const DOWNGRADE: &str = "Allow a downgrade";
pub(super) const PACKAGE_HINT: &str = "name@version, or the id of the package";

/// Assigns a package.
pub(super) struct Assign(AssignRequest);

/// Unassigns a package.
pub(super) struct Unassign {
    package: PackageRef,
    from: AssigneeNames,
}

/// Writes the field with the package.
pub(super) fn package_field(input: &Input) -> Markup {
    line(input, "package", PACKAGE, PACKAGE_HINT)
}

/// Reads the field with the package.
pub(super) fn package(input: &Input) -> Result<PackageRef, Failure> {
    input.required("package", PACKAGE)
}

/// Returns the address of a package, by its id or its name.
pub(super) fn page_of(package: &PackageRef) -> String {
    match package {
        PackageRef::Id(id) => package_path(*id),
        other => format!(
            "/packages?find={}",
            crate::words::encoded(&other.to_string())
        ),
    }
}

impl Change for Assign {
    const PATH: &'static str = ASSIGN;
    const TITLE: &'static str = "Assign a package";
    const SECTION: Section = Section::Packages;
    const BUTTON: &'static str = "Assign the package";
    const ABOUT: &'static str = "Devices get an active package at their next check-in. After a failure, \
        another assignment begins the next attempt.";
    const EXAMPLE: &'static str = "assign PACKAGE --group GROUP";
    const CONTROLS: &'static [Control] = &[("--force", FORCE), ("--allow-downgrade", DOWNGRADE)];

    async fn fields(visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        let to = assignees::fields(visit, input, "Assign it to").await?;
        Ok(html! {
            (package_field(input))
            (to)
            (check(input, "force", FORCE, "Also on devices that have the package already."))
            (check(input, "downgrade", DOWNGRADE,
                "Also on devices that have a later package of the same name."))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self(AssignRequest {
            package: package(input)?,
            to: assignees::read(input)?,
            force: input.has("force"),
            allow_downgrade: input.has("downgrade"),
            also_accept: AlsoAccept::default(),
        }))
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let progress = packcast_publisher::Progress::none();
        let plan = assign::plan(target, &self.0, &progress).await?;
        let preview = plan.preview().clone();
        let signed = Signed::Changes(plan.state_changes());
        let (warnings, partly) = (plan.warnings().to_vec(), plan.check().err());
        let package = &self.0.package;
        let perform = move |signer, progress| {
            async move {
                let result = plan.perform(signer, &progress).await?;
                Ok(assigned(&result, package))
            }
            .boxed_local()
        };
        Ok(Planned {
            warnings,
            partly,
            ..Planned::new(preview, signed, perform)
        })
    }

    fn command(&self) -> Vec<String> {
        let mut words = vec!["assign".to_owned(), self.0.package.to_string()];
        words.extend(assignees::options(&self.0.to));
        words.extend(self.0.force.then(|| "--force".to_owned()));
        let downgrade = self.0.allow_downgrade;
        words.extend(downgrade.then(|| "--allow-downgrade".to_owned()));
        words
    }
}

fn assigned(result: &AssignResult, package: &PackageRef) -> Outcome {
    let body = html! {
        @match &result.assigned {
            AssignedTo::Devices(devices) => ul.lines {
                @for device in devices {
                    li { (device_with_id(&device.device, &device.host_name)) ": " (words(device.result)) }
                }
            },
            AssignedTo::Groups(groups) => ul.lines {
                @for group in groups {
                    li {
                        "Group " (group_link(&group.group)) ": " (count(group.devices, "device"))
                        ", at the next check-in of each"
                    }
                }
            },
        }
        @if !result.is_active {
            p.notice.warn { "The package is not active: devices get it after its activation." }
        }
    };
    let outcome = Outcome::new(body).partly(result.complete());
    let outcome = outcome.link(page_of(package), "Show the package");
    if result.is_active {
        return outcome;
    }
    let activate = format!(
        "{ACTIVATE}?package={}",
        crate::words::encoded(&package.to_string())
    );
    outcome.link(activate, "Activate the package")
}

impl Change for Unassign {
    const PATH: &'static str = UNASSIGN;
    const TITLE: &'static str = "Unassign a package";
    const SECTION: Section = Section::Packages;
    const BUTTON: &'static str = "Unassign the package";
    const ABOUT: &'static str = "The package is announced to these devices no more. A Packcast agent \
        that has not begun with the package cancels it at its next check-in. Devices that have \
        deployed the package keep it.";
    const EXAMPLE: &'static str = "unassign PACKAGE --group GROUP";
    const STOPS: bool = true;

    async fn fields(visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        let from = assignees::fields(visit, input, "Unassign it from").await?;
        Ok(html! { (package_field(input)) (from) })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        let (package, from) = (package(input)?, assignees::read(input)?);
        Ok(Self { package, from })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = unassign::plan(target, &self.package, &self.from).await?;
        let partly = plan.check().await.err();
        let (preview, permitted_s) = (plan.preview().clone(), plan.permitted_s());
        let signed = Signed::Changes(plan.state_changes());
        let perform = move |signer, progress| {
            async move {
                let from = plan.perform(signer, &progress).await?;
                Ok(unassigned(target, &from, permitted_s, &self.package))
            }
            .boxed_local()
        };
        Ok(Planned {
            partly,
            ..Planned::new(preview, signed, perform)
        })
    }

    fn command(&self) -> Vec<String> {
        let mut words = vec!["unassign".to_owned(), self.package.to_string()];
        words.extend(assignees::options(&self.from));
        words
    }
}

fn unassigned(
    target: &Target,
    from: &UnassignedFrom,
    permitted_s: u64,
    package: &PackageRef,
) -> Outcome {
    let seconds = unassign::may_begin_s(target, from).max(permitted_s);
    let told = from.told();
    let body = html! {
        @match from {
            UnassignedFrom::Devices(devices) => ul.lines {
                @for device in devices {
                    li { (device_with_id(&device.device, &device.host_name)) ": " (words(device.result)) }
                }
            },
            UnassignedFrom::Groups(groups) => ul.lines {
                @for group in groups {
                    li { "Group " (group_link(&group.group)) ": " (words(group.result)) }
                }
            },
        }
        @if told > 0 {
            p { (count(told, "device")) " had the announcement already, and has not reported." }
            @if seconds > 0 {
                p { "Within " (seconds) " seconds, a device may still begin with the package." }
            }
        }
    };
    let outcome = Outcome::new(body).partly(from.complete());
    outcome.link(page_of(package), "Show the package")
}

/// Writes the result for a device in words.
fn words(result: &str) -> Markup {
    text(&result.replace('-', " "))
}
