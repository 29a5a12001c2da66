//! Dry runs, and the question before a change of several devices.

use indicatif::HumanCount;
use packcast_publisher::status::ExampleDevice;
use packcast_publisher::text::for_options;
use packcast_publisher::{Failure, Preview};
use serde::Serialize;

use crate::globals::Globals;
use crate::{output, prompt};

/// The options of commands that can change several devices.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ConfirmArgs {
    /// Only show the effect of the command: change nothing, and read no key
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before a change of several devices
    #[arg(long)]
    yes: bool,
}

/// The result of a dry run.
#[derive(Debug, Serialize)]
struct DryRun<'a, T> {
    #[serde(flatten)]
    effect: &'a T,
    /// The command that makes the change, and the next useful one.
    next: Vec<String>,
}

impl ConfirmArgs {
    /// Returns true if the command is to make the change.
    ///
    /// Prints the result of a dry run. Asks a person at a terminal before a change of several
    /// devices; without a terminal, nothing is asked.
    ///
    /// # Errors
    /// The person answered no, or pressed Ctrl-C.
    pub(crate) fn is_agreed(self, globals: &Globals, preview: &Preview) -> Result<bool, Failure> {
        if self.shows_dry_run(globals, preview, text) {
            return Ok(false);
        }
        if self.may_ask() && preview.devices > 1 {
            ask(&question(preview))?;
        }
        Ok(true)
    }

    /// Returns true if the command is to make the change, as [`Self::is_agreed`] does, but also asks a
    /// person before a change that no device notices yet.
    ///
    /// # Errors
    /// The person answered no, or pressed Ctrl-C.
    pub(crate) fn is_agreed_without_devices(
        self,
        globals: &Globals,
        preview: &Preview,
    ) -> Result<bool, Failure> {
        if preview.devices == 0 && !self.dry_run && self.may_ask() {
            ask(&question(preview))?;
            return Ok(true);
        }
        self.is_agreed(globals, preview)
    }

    /// Prints the effect of a command, and returns true, if the command is only to show its effect.
    pub(crate) fn shows_dry_run<T: Serialize>(
        self,
        globals: &Globals,
        effect: &T,
        text: impl FnOnce(&T) -> String,
    ) -> bool {
        if self.dry_run {
            let next = globals.invocation.after_dry_run().into_iter();
            let options = globals.target_options();
            let next = next.map(|line| for_options(&format!("'packcast {line}'"), &options));
            let result = DryRun {
                effect,
                next: next
                    .map(|line| line.trim_matches('\'').to_owned())
                    .collect(),
            };
            output::result(globals.format, &result, |result| text(result.effect));
        }
        self.dry_run
    }

    /// Returns true if the command is to make the change, as [`Self::is_agreed`] does, for a command
    /// that stops something in an emergency.
    ///
    /// The preview is read only for a dry run or a question. If it cannot be read, the question is
    /// asked without the number of devices.
    ///
    /// # Errors
    /// The person answered no, or pressed Ctrl-C, or the preview of a dry run cannot be read.
    pub(crate) async fn is_agreed_to_stop(
        self,
        globals: &Globals,
        effect: &str,
        preview: impl Future<Output = Result<Preview, Failure>>,
    ) -> Result<bool, Failure> {
        if self.dry_run {
            return self.is_agreed(globals, &preview.await?);
        }
        if !self.may_ask() {
            return Ok(true);
        }
        if let Ok(preview) = preview.await {
            return self.is_agreed(globals, &preview);
        }
        ask(&question_without_number(effect))?;
        Ok(true)
    }

    /// Asks a person at a terminal a question before a change, if there is one.
    ///
    /// # Errors
    /// The person answered no, or pressed Ctrl-C.
    pub(crate) fn agree(self, question: Option<&str>) -> Result<(), Failure> {
        match question {
            Some(question) if self.may_ask() => ask(question),
            _ => Ok(()),
        }
    }

    /// Returns true if a person can be asked, and wants to be.
    fn may_ask(self) -> bool {
        !self.yes && output::is_interactive()
    }

    /// Returns true if the command is only to show its effect.
    pub(crate) const fn is_dry_run(self) -> bool {
        self.dry_run
    }
}

/// Returns the error after the answer no to a question.
pub(crate) fn declined() -> Failure {
    Failure::failed("nothing was changed: the answer was no")
}

/// Asks a person for an agreement. The answer no is an error.
fn ask(question: &str) -> Result<(), Failure> {
    if prompt::confirm(question)? {
        Ok(())
    } else {
        Err(declined())
    }
}

fn question_without_number(effect: &str) -> String {
    let effect = output::printable(effect);
    format!("{effect}: an unknown number of devices. Continue?")
}

fn question(preview: &Preview) -> String {
    let effect = output::printable(&preview.effect);
    format!("{effect}: {}. Continue?", devices(preview))
}

fn text(preview: &Preview) -> String {
    let groups = preview.groups.iter();
    let groups: Vec<String> = groups
        .map(|at| format!("{} ({})", at.group, counted(at.devices)))
        .collect();
    output::fields([
        ("dry run", preview.effect.clone()),
        ("packages", preview.packages.join(", ")),
        ("groups", groups.join(", ")),
        ("devices", devices(preview)),
    ])
}

/// Writes the number of devices, and names some of them.
fn devices(preview: &Preview) -> String {
    let at_most = if preview.at_most { "at most " } else { "" };
    let number = format!("{at_most}{}", counted(preview.devices));
    let names = names(&preview.examples);
    if names.is_empty() {
        number
    } else if preview.examples.len() as u64 == preview.devices {
        format!("{number} ({names})")
    } else {
        format!("{number}, such as {names}")
    }
}

/// Writes a number of devices, such as `4,120 devices`.
pub(crate) fn counted(devices: u64) -> String {
    match devices {
        1 => "1 device".to_owned(),
        _ => format!("{} devices", HumanCount(devices)),
    }
}

/// Names devices by their host names, or else by their ids.
pub(crate) fn names(devices: &[ExampleDevice]) -> String {
    let names = devices.iter().map(|at| {
        if at.host_name.is_empty() {
            at.device.to_string()
        } else {
            output::printable(&at.host_name)
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_publisher::status::GroupSize;

    use super::*;
    use crate::fixtures::{self, AGENT, OCS};

    fn preview() -> Preview {
        Preview {
            effect: "Assigns 7zip@26.0 to groups lab, office".to_owned(),
            packages: vec!["7zip@26.0".to_owned()],
            groups: [("lab", 4_000), ("office", 120)]
                .map(|(group, devices)| GroupSize {
                    group: group.parse().unwrap(),
                    devices,
                })
                .into(),
            devices: 4_120,
            at_most: true,
            examples: Vec::new(),
        }
    }

    fn of_devices(devices: u64) -> Preview {
        let example = |device: &str, host_name: &str| ExampleDevice {
            device: device.parse().unwrap(),
            host_name: host_name.to_owned(),
        };
        Preview {
            effect: "Assigns 7zip@26.0".to_owned(),
            groups: Vec::new(),
            devices,
            at_most: false,
            examples: vec![example(OCS, "web01"), example(AGENT, "")],
            ..preview()
        }
    }

    #[test]
    fn a_question_has_the_number_of_devices() {
        let mut of_one = preview();
        (of_one.effect, of_one.at_most) = ("Assigns 7zip@26.0 to group lab".to_owned(), false);
        let questions = [of_one, preview(), of_devices(2), of_devices(1_000)];
        let questions = questions.map(|preview| question(&preview));
        assert_snapshot!(questions.join("\n"), @"
        Assigns 7zip@26.0 to group lab: 4,120 devices. Continue?
        Assigns 7zip@26.0 to groups lab, office: at most 4,120 devices. Continue?
        Assigns 7zip@26.0: 2 devices (web01, key:abcdefghijklmnopqrstuvwxya). Continue?
        Assigns 7zip@26.0: 1,000 devices, such as web01, key:abcdefghijklmnopqrstuvwxya. Continue?
        ");
        assert_snapshot!(question_without_number("Pauses target prod"), @"Pauses target prod: an unknown number of devices. Continue?");
        assert_snapshot!(declined(), @"
        nothing was changed: the answer was no
        ");
        assert_eq!(counted(1), "1 device");
    }

    #[tokio::test]
    async fn a_stop_depends_on_no_preview() {
        let globals = fixtures::globals();
        let yes = ConfirmArgs {
            dry_run: false,
            yes: true,
        };
        let unread = async { panic!("a stop without a question reads no preview") };
        let agreed = yes.is_agreed_to_stop(&globals, "Pauses target prod", unread);
        assert!(agreed.await.unwrap());

        let dry_run = ConfirmArgs {
            dry_run: true,
            yes: true,
        };
        let broken = async { Err(Failure::failed("cannot read a count")) };
        let shown = dry_run.is_agreed_to_stop(&globals, "Pauses target prod", broken);
        assert_snapshot!(shown.await.unwrap_err(), @"cannot read a count");
    }

    #[test]
    fn a_dry_run_shows_the_effect() {
        assert_snapshot!(text(&preview()), @"
        dry run   Assigns 7zip@26.0 to groups lab, office
        packages  7zip@26.0
        groups    lab (4,000 devices), office (120 devices)
        devices   at most 4,120 devices
        ");
        assert_snapshot!(text(&of_devices(3)), @"
        dry run   Assigns 7zip@26.0
        packages  7zip@26.0
        devices   3 devices, such as web01, key:abcdefghijklmnopqrstuvwxya
        ");
        let result = DryRun {
            effect: &of_devices(2),
            next: vec!["packcast assign 7zip@26.0 --device web01".to_owned()],
        };
        assert_snapshot!(serde_json::to_string_pretty(&result).unwrap(), @r#"
        {
          "effect": "Assigns 7zip@26.0",
          "packages": [
            "7zip@26.0"
          ],
          "groups": [],
          "devices": 2,
          "at_most": false,
          "examples": [
            {
              "device": "ocs:web01-2026-03-04-05-06-07",
              "host_name": "web01"
            },
            {
              "device": "key:abcdefghijklmnopqrstuvwxya",
              "host_name": ""
            }
          ],
          "next": [
            "packcast assign 7zip@26.0 --device web01"
          ]
        }
        "#);
    }
}
