//! The devices of a group: a list of names adds them, or removes them.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_protocol::GroupName;
use packcast_publisher::device_list::{self, PastedNames, UnreadableName};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::group::{self, MembersChanged};
use packcast_publisher::{Failure, Progress, Target};

use super::address::{ADD_DEVICES, REMOVE_DEVICES};
use super::device::DEVICES;
use super::input::{Input, refused as refused_field};
use super::ledger::Outcome;
use super::{Change, Planned, Signed, fields};
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::{count, group_path, grouped, text};

/// The most names in one change: the page waits for all of them.
const MOST: usize = 100_000;

/// The most names that a command line lists; more are in a file.
const IN_COMMAND: usize = 5;

/// The most refused names that a page lists for each reason.
const LISTED: usize = 500;

/// Adds devices to a group, or removes devices from it.
pub(super) struct Members<const ADD: bool> {
    group: GroupName,
    names: PastedNames,
}

/// Returns the first text for an addition, and the second one for a removal.
const fn by(add: bool, added: &'static str, removed: &'static str) -> &'static str {
    if add { added } else { removed }
}

impl<const ADD: bool> Change for Members<ADD> {
    const PATH: &'static str = by(ADD, ADD_DEVICES, REMOVE_DEVICES);
    const TITLE: &'static str = by(ADD, "Add devices to a group", "Remove devices from a group");
    const SECTION: Section = Section::Groups;
    const BUTTON: &'static str = by(ADD, "Add the devices", "Remove the devices");
    const ABOUT: &'static str = by(
        ADD,
        "All devices join together. A device gets the packages of the group at its next check-in.",
        "All devices leave together. A device loses the assignments that it has only through this group.",
    );
    const EXAMPLE: &'static str = by(
        ADD,
        "group add GROUP --from FILE",
        "group remove GROUP --from FILE",
    );

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(html! {
            (fields::line(input, "group", "Group", ""))
            (name_list(input))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        let group: GroupName = input.required("group", "Group")?;
        let names = device_list::pasted(input.text("names"));
        if names == PastedNames::default() {
            return Err(
                refused_field(DEVICES, "it is empty").hint("type or paste the names of devices")
            );
        }
        if names.names.len() > MOST {
            let most = count(MOST as u64, "name");
            return Err(
                refused_field(DEVICES, format_args!("it has more than {most}"))
                    .hint("send the list in several parts, or use the command"),
            );
        }
        Ok(Self { group, names })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let (group, names, progress) = (&self.group, &self.names.names, Progress::none());
        let plan = if ADD {
            group::plan_addition(target, group, names, &progress).await?
        } else {
            group::plan_removal(target, group, names, &progress).await?
        };
        let (changed, unchanged) = if ADD {
            ("added", "members already")
        } else {
            ("removed", "not members")
        };
        let signed = Signed::Changes(plan.state_changes());
        let (unreadable, members) = (&self.names.unreadable, plan.members());
        let details = html! {
            @if members > 0 {
                p { (count(members as u64, "device")) " of the list: " (unchanged) "." }
            }
            (refused(plan.refused(), unreadable))
        };
        let partly = plan.check().and_then(|()| all_readable(unreadable)).err();
        let planned = Planned::new(plan.preview().clone(), signed, move |signer, progress| {
            async move {
                let result = plan.perform(signer, &progress).await?;
                let complete = result
                    .complete(&self.group)
                    .and_then(|()| all_readable(unreadable));
                let done = html! {
                    p {
                        (count(result.changed as u64, "device")) " " (changed) "; "
                        (count(result.unchanged as u64, "device")) " " (unchanged) "; "
                        (count((result.refused() + unreadable.len()) as u64, "name")) " refused."
                    }
                    (refused(&result, unreadable))
                };
                let path = format!("{}/devices", group_path(&self.group));
                Ok(Outcome::new(done)
                    .link(path, format!("Devices of group {}", self.group))
                    .partly(complete))
            }
            .boxed_local()
        });
        Ok(Planned {
            partly,
            details,
            ..planned
        })
    }

    fn command(&self) -> Vec<String> {
        let group = self.group.to_string();
        let mut words = vec![
            "group".to_owned(),
            by(ADD, "add", "remove").to_owned(),
            group,
        ];
        let names: &[DeviceName] = &self.names.names;
        if names.len() > IN_COMMAND {
            words.extend(["--from".to_owned(), "devices.txt".to_owned()]);
        } else {
            words.extend(names.iter().map(|name| format!("--device={name}")));
        }
        words
    }
}

/// Writes the field for a list of devices. The script lets somebody drop a text file into the field.
pub(super) fn name_list(input: &Input) -> Markup {
    let refused = input.is_refused("names", DEVICES);
    html! {
        div.field {
            label for="names" { (DEVICES) }
            // The first line break after the tag does not count.
            textarea #names name="names" rows="10" spellcheck="false" autocomplete="off" data-drop="text"
                aria-invalid=[fields::invalid(refused)] autofocus[refused]
                aria-describedby=[fields::described(refused, "names", "hint")] {
                "\n" (input.text("names"))
            }
            p.soft #names-hint {
                "Host names or ids, one in each line or separated by commas. Paste a list"
                span.drop hidden { ", or drop a text file here" }
                ". Names of no device are listed with the effect, and change nothing."
            }
        }
    }
}

/// Returns an error if a text of the list names no device.
fn all_readable(unreadable: &[UnreadableName]) -> Result<(), Failure> {
    match unreadable {
        [] => Ok(()),
        [first, ..] => Err(Failure::usage(format!(
            "cannot read {} of the list, the first in line {}",
            count(unreadable.len() as u64, "name"),
            first.line
        ))
        .hint("write the id or the host name of one device in each line")),
    }
}

/// Lists the refused names with the reasons.
fn refused(changed: &MembersChanged, unreadable: &[UnreadableName]) -> Markup {
    html! {
        @for (reason, names) in changed.refusals() { (refusals(reason, &names)) }
        @if !unreadable.is_empty() {
            @let reason = "the text is neither an id nor a host name";
            (refusal(reason, unreadable.len(), unreadable.iter().map(|it| it.text.as_str())))
        }
    }
}

/// Lists the names that are refused for one reason.
pub(super) fn refusals(reason: &str, names: &[String]) -> Markup {
    html! {
        @if !names.is_empty() {
            (refusal(reason, names.len(), names.iter().map(String::as_str)))
        }
    }
}

fn refusal<'a>(reason: &str, number: usize, names: impl Iterator<Item = &'a str>) -> Markup {
    html! {
        details open[number <= 20] {
            summary { (count(number as u64, "name")) " refused: " (reason) }
            ul.lines { @for name in names.take(LISTED) { li { (text(name)) } } }
            @if number > LISTED { p.soft { "and " (grouped((number - LISTED) as u64)) " more" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_stand_in_a_file() {
        let words = |text: &str| {
            let members: Members<true> = Members {
                group: "lab".parse().unwrap(),
                names: device_list::pasted(text),
            };
            members.command().join(" ")
        };
        insta::assert_snapshot!(words("pc1, pc2"), @"group add lab --device=pc1 --device=pc2");
        insta::assert_snapshot!(words("1,2,3,4,5,6"), @"group add lab --from devices.txt");
    }

    #[test]
    fn refused_names_are_escaped_and_counted() {
        let changed = MembersChanged {
            unknown: vec!["<pc>".to_owned()],
            ..MembersChanged::default()
        };
        let unreadable = device_list::pasted("key:x\nkey:y").unreadable;
        let page = refused(&changed, &unreadable).into_string();
        assert!(
            page.contains("&lt;pc&gt;") && page.contains("2 names refused"),
            "{page}"
        );
        let error = all_readable(&unreadable).unwrap_err();
        insta::assert_snapshot!(error, @"
        cannot read 2 names of the list, the first in line 1
        hint: write the id or the host name of one device in each line
        ");
    }
}
