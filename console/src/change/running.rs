//! The progress of a change, on the page of its result.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};

use super::address::result_path;
use super::ledger::BegunChange;
use crate::app::App;
use crate::page_error::named;
use crate::progress::{events, place};
use crate::publish::gauge::Level;
use crate::visit::Visit;

/// Writes the progress of a change.
pub(super) fn running(change: &BegunChange) -> Markup {
    let path = format!("{}/live", result_path(change.number));
    html! {
        p.notice role="status" {
            "The change is being made. It goes on if you leave this page."
        }
        (place(&path, change.work.level()))
    }
}

/// Sends the progress of a change after each step, and an event at its end.
pub(super) async fn live(visit: Visit, Path(number): Path<String>) -> Response {
    match named(&number, "change") {
        Ok(number) => events(visit.app, move |app| level(app, number)),
        Err(error) => visit.answer(Err(error)),
    }
}

/// Returns the progress of a change; `None` if it does not run any more.
fn level(app: &App, number: u64) -> Option<Level> {
    let ledger = app.ledger();
    let change = ledger.change(number)?;
    change.is_running().then(|| change.work.level())
}
