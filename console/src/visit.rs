//! One request of a person who is signed in: a handle to the target with its meter, and the answer.

use std::sync::OnceLock;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use packcast_protocol::UnixTime;
use packcast_publisher::Target;
use packcast_publisher::page::{ReadMeter, ReadUsage};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::answer;
use crate::app::App;
use crate::layout::{self, Footer, Frame, View};
use crate::page_error::PageError;
use crate::token::Token;

/// The mark of a request with a session, with the token for its forms.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) form: Token,
}

/// A request of a person who is signed in.
pub(crate) struct Visit {
    pub(crate) app: App,
    /// The target, for display only.
    pub(crate) target: Target,
    pub(crate) form: Token,
    pub(crate) now: UnixTime,
    meter: ReadMeter,
    /// The meter of the change that the request decides on.
    change_meter: OnceLock<ReadMeter>,
    begun: Instant,
}

impl FromRequestParts<App> for Visit {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, app: &App) -> Result<Self, Response> {
        // The gate has refused other requests already.
        let SignedIn { form } = head
            .extensions
            .get::<SignedIn>()
            .cloned()
            .ok_or_else(|| answer::status(StatusCode::FORBIDDEN))?;
        let (target, meter) = app.target().for_display();
        Ok(Self {
            now: app.now(),
            app: app.clone(),
            target,
            form,
            meter,
            change_meter: OnceLock::new(),
            begun: Instant::now(),
        })
    }
}

impl Visit {
    /// Returns the answer with a page, or with the reason for which there is none.
    pub(crate) fn answer(self, view: Result<View, PageError>) -> Response {
        match view {
            Ok(view) => self.answer_with(StatusCode::OK, &view),
            Err(error) => {
                let view = layout::error(&error, self.app.commands());
                self.answer_with(error.status(), &view)
            }
        }
    }

    /// Returns the answer with a page and this status.
    pub(crate) fn answer_with(self, status: StatusCode, view: &View) -> Response {
        let ReadUsage { requests, units } = self.usage();
        let footer = (requests > 0).then(|| Footer {
            requests,
            units,
            milliseconds: self.begun.elapsed().as_millis(),
        });
        let warnings = self.target.warnings.take();
        let frame = Frame {
            target: &self.target.name,
            form: &self.form,
            commands: self.app.commands(),
            key: self.app.key_state(),
        };
        answer::page(
            status,
            layout::page(&frame, view, &warnings, footer.as_ref()),
        )
    }

    /// Returns the read units until now.
    pub(crate) fn units(&self) -> f64 {
        self.usage().units
    }

    /// Returns the target for a change. The footer counts the reads of the decision, too.
    pub(crate) fn target_for_change(&self) -> Target {
        let (target, meter) = self.app.target().for_metered_change();
        // A request decides on one change.
        let _ = self.change_meter.set(meter);
        target
    }

    /// Returns the meter of [`Visit::target_for_change`].
    pub(crate) fn change_meter(&self) -> ReadMeter {
        self.change_meter.get().cloned().unwrap_or_default()
    }

    fn usage(&self) -> ReadUsage {
        let (display, change) = (self.meter.usage(), self.change_meter().usage());
        ReadUsage {
            requests: display.requests + change.requests,
            units: display.units + change.units,
        }
    }
}

/// Answers with a future that stays on one thread, because the operations that read many devices do not
/// promise to be movable between threads. The work stops when nobody waits for the answer any more.
pub(crate) async fn on_one_thread<F>(page: impl FnOnce() -> F + Send + 'static) -> Response
where
    F: Future<Output = Response>,
{
    let runtime = Handle::current();
    // The future of a thread is not dropped with the request, so this channel tells of its end.
    let (_waits, gone) = oneshot::channel::<()>();
    let answered = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                answer = page() => Some(answer),
                _ = gone => None,
            }
        })
    });
    let failed = || answer::status(StatusCode::INTERNAL_SERVER_ERROR);
    answered.await.ok().flatten().unwrap_or_else(failed)
}
