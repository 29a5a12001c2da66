//! The package that the wizard will publish: its plan, its warnings and its time for OCS agents.

use std::sync::Arc;

use packcast_protocol::agent_build::{AGENT_PACKAGE, AgentVersion};
use packcast_protocol::manifest::Platform;
use packcast_protocol::{UnixTime, WindowsTerms};
use packcast_publisher::Failure;
use packcast_publisher::publish::failing_program::failing_program;
use packcast_publisher::publish::ocs_limits;
use packcast_publisher::publish::plan::{PackageTerms, Plan, PublishRequest};
use packcast_publisher::warning::Warning;

use super::fields::read;
use super::options::{Options, field};
use super::task::Task;
use super::wizard::{Checked, Wizard};

impl Wizard {
    /// Returns the plan of the package. The files were read before.
    pub(crate) fn plan(&self, checked: Option<&Arc<Checked>>) -> Result<Plan, Failure> {
        let task = self
            .task
            .ok_or_else(|| Failure::usage("cannot plan the package: choose a task"))?;
        let inspection = checked.map(|checked| &checked.inspection);
        let system = checked.map_or(self.system, |checked| checked.system);
        let request = if task == Task::Update {
            self.update(system)?
        } else {
            self.request(task, system)?
        };
        Ok(request.plan(inspection)?)
    }

    fn request(&self, task: Task, system: Platform) -> Result<PublishRequest, Failure> {
        let options = self.options.for_system(system);
        let (command, folder) = match task {
            Task::Launch => (Some(self.command.launch()), None),
            Task::Execute | Task::Uninstall => (Some(self.command.line.clone()), None),
            Task::Store => (None, Some(self.command.folder.clone())),
            Task::Update => (None, None),
        };
        Ok(PublishRequest {
            name: options.name()?,
            version: options.version()?,
            priority: options.priority()?,
            action: task.action(),
            command,
            folder,
            terms: options.terms(system)?,
        })
    }

    /// Returns the same request as `packcast publish-agent`.
    fn update(&self, system: Platform) -> Result<PublishRequest, Failure> {
        let version: AgentVersion = read(field::VERSION, &self.options.version)?;
        let defaults = Options::default().terms(system)?;
        Ok(PublishRequest {
            name: AGENT_PACKAGE.parse().map_err(Failure::usage)?,
            version: read(field::VERSION, &version.to_string())?,
            priority: self.options.priority()?,
            action: Task::Update.action(),
            command: None,
            folder: None,
            terms: PackageTerms {
                // No program runs, so the time has no effect.
                timeout_s: 3_600,
                windows: WindowsTerms::default(),
                ..defaults
            },
        })
    }
}

impl Options {
    /// Returns the options without those that the page of the system does not have.
    pub(crate) fn for_system(&self, system: Platform) -> Self {
        let mut options = self.clone();
        if !has_windows(system) {
            let Self {
                notify,
                notify_done,
                not_before,
                afterwards,
                ..
            } = &mut options;
            for text in [notify, notify_done, not_before, afterwards] {
                text.clear();
            }
        }
        options
    }
}

/// Returns true if devices with Windows can get the package.
pub(crate) const fn has_windows(system: Platform) -> bool {
    matches!(system, Platform::Any | Platform::Windows)
}

/// Returns the warnings of `packcast publish` for a plan.
pub(crate) fn warnings(plan: &Plan, checked: Option<&Arc<Checked>>, now: UnixTime) -> Vec<Warning> {
    let inspection = checked.map(|checked| &checked.inspection);
    let of_contents = inspection.into_iter().flat_map(|it| it.contents.warnings());
    let of_program = failing_program(plan, inspection).into_iter();
    let of_ocs = ocs_limits::warnings(plan, inspection, now).into_iter();
    of_contents
        .chain(of_program.map(|it| Warning::new(it.to_string())))
        .chain(of_ocs.map(|it| Warning::new(it.to_string())))
        .collect()
}
