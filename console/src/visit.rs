//! One request of a person who is signed in: a handle to the target with its meter, and the answer.

use std::str::FromStr;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use packcast_protocol::UnixTime;
use packcast_publisher::page::{ReadMeter, ReadUsage};
use packcast_publisher::{Failure, Kind, Target};
use tokio::runtime::Handle;

use crate::answer;
use crate::app::App;
use crate::layout::{self, Footer, View};
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
    begun: Instant,
}

/// A page that cannot be shown.
#[derive(Debug)]
pub(crate) enum PageError {
    /// The address names nothing.
    NotFound(String),
    Failed(Failure),
}

impl From<Failure> for PageError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl PageError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Failed(failure) if failure.is_unreachable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(failure) => match failure.kind() {
                Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
                Kind::Usage => StatusCode::BAD_REQUEST,
                Kind::Conflict => StatusCode::CONFLICT,
                Kind::TryLater => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    /// Returns the message, its causes, and the next steps.
    pub(crate) fn texts(&self) -> (String, Vec<String>, Vec<String>) {
        match self {
            Self::NotFound(text) => (text.clone(), Vec::new(), Vec::new()),
            Self::Failed(failure) => {
                let hints = failure.hints().to_vec();
                (failure.message(), failure.causes(), hints)
            }
        }
    }
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
            begun: Instant::now(),
        })
    }
}

impl Visit {
    /// Returns the answer with a page, or with the reason for which there is none.
    pub(crate) fn answer(self, view: Result<View, PageError>) -> Response {
        let (status, view) = match view {
            Ok(view) => (StatusCode::OK, view),
            Err(error) => (error.status(), layout::error(&error)),
        };
        let ReadUsage { requests, units } = self.meter.usage();
        let footer = Footer {
            requests,
            units,
            milliseconds: self.begun.elapsed().as_millis(),
        };
        let warnings = self.target.warnings.take();
        answer::page(status, layout::page(&self, view, &warnings, &footer))
    }

    /// Returns the read units until now.
    pub(crate) fn units(&self) -> f64 {
        self.meter.usage().units
    }
}

/// Answers with a future that stays on one thread, because the operations that read many devices do not
/// promise to be movable between threads.
pub(crate) async fn on_one_thread<F>(page: impl FnOnce() -> F + Send + 'static) -> Response
where
    F: Future<Output = Response>,
{
    let runtime = Handle::current();
    let answered = tokio::task::spawn_blocking(move || runtime.block_on(page()));
    let failed = |_| answer::status(StatusCode::INTERNAL_SERVER_ERROR);
    answered.await.unwrap_or_else(failed)
}

/// Reads a part of an address. An invalid one names nothing.
pub(crate) fn named<T: FromStr>(text: &str, kind: &str) -> Result<T, PageError> {
    text.parse()
        .map_err(|_| PageError::NotFound(format!("cannot find this {kind}: {text:?} is no {kind}")))
}

/// Reads an optional field of a form. An empty field counts as absent.
pub(crate) fn field<T: FromStr>(text: Option<&str>, name: &str) -> Result<Option<T>, PageError> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let read = |text: &str| {
        let refusal = format!("cannot read the field {name}: {text:?} is invalid");
        text.parse().map_err(|_| Failure::usage(refusal).into())
    };
    text.map(read).transpose()
}
