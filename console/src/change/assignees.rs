//! The devices and groups of an assignment, as fields of a form.

use maud::{Markup, html};
use packcast_protocol::GroupName;
use packcast_publisher::assignees::AssigneeNames;
use packcast_publisher::{Failure, page};

use super::device::{DEVICES, device_names};
use super::fields::{area, described, invalid, one_of, some_of};
use super::input::Input;
use crate::visit::Visit;

/// The number of groups that a form offers by boxes, and by suggestions.
const GROUPS: usize = 50;
const SUGGESTED: usize = 1_000;

const LABEL: &str = "Groups";

/// Writes the fields for devices and groups.
pub(super) async fn fields(visit: &Visit, input: &Input, label: &str) -> Result<Markup, Failure> {
    let values = [
        ("devices", "These devices"),
        ("groups", "Groups, with the devices that join them later"),
        ("all", "All devices, also future ones"),
    ];
    let groups = groups(visit, input).await?;
    Ok(html! {
        (one_of(input, "to", label, &values))
        (area(input, "device", DEVICES, "One id or host name on each line."))
        (groups)
    })
}

/// Writes the fields for groups: boxes for the first ones, and a field with suggestions for the others.
pub(super) async fn groups(visit: &Visit, input: &Input) -> Result<Markup, Failure> {
    let known = page::groups(&visit.target, None, GROUPS).await?;
    let more = match &known.next {
        Some(next) => {
            let more = page::groups(&visit.target, Some(next), SUGGESTED).await?;
            names(&more.items)
        }
        None => Vec::new(),
    };
    let groups = names(&known.items);
    let is_offered = |group: &&str| groups.iter().any(|it| it == group);
    let others: Vec<&str> = input.lines("group").filter(|it| !is_offered(it)).collect();
    Ok(html! {
        @if !groups.is_empty() { (some_of(input, "group", LABEL, &groups, "")) }
        @if !more.is_empty() { (another_group(&more)) }
        @if known.next.is_some() || !others.is_empty() { (other_groups(input, &others)) }
    })
}

fn names(groups: &[GroupName]) -> Vec<String> {
    let named = groups.iter().filter(|group| !group.is_all());
    named.map(ToString::to_string).collect()
}

/// Writes a field that suggests the names of groups while a person types.
fn another_group(groups: &[String]) -> Markup {
    html! {
        div.field {
            label for="another-group" { "Another group" }
            input #another-group name="group" list="group-names" autocomplete="off" spellcheck="false"
                aria-describedby="another-group-hint";
            datalist #group-names { @for group in groups { option value=(group) {} } }
            p.soft #another-group-hint {
                "The target has more groups: type a part of a name, and choose one."
            }
        }
    }
}

fn other_groups(input: &Input, groups: &[&str]) -> Markup {
    let refused = input.is_refused("group", LABEL);
    html! {
        div.field {
            label for="other-groups" { "Other groups" }
            textarea #other-groups name="group" rows="3" spellcheck="false"
                aria-invalid=[invalid(refused)] autofocus[refused]
                aria-describedby=[described(refused, "other-groups", "hint")] {
                "\n" (groups.join("\n"))
            }
            p.soft #other-groups-hint { "One name on each line." }
        }
    }
}

/// Reads the assignees.
pub(super) fn read(input: &Input) -> Result<AssigneeNames, Failure> {
    let names = match input.text("to") {
        "all" => return Ok(AssigneeNames::All),
        "groups" => {
            let groups: Vec<GroupName> = input.list("group", LABEL)?;
            (!groups.is_empty()).then_some(AssigneeNames::Groups(groups))
        }
        _ => {
            let devices = device_names(input)?;
            (!devices.is_empty()).then_some(AssigneeNames::Devices(devices))
        }
    };
    names.ok_or_else(nobody)
}

fn nobody() -> Failure {
    Failure::usage("cannot read the form: it names no device and no group")
        .hint("name at least one device, choose a group, or choose all devices")
}

/// Returns the options of a command for the assignees.
pub(super) fn options(names: &AssigneeNames) -> Vec<String> {
    let with = |option: &str, name: String| [option.to_owned(), name];
    match names {
        AssigneeNames::All => vec!["--all".to_owned()],
        AssigneeNames::Groups(groups) => {
            let groups = groups.iter();
            groups
                .flat_map(|it| with("--group", it.to_string()))
                .collect()
        }
        AssigneeNames::Devices(devices) => {
            let devices = devices.iter();
            devices
                .flat_map(|it| with("--device", it.to_string()))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::input::Received;

    fn read_fields(fields: &[(&str, &str)]) -> Result<String, String> {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let input = Received::of(fields.collect()).input;
        let names = read(&input).map_err(|failure| failure.to_string())?;
        Ok(options(&names).join(" "))
    }

    #[test]
    fn assignees_are_those_that_were_chosen() {
        let both = [
            ("device", "web01\nweb02"),
            ("group", "lab"),
            ("group", "office"),
        ];
        let with = |to| read_fields(&[&[("to", to)], &both[..]].concat());
        let read = ["devices", "groups", "all"].map(|to| with(to).unwrap());
        insta::assert_snapshot!(read.join("\n"), @"
        --device web01 --device web02
        --group lab --group office
        --all
        ");
        insta::assert_snapshot!(read_fields(&[("to", "groups")]).unwrap_err(), @"
        cannot read the form: it names no device and no group
        hint: name at least one device, choose a group, or choose all devices
        ");
    }
}
