//! Live rollouts: pausing, resuming, promoting, ending and finishing them.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_protocol::{PackageId, PackageRef};
use packcast_publisher::clock::now;
use packcast_publisher::rollout::{
    ControlPlan, EndPlan, RolloutChanged, RolloutEnded, plan_end, plan_finish, plan_pause,
    plan_promotion, plan_resume,
};
use packcast_publisher::text::time;
use packcast_publisher::{Failure, Target};

use super::address::{END_ROLLOUT, FINISH_ROLLOUT, PAUSE_ROLLOUT, PROMOTE_ROLLOUT, RESUME_ROLLOUT};
use super::assign::{package, package_field};
use super::controls::Control;
use super::input::Input;
use super::ledger::Outcome;
use super::{Change, Planned, Signed, fields};
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::count;

/// Pauses a rollout.
pub(super) struct PauseRollout(PackageRef);

/// Continues a rollout.
pub(super) struct ResumeRollout {
    package: PackageRef,
    after_halt: bool,
}

/// Opens the next wave.
pub(super) struct Promote(PackageRef);

/// Stops a rollout, and withdraws its package.
pub(super) struct End(PackageRef);

/// Makes a rollout a plain assignment.
pub(super) struct Finish(PackageRef);

const AFTER_HALT: &str = "Also if failures have halted the rollout";

/// Returns the words of a command for the rollout of a package.
fn words(verb: &str, package: &PackageRef) -> Vec<String> {
    vec!["rollout".into(), verb.to_owned(), package.to_string()]
}

impl Change for PauseRollout {
    const PATH: &'static str = PAUSE_ROLLOUT;
    const TITLE: &'static str = "Pause a rollout";
    const SECTION: Section = Section::Rollouts;
    const BUTTON: &'static str = "Pause the rollout";
    const ABOUT: &'static str = "No further Packcast agent begins. Programs that run already finish. An \
        OCS agent that was told of the package before deploys it in any case.";
    const EXAMPLE: &'static str = "rollout pause PACKAGE";
    const STOPS: bool = true;

    fn read(input: &Input) -> Result<Self, Failure> {
        package(input).map(Self)
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        Ok(control(plan_pause(target, &self.0).await?, paused))
    }

    fn command(&self) -> Vec<String> {
        words("pause", &self.0)
    }
}

impl Change for ResumeRollout {
    const PATH: &'static str = RESUME_ROLLOUT;
    const TITLE: &'static str = "Resume a rollout";
    const SECTION: Section = Section::Rollouts;
    const BUTTON: &'static str = "Resume the rollout";
    const ABOUT: &'static str = "A rollout that is paused, halted or full continues. After a halt, or if \
        each place is taken, a new round begins: as many devices as the limit of failures may fail again.";
    const EXAMPLE: &'static str = "rollout resume PACKAGE --after-halt";
    const CONTROLS: &'static [Control] = &[("--after-halt", AFTER_HALT)];

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(html! {
            (package_field(input))
            (fields::check(
                input,
                "after-halt",
                AFTER_HALT,
                "Look at the failures first.",
            ))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self {
            package: package(input)?,
            after_halt: input.has("after-halt"),
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = plan_resume(target, &self.package, self.after_halt).await?;
        Ok(control(plan, resumed))
    }

    fn command(&self) -> Vec<String> {
        let mut words = words("resume", &self.package);
        if self.after_halt {
            words.push("--after-halt".to_owned());
        }
        words
    }
}

/// Returns a change of the gate, which nobody signs.
fn control(plan: ControlPlan<'_>, done: fn(&RolloutChanged) -> Markup) -> Planned<'_> {
    let (preview, warnings) = (plan.preview().clone(), plan.warnings().to_vec());
    let planned = Planned::new(preview, Signed::No, move |_, _| {
        async move {
            let changed = plan.perform().await?;
            Ok(shown(done(&changed), changed.package))
        }
        .boxed_local()
    });
    Planned {
        warnings,
        ..planned
    }
}

fn paused(changed: &RolloutChanged) -> Markup {
    html! {
        p {
            @if changed.changed {
                "The rollout of " (changed.name) " is paused."
            } @else {
                "The rollout of " (changed.name) " was paused or halted already."
            }
        }
        (stopped(changed.complete_in_s, changed.told))
    }
}

fn resumed(changed: &RolloutChanged) -> Markup {
    html! {
        p {
            @if changed.changed {
                "The rollout of " (changed.name) " continues."
            } @else {
                "The rollout of " (changed.name) " ran already."
            }
        }
    }
}

impl Change for Promote {
    const PATH: &'static str = PROMOTE_ROLLOUT;
    const TITLE: &'static str = "Open the next wave of a rollout";
    const SECTION: Section = Section::Rollouts;
    const BUTTON: &'static str = "Open the wave";
    const ABOUT: &'static str = "The next wave opens now. The wave before it need not be healthy.";
    const EXAMPLE: &'static str = "rollout promote PACKAGE";

    fn read(input: &Input) -> Result<Self, Failure> {
        package(input).map(Self)
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = plan_promotion(target, &self.0).await?;
        let preview = plan.preview().clone();
        // The time of the signature is not known yet, so the difference is in words.
        let differs = !plan.state_changes().is_empty();
        let line = || {
            format!(
                "rollout: wave {} opens at the time of the signature",
                plan.wave()
            )
        };
        let lines: Vec<String> = differs.then(line).into_iter().collect();
        Ok(Planned::new(
            preview,
            Signed::Lines(lines.into()),
            move |signer, progress| {
                async move {
                    let promoted = plan.perform(signer, &progress).await?;
                    let done = html! {
                        p {
                            @if promoted.changed {
                                "Wave " (promoted.wave) " of the rollout of " (promoted.name) " is open."
                            } @else {
                                "Wave " (promoted.wave) " of the rollout of " (promoted.name)
                                " was open already."
                            }
                        }
                    };
                    Ok(shown(done, promoted.package))
                }
                .boxed_local()
            },
        ))
    }

    fn command(&self) -> Vec<String> {
        words("promote", &self.0)
    }
}

impl Change for End {
    const PATH: &'static str = END_ROLLOUT;
    const TITLE: &'static str = "End a rollout";
    const SECTION: Section = Section::Rollouts;
    const BUTTON: &'static str = "End the rollout";
    const ABOUT: &'static str = "The package is unassigned from the groups of the rollout. Devices that \
        have it keep it. An OCS agent that was told of the package before deploys it in any case.";
    const EXAMPLE: &'static str = "rollout end PACKAGE";
    const STOPS: bool = true;

    fn read(input: &Input) -> Result<Self, Failure> {
        package(input).map(Self)
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        Ok(end(plan_end(target, &self.0).await?, |name| {
            html! { p { "The rollout of " (name) " has ended, and its package is withdrawn." } }
        }))
    }

    fn command(&self) -> Vec<String> {
        words("end", &self.0)
    }
}

impl Change for Finish {
    const PATH: &'static str = FINISH_ROLLOUT;
    const TITLE: &'static str = "Finish a rollout";
    const SECTION: Section = Section::Rollouts;
    const BUTTON: &'static str = "Finish the rollout";
    const ABOUT: &'static str = "The rollout becomes a plain assignment: all other devices of its groups \
        get the package at their next check-in, without waves and without a limit of failures. Devices \
        that have finished it do not act again.";
    const EXAMPLE: &'static str = "rollout finish PACKAGE";

    fn read(input: &Input) -> Result<Self, Failure> {
        package(input).map(Self)
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        Ok(end(plan_finish(target, &self.0).await?, |name| {
            html! { p { "The rollout of " (name) " is finished: the package is a plain assignment." } }
        }))
    }

    fn command(&self) -> Vec<String> {
        words("finish", &self.0)
    }
}

/// Returns the end of a rollout. `done` writes the result for the name of the package.
fn end(plan: EndPlan<'_>, done: fn(&str) -> Markup) -> Planned<'_> {
    let signed = Signed::Changes(plan.state_changes());
    Planned::new(plan.preview().clone(), signed, move |signer, progress| {
        async move {
            let ended: RolloutEnded = plan.perform(signer, &progress).await?;
            let body = html! {
                (done(&ended.name))
                (stopped(ended.complete_in_s, ended.told))
            };
            let path = crate::words::package_path(ended.package);
            Ok(Outcome::new(body).link(path, format!("Package {}", ended.name)))
        }
        .boxed_local()
    })
}

/// Writes the time at which a stop is complete, and the devices that may still act.
fn stopped(complete_in_s: u64, told: u64) -> Markup {
    html! {
        @if complete_in_s > 0 {
            p {
                "From " (time(now().plus(complete_in_s))) " on, no Packcast agent begins with an earlier \
                 permission."
            }
        }
        @if told > 0 {
            p {
                (count(told, "device")) " of all groups were told of the package before, and have not \
                 reported. OCS agents among them deploy it in any case."
            }
        }
    }
}

fn shown(done: Markup, package: PackageId) -> Outcome {
    Outcome::new(done).link(format!("/rollouts/{package}"), "The rollout")
}
