//! Activates and deactivates a package.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_protocol::{LocationName, PackageRef};
use packcast_publisher::deactivate::Deactivated;
use packcast_publisher::{Failure, Preview, Target, activate, deactivate, location};

use super::address::{ACTIVATE, DEACTIVATE};
use super::assign::{package, package_field, page_of};
use super::effect::package_fact;
use super::fields::some_of;
use super::input::Input;
use super::ledger::Outcome;
use super::{Change, Planned, Signed, computers};
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::{count, text};

/// Activates a package.
pub(super) struct Activate {
    package: PackageRef,
    /// Empty for all locations.
    locations: Vec<LocationName>,
}

/// Deactivates a package.
pub(super) struct Deactivate(PackageRef);

impl Change for Activate {
    const PATH: &'static str = ACTIVATE;
    const TITLE: &'static str = "Activate a package";
    const SECTION: Section = Section::Packages;
    const BUTTON: &'static str = "Activate the package";
    const ABOUT: &'static str = "From then on, the package is announced to its devices. The console \
        first fetches the package from each location, and compares it.";
    const EXAMPLE: &'static str = "activate PACKAGE";

    async fn fields(visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        let locations = location::list(&visit.target).await?;
        let names: Vec<String> = locations.iter().map(|at| at.name.to_string()).collect();
        Ok(html! {
            (package_field(input))
            @if !names.is_empty() {
                (some_of(input, "location", "Locations", &names,
                    "Devices fetch the package from these locations, in this order. If you choose none, \
                     from all locations."))
            }
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self {
            package: package(input)?,
            locations: input.list("location", "Locations")?,
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = activate::plan(target, &self.package, &self.locations).await?;
        let preview = plan.preview().await?;
        let mut facts = vec![package_fact(plan.package())];
        let locations = plan.locations().iter();
        facts.extend(locations.map(|at| format!("location {} at {}", at.name, at.location)));
        let perform = move |_, _| {
            async move {
                let activated = plan.perform().await?;
                let locations = activated.locations.iter();
                let body = html! {
                    p { "The package is active at these locations:" }
                    ul.lines {
                        @for at in locations {
                            li { (text(&at.name.to_string())) " " code { (text(&at.location.to_string())) } }
                        }
                    }
                };
                Ok(Outcome::new(body)
                    .link(computers::path_of(&self.package), "Choose the computers")
                    .link(page_of(&self.package), "Show the package"))
            }
            .boxed_local()
        };
        Ok(Planned {
            facts,
            ..Planned::new(preview, Signed::No, perform)
        })
    }

    fn command(&self) -> Vec<String> {
        let mut words = vec!["activate".to_owned(), self.package.to_string()];
        for location in &self.locations {
            words.extend(["--location".to_owned(), location.to_string()]);
        }
        words
    }
}

impl Change for Deactivate {
    const PATH: &'static str = DEACTIVATE;
    const TITLE: &'static str = "Deactivate a package";
    const SECTION: Section = Section::Packages;
    const BUTTON: &'static str = "Deactivate the package";
    const ABOUT: &'static str = "From then on, the package is announced to no device. A Packcast agent \
        that has not begun with the package cancels it at its next check-in. An OCS agent that had \
        the announcement still deploys the package.";
    const EXAMPLE: &'static str = "deactivate PACKAGE";
    const STOPS: bool = true;

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self(package(input)?))
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = deactivate::plan(target, &self.0).await?;
        // A count that cannot be read must not stop a deactivation.
        let preview = match plan.preview().await {
            Ok(preview) => preview,
            Err(failure) if failure.is_unreachable() => return Err(failure),
            Err(_) => Preview::new(plan.effect()),
        };
        let facts = vec![package_fact(plan.package())];
        let perform = move |_, _| {
            async move {
                let done = plan.perform().await?;
                let body = deactivated(&done);
                Ok(Outcome::new(body).link(page_of(&self.0), "Show the package"))
            }
            .boxed_local()
        };
        Ok(Planned {
            facts,
            ..Planned::new(preview, Signed::No, perform)
        })
    }

    fn command(&self) -> Vec<String> {
        vec!["deactivate".to_owned(), self.0.to_string()]
    }
}

fn deactivated(done: &Deactivated) -> Markup {
    html! {
        p { "The package is announced to no more devices." }
        @match done.told {
            Some(0) => {},
            Some(told) => p {
                "Devices that had the announcement already, and have not reported: "
                (count(told, "device")) "."
            },
            None => p { "The number of devices that had the announcement already cannot be read." },
        }
        @if done.complete_in_s > 0 {
            p {
                "Within " (done.complete_in_s) " seconds, a Packcast agent may still begin with the \
                 package."
            }
        }
    }
}
