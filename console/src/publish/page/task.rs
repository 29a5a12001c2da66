//! The step with the task of the package.

use maud::{Markup, html};

use super::super::step::Step;
use super::super::task::Task;
use super::{Context, radio, token};

pub(super) fn content(context: &Context<'_>) -> Markup {
    let commands = context.visit.app.commands();
    let chosen = context.wizard.task.unwrap_or(Task::Launch);
    html! {
        form.steps method="post" action=(Step::Task.path(context.id)) {
            (token(&context.visit.form))
            fieldset {
                legend { "Action on the device" }
                @for task in Task::ALL {
                    (radio("task", task.value(), task.label(), &commands.in_text(task.about()), task == chosen))
                }
            }
            button { "Next" }
        }
    }
}
