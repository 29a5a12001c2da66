//! Reverts the target to the state of an earlier commit.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_publisher::revert::{self, RevertOptions, RevertedTo};
use packcast_publisher::signing::verify_record::AlsoAccept;
use packcast_publisher::{Failure, Preview, Target};
use packcast_rollout::state::{EntryOwner, StateDifference};

use super::address::REVERT;
use super::controls::Control;
use super::effect::{device_fact, package_fact};
use super::fields::{check, line};
use super::input::Input;
use super::ledger::Outcome;
use super::{Change, Planned, Signed};
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::lines;

const FORCE: &str = "Deploy again";
const MEMBERS: &str = "Restore the devices of deleted groups";

/// Reverts the target.
pub(super) struct Revert {
    number: u64,
    options: RevertOptions,
}

impl Change for Revert {
    const PATH: &'static str = REVERT;
    const TITLE: &'static str = "Revert to an earlier state";
    const SECTION: Section = Section::History;
    const BUTTON: &'static str = "Revert the target";
    const ABOUT: &'static str = "Groups, memberships, assignments and locations become as they were \
        after the commit, by new commits. Devices that have deployed a package keep it.";
    const EXAMPLE: &'static str = "revert NUMBER";
    const CONTROLS: &'static [Control] = &[("--force", FORCE), ("--members", MEMBERS)];

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(html! {
            (line(input, "commit", "Commit", "The number of the commit, as the history shows it."))
            (check(input, "force", FORCE,
                "Assigns packages with force again, if they were assigned with force."))
            (check(input, "members", MEMBERS,
                "Adds the earlier devices to groups that were deleted since."))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self {
            number: input.required("commit", "Commit")?,
            options: RevertOptions {
                force: input.has("force"),
                members: input.has("members"),
            },
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = revert::plan(target, self.number, self.options).await?;
        let effect = match plan.commits() {
            0 | 1 => format!("Reverts the target to commit {}", self.number),
            commits => format!(
                "Reverts the target to commit {} with {commits} commits",
                self.number
            ),
        };
        let preview = if plan.is_empty() {
            Preview::new(effect)
        } else {
            Preview::of_any_device(target, effect).await?
        };
        let mut facts = vec![format!("commit {}", plan.to), format!("head {}", plan.head)];
        facts.extend(facts_of(&plan.changes));
        let (signed, warnings) = (Signed::Lines(plan.lines_with_ids()), plan.warnings.clone());
        let perform = move |mut signer, progress| {
            async move {
                let accept = AlsoAccept::default();
                plan.verify(target, &accept, &mut signer).await?;
                let reverted = revert::revert(target, plan, &mut signer, &progress).await?;
                Ok(outcome(&reverted))
            }
            .boxed_local()
        };
        Ok(Planned {
            warnings,
            facts,
            ..Planned::new(preview, signed, perform)
        })
    }

    fn command(&self) -> Vec<String> {
        let mut words = vec!["revert".to_owned(), self.number.to_string()];
        words.extend(self.options.force.then(|| "--force".to_owned()));
        words.extend(self.options.members.then(|| "--members".to_owned()));
        words
    }
}

/// Returns the ids of the packages and devices in differences.
fn facts_of(changes: &[StateDifference]) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for change in changes {
        match change {
            StateDifference::Assigned { to, entry, .. }
            | StateDifference::Unassigned { from: to, entry } => {
                facts.insert(package_fact(entry.package));
                if let EntryOwner::Device(device) = to {
                    facts.insert(device_fact(device));
                }
            }
            StateDifference::Joined { devices, .. } | StateDifference::Left { devices, .. } => {
                facts.extend(devices.iter().map(device_fact));
            }
            StateDifference::RolloutSet { document, .. }
            | StateDifference::RolloutRemoved { document, .. } => {
                facts.insert(package_fact(document.package));
            }
            _ => {}
        }
    }
    facts
}

fn outcome(reverted: &RevertedTo) -> Outcome {
    let commits: Vec<String> = reverted.commits.iter().map(ToString::to_string).collect();
    let body = html! {
        @if commits.is_empty() {
            p { "The target has the state of commit " (reverted.to.number) " already." }
        } @else {
            p {
                "The target has the state of commit " (reverted.to.number) " again. New commits: "
                (commits.join(", ")) "."
            }
            (lines(&reverted.lines))
        }
    };
    Outcome::new(body).link("/history", "Show the history")
}
