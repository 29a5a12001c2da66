//! The progress of work in the background: its place on a page, and the events that change it.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use maud::{Markup, html};

use crate::app::App;
use crate::publish::gauge::Level;

/// The pause between two looks at the progress.
const PAUSE: Duration = Duration::from_millis(300);

/// Writes the progress on a page. `path` is the address of the events.
pub(crate) fn place(path: &str, level: Level) -> Markup {
    html! {
        div #live data-live=(path) { (level.bar()) }
        p #live-note role="status" {}
        p.hidden #live-summary role="status" {}
        // Without the script, the page comes again by itself.
        noscript {
            meta http-equiv="refresh" content="3";
            p { a href="" { "Reload the page" } " to see the progress." }
        }
    }
}

/// Sends the progress of work after each step, and an event at its end. `level` reads the progress; it
/// returns `None` if the work does not run any more.
pub(crate) fn events(app: App, level: impl Fn(&App) -> Option<Level> + Send + 'static) -> Response {
    let watched = Watched {
        app,
        level,
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

/// Work that a page watches.
struct Watched<L> {
    app: App,
    level: L,
    last: Option<Level>,
    is_over: bool,
}

impl<L: Fn(&App) -> Option<Level>> Watched<L> {
    /// Returns the next event; `None` after the last one.
    async fn next(mut self) -> Option<(Event, Self)> {
        if self.is_over {
            return None;
        }
        let (mut ended, mut ends) = (self.app.ended(), self.app.ends());
        loop {
            let Some(level) = (self.level)(&self.app) else {
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
                // Only changes tell of their end at once.
                _ = ends.changed() => {}
                _ = ended.wait_for(Option::is_some) => return None,
            }
        }
    }
}
