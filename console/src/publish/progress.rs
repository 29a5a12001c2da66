//! Pages of work in the background. They change by themselves, also without JavaScript.

use std::sync::Arc;

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::command_line::lines;
use super::found::{found, redirect};
use super::gauge::{Gauge, Level};
use super::step::{START, Step, next};
use super::wizard::{Job, Wizard};
use super::wizards::WizardId;
use crate::app::App;
use crate::command::CommandLine;
use crate::layout::{Section, View};
use crate::progress::{events, place};
use crate::visit::Visit;
use crate::words::package_path;

/// The page that follows the reading of the files.
#[derive(Deserialize)]
pub(crate) struct Then {
    to: Option<String>,
}

pub(crate) fn path(id: WizardId) -> String {
    format!("{START}/{id}/progress")
}

/// Returns the address of the page while the files are read, before a step.
pub(crate) fn reading_path(id: WizardId, step: Step) -> String {
    format!("{START}/{id}/reading?to={}", step.value())
}

/// Shows the reading of the files, and goes on when they are read.
pub(crate) async fn reading(
    visit: Visit,
    Path(id): Path<String>,
    Query(then): Query<Then>,
) -> Response {
    let (id, wizard) = match found(&visit, &id) {
        Ok(found) => found,
        Err(error) => return visit.answer(Err(error)),
    };
    let Some(gauge) = read_gauge(&wizard) else {
        let step = then.to.as_deref().and_then(Step::of_value);
        let step = step.unwrap_or_else(|| next(wizard.task, Step::File));
        return redirect(&step.path(id));
    };
    let about = "The archive is read as an agent reads it, before anything is uploaded.";
    let commands = lines(&wizard, visit.app.commands());
    let view = view(id, "Reading the files", about, gauge.level(), commands);
    visit.answer(Ok(view))
}

/// Shows the publication, and goes on to the package at its end.
pub(crate) async fn publishing(visit: Visit, Path(id): Path<String>) -> Response {
    let (id, wizard) = match found(&visit, &id) {
        Ok(found) => found,
        Err(error) => return visit.answer(Err(error)),
    };
    match &wizard.job {
        Job::Running(gauge) => {
            let about = "The publication goes on if you leave this page. Keep the console running: \
                         its end interrupts the publication, and the same package can be published \
                         again to continue.";
            let commands = lines(&wizard, visit.app.commands());
            let view = view(id, "Publishing", about, gauge.level(), commands);
            visit.answer(Ok(view))
        }
        Job::Done(package) => redirect(&package_path(*package)),
        Job::None | Job::Failed(_) => redirect(&Step::Summary.path(id)),
    }
}

fn read_gauge(wizard: &Wizard) -> Option<&Arc<Gauge>> {
    let check = wizard.check.as_ref()?;
    check.outcome.is_none().then_some(&check.gauge)
}

fn view(id: WizardId, title: &str, about: &str, level: Level, commands: Vec<CommandLine>) -> View {
    View {
        title: title.to_owned(),
        section: Some(Section::Packages),
        commands,
        body: html! {
            (place(&format!("{START}/{id}/live"), level))
            p.soft { (about) }
            p { a href="/packages" { "Go to the packages" } }
        },
    }
}

/// Sends the progress after each change, and an event at its end.
pub(crate) async fn live(visit: Visit, Path(id): Path<String>) -> Response {
    match found(&visit, &id) {
        Ok((id, _)) => events(visit.app, move |app| level(app, id)),
        Err(error) => visit.answer(Err(error)),
    }
}

/// Returns the progress of the work; `None` if nothing is under way.
fn level(app: &App, id: WizardId) -> Option<Level> {
    let wizard = app.wizards().get(id)?;
    match &wizard.job {
        Job::Running(gauge) => Some(gauge.level()),
        _ => read_gauge(&wizard).map(|gauge| gauge.level()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_work_comes_again_without_a_script() {
        let id = "7".parse().unwrap();
        let level = Level::default();
        let view = view(id, "Publishing", "about", level, Vec::new());
        let page = view.body.into_string();
        for text in [
            "data-live=\"/publish/7/live\"",
            "<noscript><meta http-equiv=\"refresh\" content=\"3\">",
            "Reload the page",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert_eq!(path(id), "/publish/7/progress");
        assert_eq!(
            reading_path(id, Step::Summary),
            "/publish/7/reading?to=summary"
        );
    }
}
