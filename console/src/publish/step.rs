//! The steps of the wizard, and their order for each task.

use super::task::{FileNeed, Task};
use super::wizard::Wizard;
use super::wizards::WizardId;

/// The address of the wizard.
pub(crate) const START: &str = "/publish";

/// A step of the wizard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    System,
    Task,
    File,
    Command,
    Options,
    Summary,
}

impl Step {
    const ALL: [Self; 6] = [
        Self::System,
        Self::Task,
        Self::File,
        Self::Command,
        Self::Options,
        Self::Summary,
    ];

    /// Returns the last part of the address.
    pub(crate) const fn value(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Task => "task",
            Self::File => "file",
            Self::Command => "command",
            Self::Options => "options",
            Self::Summary => "summary",
        }
    }

    pub(crate) fn of_value(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.value() == value)
    }

    pub(crate) fn path(self, id: WizardId) -> String {
        format!("{START}/{id}/{}", self.value())
    }

    /// Returns the name of the step for a task.
    pub(crate) const fn name(self, task: Option<Task>) -> &'static str {
        match (self, task) {
            (Self::System, _) => "System",
            (Self::Task, _) => "Action",
            (Self::File, Some(Task::Update)) => "Programs",
            (Self::File, _) => "File",
            (Self::Command, Some(Task::Store)) => "Folder",
            (Self::Command, Some(Task::Launch)) => "Program",
            (Self::Command, _) => "Command",
            (Self::Options, _) => "Options",
            (Self::Summary, _) => "Summary",
        }
    }
}

/// Returns the steps of a task in their order.
pub(crate) fn steps(task: Option<Task>) -> Vec<Step> {
    let has_file = task.is_none_or(|task| task.needs() != FileNeed::None);
    let has_command = task != Some(Task::Update);
    let is_of_task = |step: &Step| match step {
        Step::File => has_file,
        Step::Command => has_command,
        _ => true,
    };
    Step::ALL.into_iter().filter(is_of_task).collect()
}

/// Returns the step after another one.
pub(crate) fn next(task: Option<Task>, step: Step) -> Step {
    let steps = steps(task);
    let place = steps.iter().position(|it| *it == step);
    let next = place.and_then(|place| steps.get(place + 1));
    next.copied().unwrap_or(Step::Summary)
}

/// Returns the first step before `step` that misses something; `None` if nothing is missing.
pub(crate) fn missing_before(wizard: &Wizard, step: Step) -> Option<Step> {
    let steps = steps(wizard.task);
    let before = steps.into_iter().take_while(|it| *it != step);
    before.into_iter().find(|step| is_missing(wizard, *step))
}

fn is_missing(wizard: &Wizard, step: Step) -> bool {
    let command = &wizard.command;
    match step {
        Step::System | Step::Summary => false,
        Step::Task => wizard.task.is_none(),
        Step::File => match wizard.task.map(Task::needs) {
            Some(FileNeed::One | FileNeed::Several) => wizard.files.is_empty(),
            _ => false,
        },
        Step::Command => match wizard.task {
            Some(Task::Launch) => command.program.is_empty(),
            Some(Task::Execute | Task::Uninstall) => command.line.is_empty(),
            Some(Task::Store) => command.folder.is_empty(),
            Some(Task::Update) | None => false,
        },
        Step::Options => {
            let options = &wizard.options;
            let has_name = wizard.task == Some(Task::Update) || !options.name.is_empty();
            !has_name || options.version.is_empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::manifest::Platform;

    use super::*;

    #[test]
    fn each_task_has_its_steps() {
        let tasks = Task::ALL.map(|task| {
            let steps = steps(Some(task));
            let names = steps.into_iter().map(|step| step.name(Some(task)));
            names.collect::<Vec<_>>().join(", ")
        });
        insta::assert_snapshot!(tasks.join("\n"), @"
        System, Action, File, Program, Options, Summary
        System, Action, File, Command, Options, Summary
        System, Action, File, Folder, Options, Summary
        System, Action, Command, Options, Summary
        System, Action, Programs, Options, Summary
        ");
        assert_eq!(next(Some(Task::Uninstall), Step::Task), Step::Command);
        assert_eq!(next(Some(Task::Update), Step::File), Step::Options);
        assert_eq!(next(None, Step::Summary), Step::Summary);
    }

    #[test]
    fn a_step_needs_the_steps_before_it() {
        let mut wizard = Wizard::new(Platform::Any);
        assert_eq!(missing_before(&wizard, Step::Task), None);
        assert_eq!(missing_before(&wizard, Step::Summary), Some(Step::Task));
        wizard.task = Some(Task::Launch);
        assert_eq!(missing_before(&wizard, Step::Summary), Some(Step::File));
        wizard.task = Some(Task::Execute);
        assert_eq!(missing_before(&wizard, Step::Options), Some(Step::Command));
        wizard.command.line = "true".to_owned();
        assert_eq!(missing_before(&wizard, Step::Summary), Some(Step::Options));
        wizard.options.name = "x".to_owned();
        wizard.options.version = "1".to_owned();
        assert_eq!(missing_before(&wizard, Step::Summary), None);
    }
}
