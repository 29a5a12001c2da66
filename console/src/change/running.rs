//! A change that runs, as its page shows it: the page changes by itself, also without JavaScript.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Path;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use maud::{Markup, html};

use super::address::result_path;
use super::ledger::BegunChange;
use crate::app::App;
use crate::page_error::named;
use crate::publish::gauge::Level;
use crate::visit::Visit;

/// The pause between two looks at the progress.
const PAUSE: Duration = Duration::from_millis(300);

/// Writes the progress of a change.
pub(super) fn running(change: &BegunChange) -> Markup {
    let path = result_path(change.number);
    html! {
        p.notice role="status" {
            "The change is being made. It goes on if you leave this page."
        }
        div #live data-live={ (path) "/live" } { (change.work.level().bar()) }
        p #live-note role="status" {}
        p.hidden #live-summary role="status" {}
        // Without the script, the page comes again by itself.
        noscript {
            meta http-equiv="refresh" content="3";
            p { a href=(path) { "Reload the page" } " to see the progress." }
        }
    }
}

/// Sends the progress of a change after each step, and an event at its end.
pub(super) async fn live(visit: Visit, Path(number): Path<String>) -> Response {
    let number = match named(&number, "change") {
        Ok(number) => number,
        Err(error) => return visit.answer(Err(error)),
    };
    let watched = Watched {
        app: visit.app.clone(),
        number,
        last: None,
        is_over: false,
    };
    let events = stream::unfold(watched, |watched| async move {
        let (event, watched) = watched.next().await?;
        Some((Ok::<_, Infallible>(event), watched))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// A change that a page watches.
struct Watched {
    app: App,
    number: u64,
    last: Option<Level>,
    is_over: bool,
}

impl Watched {
    /// Returns the next event; `None` after the last one.
    async fn next(mut self) -> Option<(Event, Self)> {
        if self.is_over {
            return None;
        }
        let (mut ended, mut ends) = (self.app.ended(), self.app.ends());
        loop {
            let Some(level) = self.level() else {
                self.is_over = true;
                return Some((Event::default().event("reload").data("end"), self));
            };
            if Some(level) != self.last {
                self.last = Some(level);
                let html = level.bar().into_string();
                return Some((Event::default().event("numbers").data(html), self));
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = ends.changed() => {}
                _ = ended.wait_for(Option::is_some) => return None,
            }
        }
    }

    /// Returns the progress of the change; `None` if it does not run any more.
    fn level(&self) -> Option<Level> {
        let ledger = self.app.ledger();
        let change = ledger.change(self.number)?;
        change.is_running().then(|| change.work.level())
    }
}
