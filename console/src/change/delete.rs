//! Deletes a package with its objects.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_protocol::PackageRef;
use packcast_publisher::{Failure, Target, Warning, delete};

use super::address::DELETE;
use super::assign::{package, package_field};
use super::controls::Control;
use super::effect::package_fact;
use super::fields::check;
use super::input::Input;
use super::ledger::Outcome;
use super::{Change, Planned, Signed};
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::{bytes, count, package_path, text};

const UNASSIGN: &str = "Unassign it first";

/// Deletes a package.
pub(super) struct Delete {
    package: PackageRef,
    unassign: bool,
}

impl Change for Delete {
    const PATH: &'static str = DELETE;
    const TITLE: &'static str = "Delete a package";
    const SECTION: Section = Section::Packages;
    const BUTTON: &'static str = "Delete the package";
    const ABOUT: &'static str = "The objects of the package are removed for good. Its name and version \
        cannot be used again, and the results of devices stay on record.";
    const EXAMPLE: &'static str = "delete PACKAGE";
    const CONTROLS: &'static [Control] = &[("--unassign", UNASSIGN)];
    const STOPS: bool = true;

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(html! {
            (package_field(input))
            (check(input, "unassign", UNASSIGN,
                "From all groups, and from all devices that have not finished it. An assigned package \
                 cannot be deleted."))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self {
            package: package(input)?,
            unassign: input.has("unassign"),
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = delete::plan(target, &self.package, self.unassign).await?;
        let preview = plan.preview().clone();
        let facts = vec![package_fact(plan.package())];
        let signed = match plan.state_changes() {
            changes if changes.is_empty() => Signed::No,
            changes => Signed::Changes(changes),
        };
        let perform = move |signer, progress| {
            async move {
                let deleted = plan.perform(signer, &progress).await?;
                // Counted after the deletion, when the package can be announced to no more devices.
                let announced = delete::announced_devices(target, deleted.package).await;
                let announced = announced.unwrap_or_else(|_| Some(uncounted()));
                let body = html! {
                    p {
                        "Deleted " (text(&deleted.name)) ": removed " (count(deleted.objects, "object"))
                        " (" (bytes(deleted.bytes)) ")."
                    }
                };
                let outcome = Outcome {
                    warnings: announced.into_iter().collect(),
                    ..Outcome::new(body)
                };
                Ok(outcome
                    .link(package_path(deleted.package), "Show its results")
                    .link("/packages", "Show the packages"))
            }
            .boxed_local()
        };
        Ok(Planned {
            facts,
            ..Planned::new(preview, signed, perform)
        })
    }

    fn command(&self) -> Vec<String> {
        let mut words = vec!["delete".to_owned(), self.package.to_string()];
        words.extend(self.unassign.then(|| "--unassign".to_owned()));
        words
    }
}

fn uncounted() -> Warning {
    Warning::new("cannot read the number of devices to which the deleted package was announced")
}
