//! The status of a rollout as a sentence, with the change that continues the rollout.

use packcast_publisher::rollout::RolloutSummary;
use packcast_publisher::text::time;
use packcast_rollout::rollout::GateStatus;

use crate::app::App;
use crate::change::address::{END_ROLLOUT, FINISH_ROLLOUT, PROMOTE_ROLLOUT, RESUME_ROLLOUT};
use crate::change::links::ChangeLink;
use crate::command::CommandLine;
use crate::words::{count, grouped};

/// A change that continues or ends a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RolloutStep {
    Resume,
    ResumeAfterHalt,
    Promote,
    Finish,
    End,
}

impl RolloutStep {
    /// Returns the text of the button.
    const fn button(self) -> &'static str {
        match self {
            Self::Resume | Self::ResumeAfterHalt => "Resume",
            Self::Promote => "Open the next wave",
            Self::Finish => "Finish",
            Self::End => "End",
        }
    }

    /// Returns the link to the form of the change. `package` is the id of the package.
    pub(crate) fn link(self, package: &str) -> ChangeLink<'_> {
        let path = match self {
            Self::Resume | Self::ResumeAfterHalt => RESUME_ROLLOUT,
            Self::Promote => PROMOTE_ROLLOUT,
            Self::Finish => FINISH_ROLLOUT,
            Self::End => END_ROLLOUT,
        };
        let mut link = ChangeLink::new(path, self.button(), &[("package", package)]);
        if self == Self::ResumeAfterHalt {
            link.fields.push(("after-halt", "on"));
        }
        link
    }

    /// Returns the words of the command that makes the same change.
    fn command(self, name: &str) -> Vec<&str> {
        let verb = match self {
            Self::Resume | Self::ResumeAfterHalt => "resume",
            Self::Promote => "promote",
            Self::Finish => "finish",
            Self::End => "end",
        };
        let option = (self == Self::ResumeAfterHalt).then_some("--after-halt");
        ["rollout", verb, name].into_iter().chain(option).collect()
    }
}

/// Returns the change that continues a rollout; `None` if the rollout needs nobody.
pub(crate) fn step(rollout: &RolloutSummary) -> Option<RolloutStep> {
    let Some(status) = &rollout.gate_status else {
        return Some(RolloutStep::End);
    };
    match status {
        GateStatus::Running | GateStatus::Working { .. } | GateStatus::Opens { .. } => None,
        GateStatus::NoTime { .. } => Some(RolloutStep::Promote),
        GateStatus::NothingBegun { .. }
        | GateStatus::NotBegun { .. }
        | GateStatus::Unhealthy { .. } => Some(without_devices(rollout)),
        GateStatus::Full { .. } | GateStatus::Paused | GateStatus::Restored => {
            Some(RolloutStep::Resume)
        }
        GateStatus::Halted { .. } => Some(RolloutStep::ResumeAfterHalt),
        GateStatus::Ended => Some(RolloutStep::End),
        GateStatus::Complete => Some(RolloutStep::Finish),
    }
}

/// Returns the change that goes on although devices are missing.
fn without_devices(rollout: &RolloutSummary) -> RolloutStep {
    let latest = rollout.wave.map(|wave| usize::from(wave.get()));
    if latest.is_some_and(|wave| wave >= rollout.waves) {
        RolloutStep::Finish
    } else {
        RolloutStep::Promote
    }
}

/// Returns the command line of the change that continues a rollout.
pub(crate) fn command(rollout: &RolloutSummary, app: &App) -> Option<CommandLine> {
    let words = step(rollout)?.command(&rollout.name);
    Some(app.commands().line(words))
}

/// Writes the status of a rollout as a sentence: the reason for which it waits, and the button that
/// continues it. A read-only console has no buttons, so it names the command.
pub(crate) fn sentence(rollout: &RolloutSummary, app: &App) -> String {
    let mut sentence = status_sentence(rollout, app.is_read_only());
    if rollout.may_be_complete {
        sentence.push_str(
            " The sizes of its groups are not read here: if every device is healthy, it is complete.",
        );
    }
    app.commands().in_text(&sentence)
}

fn status_sentence(rollout: &RolloutSummary, is_read_only: bool) -> String {
    let reason = reason(rollout);
    let Some(step) = step(rollout) else {
        return reason;
    };
    let step_in_words = if is_read_only {
        format!("'packcast {}'", step.command(&rollout.name).join(" "))
    } else {
        format!("“{}”", step.button())
    };
    match (&rollout.gate_status, effect(step, rollout)) {
        (Some(GateStatus::Ended), effect) => {
            format!("{reason} If the package is still assigned, {step_in_words} {effect}.")
        }
        (_, effect) => format!("{reason} {step_in_words} {effect}."),
    }
}

/// Returns the reason for which a rollout waits, or its progress.
fn reason(rollout: &RolloutSummary) -> String {
    let Some(status) = &rollout.gate_status else {
        return "No device begins: the table has lost the gate.".to_owned();
    };
    match status {
        GateStatus::Running => format!(
            "{} of {} that have begun are healthy.",
            grouped(rollout.healthy.into()),
            count(rollout.begun.into(), "device")
        ),
        GateStatus::Working { unhealthy } => format!(
            "{} of {} are healthy, and {} not settled yet.",
            grouped(rollout.healthy.into()),
            count(rollout.begun.into(), "device"),
            grouped((*unhealthy).into())
        ),
        GateStatus::Opens { wave, at } => format!("Wave {wave} opens {}.", time(*at)),
        GateStatus::NoTime { wave } => format!("Wave {wave} is closed."),
        GateStatus::NothingBegun { wave } => format!("No device of wave {wave} has begun."),
        GateStatus::NotBegun { devices } => format!(
            "The last wave has gone well. Devices that have not begun: {}.",
            grouped((*devices).into())
        ),
        GateStatus::Unhealthy { failed, silent } => {
            format!("The next wave waits: {}.", unhealthy(*failed, *silent))
        }
        GateStatus::Full { failed, silent } => {
            format!("Each place is taken: {}.", unhealthy(*failed, *silent))
        }
        GateStatus::Halted { failed } => format!(
            "{} failed, so no further device begins.",
            count((*failed).into(), "device")
        ),
        GateStatus::Paused => "A person has paused it.".to_owned(),
        GateStatus::Restored => "The table was restored from a back-up.".to_owned(),
        GateStatus::Ended => "A person has ended it.".to_owned(),
        GateStatus::Complete => "The last wave has gone well.".to_owned(),
    }
}

/// Returns the effect of the change that continues a rollout, as the end of a sentence.
const fn effect(step: RolloutStep, rollout: &RolloutSummary) -> &'static str {
    match (step, &rollout.gate_status) {
        (RolloutStep::Resume, Some(GateStatus::Full { .. })) => "frees the places",
        (RolloutStep::Resume, _) => "continues",
        (RolloutStep::ResumeAfterHalt, _) => "continues with a new round",
        (RolloutStep::Promote, Some(GateStatus::NoTime { .. })) => "opens it",
        (RolloutStep::Promote, _) => "goes on without them",
        (RolloutStep::Finish, Some(GateStatus::Complete)) => "makes it a plain assignment",
        (RolloutStep::Finish, _) => "gives the package to all other devices without the gate",
        (RolloutStep::End, Some(_)) => "withdraws it",
        (RolloutStep::End, None) => "ends the rollout",
    }
}

fn unhealthy(failed: u32, silent: u32) -> String {
    let parts = [
        (failed > 0).then(|| format!("{} failed", count(failed.into(), "device"))),
        (silent > 0).then(|| format!("{} not heard from", count(silent.into(), "device"))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use packcast_protocol::state::RolloutId;

    use super::*;

    fn summary(gate_status: Option<GateStatus>) -> RolloutSummary {
        RolloutSummary {
            rollout: RolloutId::from_bytes([1; 16]),
            package: 1_795_000_000.try_into().unwrap(),
            name: "vlc@3".to_owned(),
            groups: Vec::new(),
            devices: 0,
            status: "",
            wave: None,
            waves: 3,
            begun: 20,
            healthy: 14,
            failed: 3,
            gate_status,
            may_be_complete: false,
        }
    }

    fn all() -> Vec<RolloutSummary> {
        let wave = 2.try_into().unwrap();
        let at = UnixTime(1_795_000_000);
        let (failed, silent) = (0, 3);
        let unhealthy = GateStatus::Unhealthy { failed, silent };
        let statuses = [
            Some(GateStatus::Running),
            Some(GateStatus::Working { unhealthy: 3 }),
            Some(GateStatus::NotBegun { devices: 12 }),
            Some(GateStatus::Opens { wave, at }),
            Some(GateStatus::NoTime { wave }),
            Some(GateStatus::NothingBegun { wave }),
            Some(unhealthy.clone()),
            Some(GateStatus::Full {
                failed: 1,
                silent: 2,
            }),
            Some(GateStatus::Halted { failed: 3 }),
            Some(GateStatus::Paused),
            Some(GateStatus::Restored),
            Some(GateStatus::Ended),
            Some(GateStatus::Complete),
            None,
        ];
        let mut all: Vec<RolloutSummary> = statuses.into_iter().map(summary).collect();
        all.push(RolloutSummary {
            wave: Some(3.try_into().unwrap()),
            ..summary(Some(unhealthy))
        });
        all
    }

    #[test]
    fn each_status_names_the_button_that_continues() {
        let sentences = all()
            .iter()
            .map(|it| status_sentence(it, false))
            .collect::<Vec<_>>();
        insta::assert_snapshot!(sentences.join("\n"), @"
        14 of 20 devices that have begun are healthy.
        14 of 20 devices are healthy, and 3 not settled yet.
        The last wave has gone well. Devices that have not begun: 12. “Open the next wave” goes on without them.
        Wave 2 opens 2026-11-18 11:06:40 UTC.
        Wave 2 is closed. “Open the next wave” opens it.
        No device of wave 2 has begun. “Open the next wave” goes on without them.
        The next wave waits: 3 devices not heard from. “Open the next wave” goes on without them.
        Each place is taken: 1 device failed, 2 devices not heard from. “Resume” frees the places.
        3 devices failed, so no further device begins. “Resume” continues with a new round.
        A person has paused it. “Resume” continues.
        The table was restored from a back-up. “Resume” continues.
        A person has ended it. If the package is still assigned, “End” withdraws it.
        The last wave has gone well. “Finish” makes it a plain assignment.
        No device begins: the table has lost the gate. “End” ends the rollout.
        The next wave waits: 3 devices not heard from. “Finish” gives the package to all other devices without the gate.
        ");
    }

    #[test]
    fn a_read_only_console_names_the_command_that_continues() {
        let sentences = all()
            .iter()
            .map(|it| status_sentence(it, true))
            .collect::<Vec<_>>();
        insta::assert_snapshot!(sentences.join("\n"), @"
        14 of 20 devices that have begun are healthy.
        14 of 20 devices are healthy, and 3 not settled yet.
        The last wave has gone well. Devices that have not begun: 12. 'packcast rollout promote vlc@3' goes on without them.
        Wave 2 opens 2026-11-18 11:06:40 UTC.
        Wave 2 is closed. 'packcast rollout promote vlc@3' opens it.
        No device of wave 2 has begun. 'packcast rollout promote vlc@3' goes on without them.
        The next wave waits: 3 devices not heard from. 'packcast rollout promote vlc@3' goes on without them.
        Each place is taken: 1 device failed, 2 devices not heard from. 'packcast rollout resume vlc@3' frees the places.
        3 devices failed, so no further device begins. 'packcast rollout resume vlc@3 --after-halt' continues with a new round.
        A person has paused it. 'packcast rollout resume vlc@3' continues.
        The table was restored from a back-up. 'packcast rollout resume vlc@3' continues.
        A person has ended it. If the package is still assigned, 'packcast rollout end vlc@3' withdraws it.
        The last wave has gone well. 'packcast rollout finish vlc@3' makes it a plain assignment.
        No device begins: the table has lost the gate. 'packcast rollout end vlc@3' ends the rollout.
        The next wave waits: 3 devices not heard from. 'packcast rollout finish vlc@3' gives the package to all other devices without the gate.
        ");
    }

    #[test]
    fn the_button_and_the_command_make_the_same_change() {
        let steps = [
            RolloutStep::Resume,
            RolloutStep::ResumeAfterHalt,
            RolloutStep::Promote,
            RolloutStep::Finish,
            RolloutStep::End,
        ];
        let lines = steps.map(|step| {
            let ChangeLink { path, name, fields } = step.link("7");
            format!(
                "{name}: {path} {fields:?}: {}",
                step.command("vlc@3").join(" ")
            )
        });
        insta::assert_snapshot!(lines.join("\n"), @r#"
        Resume: /change/resume-rollout [("package", "7")]: rollout resume vlc@3
        Resume: /change/resume-rollout [("package", "7"), ("after-halt", "on")]: rollout resume vlc@3 --after-halt
        Open the next wave: /change/promote-rollout [("package", "7")]: rollout promote vlc@3
        Finish: /change/finish-rollout [("package", "7")]: rollout finish vlc@3
        End: /change/end-rollout [("package", "7")]: rollout end vlc@3
        "#);
    }
}
