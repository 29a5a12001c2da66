//! Groups: their creation, their names and their deletion.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_protocol::GroupName;
use packcast_publisher::{Failure, Target, group};

use super::address::{ADD_DEVICES, CREATE_GROUP, DELETE_GROUP, RENAME_GROUP};
use super::controls::Control;
use super::input::Input;
use super::ledger::Outcome;
use super::{Change, Planned, Signed, fields};
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::{count, group_path, text};

/// The rule for the names of groups.
const NAME_HINT: &str = "Up to 48 lower-case letters, digits, '.', '_' and '-'.";

const RENAME_ANYWAY: &str = "Also if assigned packages are only for one of both names";
const DELETE_ANYWAY: &str = "Also if the group has devices or packages";

/// Creates a group.
pub(super) struct Create {
    group: GroupName,
}

/// Gives a group another name.
pub(super) struct Rename {
    group: GroupName,
    to: GroupName,
    force: bool,
}

/// Deletes a group.
pub(super) struct Delete {
    group: GroupName,
    force: bool,
}

/// Returns the address of a form for a group.
pub(crate) fn form_path(path: &str, group: &GroupName) -> String {
    format!("{path}?group={}", crate::words::encoded(group.as_str()))
}

impl Change for Create {
    const PATH: &'static str = CREATE_GROUP;
    const TITLE: &'static str = "Create a group";
    const SECTION: Section = Section::Groups;
    const BUTTON: &'static str = "Create the group";
    const ABOUT: &'static str =
        "A new group has neither devices nor packages. Add devices to it next.";
    const EXAMPLE: &'static str = "group create NAME";

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(fields::line(input, "group", "Name", NAME_HINT))
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        let group = input.required("group", "Name")?;
        Ok(Self { group })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = group::plan_creation(target, &self.group).await?;
        let signed = Signed::Changes(plan.state_changes());
        Ok(Planned::new(
            plan.preview().clone(),
            signed,
            move |signer, progress| {
                async move {
                    group::create(target, &self.group, signer, &progress).await?;
                    let done = html! { p { "Group " (text(self.group.as_str())) " exists." } };
                    let add = form_path(ADD_DEVICES, &self.group);
                    Ok(Outcome::new(done)
                        .link(add, "Add devices")
                        .link(group_path(&self.group), format!("Group {}", self.group)))
                }
                .boxed_local()
            },
        ))
    }

    fn command(&self) -> Vec<String> {
        vec!["group".into(), "create".into(), self.group.to_string()]
    }
}

impl Change for Rename {
    const PATH: &'static str = RENAME_GROUP;
    const TITLE: &'static str = "Rename a group";
    const SECTION: Section = Section::Groups;
    const BUTTON: &'static str = "Rename the group";
    const ABOUT: &'static str = "Devices stay in the group, and packages, pacing and preferred location \
        stay as they are. No device deploys a package again because of the new name.";
    const EXAMPLE: &'static str = "group rename GROUP NEW-NAME";
    const CONTROLS: &'static [Control] = &[("--force", RENAME_ANYWAY)];

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(html! {
            (fields::line(input, "group", "Group", "Its present name."))
            (fields::line(input, "to", "New name", NAME_HINT))
            (fields::check(
                input,
                "force",
                RENAME_ANYWAY,
                "Devices then wait with packages that name the present name, and begin with those \
                 that name the new one.",
            ))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self {
            group: input.required("group", "Group")?,
            to: input.required("to", "New name")?,
            force: input.has("force"),
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = group::plan_rename(target, &self.group, &self.to, self.force).await?;
        let (preview, warnings) = (plan.preview().clone(), plan.warnings());
        let signed = Signed::Changes(plan.state_changes());
        let planned = Planned::new(preview, signed, move |signer, progress| {
            async move {
                let renamed = group::rename(plan, signer, &progress).await?;
                let (to, devices) = (&renamed.to, renamed.devices as u64);
                let done = html! {
                    p {
                        "Group " (text(renamed.group.as_str())) " is now " (text(to.as_str()))
                        ", with " (count(devices, "device")) "."
                    }
                };
                Ok(Outcome::new(done).link(group_path(to), format!("Group {to}")))
            }
            .boxed_local()
        });
        Ok(Planned {
            warnings,
            ..planned
        })
    }

    fn command(&self) -> Vec<String> {
        let words = ["group", "rename", self.group.as_str(), self.to.as_str()];
        forced(&words, self.force)
    }
}

impl Change for Delete {
    const PATH: &'static str = DELETE_GROUP;
    const TITLE: &'static str = "Delete a group";
    const SECTION: Section = Section::Groups;
    const BUTTON: &'static str = "Delete the group";
    const ABOUT: &'static str = "The devices of the group stay in the target. They lose the \
        assignments that they have only through this group.";
    const EXAMPLE: &'static str = "group delete GROUP";
    const CONTROLS: &'static [Control] = &[("--force", DELETE_ANYWAY)];

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(html! {
            (fields::line(input, "group", "Group", ""))
            (fields::check(
                input,
                "force",
                DELETE_ANYWAY,
                "Its packages are unassigned, and its devices leave the group.",
            ))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self {
            group: input.required("group", "Group")?,
            force: input.has("force"),
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = group::plan_deletion(target, &self.group, self.force).await?;
        let signed = Signed::Changes(plan.state_changes());
        Ok(Planned::new(
            plan.preview().clone(),
            signed,
            move |signer, progress| {
                async move {
                    group::delete(target, &self.group, self.force, signer, &progress).await?;
                    let done = html! { p { "Group " (text(self.group.as_str())) " is deleted." } };
                    Ok(Outcome::new(done).link("/groups", "Groups"))
                }
                .boxed_local()
            },
        ))
    }

    fn command(&self) -> Vec<String> {
        forced(&["group", "delete", self.group.as_str()], self.force)
    }
}

/// Returns the words of a command, with `--force` if the change is forced.
fn forced(words: &[&str], force: bool) -> Vec<String> {
    let force = force.then_some("--force");
    words
        .iter()
        .copied()
        .chain(force)
        .map(str::to_owned)
        .collect()
}
