//! The wizard that publishes a package, in the words and the order of the OCS console.
//!
//! Its state is kept in memory until the console ends: texts as they were typed, uploads in a private
//! folder, and the threads that read files and publish. So a page can be reloaded or left at any step.

mod check;
mod command_line;
mod fields;
mod file_name;
mod found;
pub(crate) mod gauge;
mod guess;
mod installer;
mod job;
mod options;
mod page;
mod plan;
mod programs;
mod progress;
mod receive;
mod room;
mod save;
mod start_digest;
mod step;
mod steps;
mod task;
mod uninstall;
mod upload;
mod upload_error;
mod upload_folder;
mod wizard;
pub(crate) mod wizards;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use http::Method;
use http::request::Parts;

pub(crate) use self::step::START;
use crate::app::App;

/// The last part of the addresses that receive files.
const UPLOAD: &str = "upload";
const SEND: &str = "send";

/// The maximum length of a form in bytes: a command of 4 KiB, with each byte encoded.
const MAX_FORM: usize = 16 << 10;

/// Returns the routes of the wizard.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route(START, get(steps::start).post(steps::create))
        // The limit of forms does not concern the bodies with files: they are counted as they arrive,
        // after the token of the form.
        .route(
            "/publish/{wizard}/upload",
            post(receive::begin).put(receive::part),
        )
        .route("/publish/{wizard}/send", post(receive::whole))
        .route("/publish/{wizard}/discard", post(steps::discard))
        .route("/publish/{wizard}/reading", get(progress::reading))
        .route("/publish/{wizard}/progress", get(progress::publishing))
        .route("/publish/{wizard}/live", get(progress::live))
        .route(
            "/publish/{wizard}/{step}",
            get(steps::page).post(steps::save),
        )
        .layer(DefaultBodyLimit::max(MAX_FORM))
}

/// Returns true for a request with a file, which takes long.
pub(crate) fn is_upload(head: &Parts) -> bool {
    let mut parts = head.uri.path().split('/').skip(1);
    let is_of_wizard = parts.next() == Some("publish");
    let last = parts.nth(1);
    let is_last = parts.next().is_none();
    is_of_wizard
        && is_last
        && match last {
            Some(UPLOAD) => head.method == Method::PUT,
            Some(SEND) => head.method == Method::POST,
            _ => false,
        }
}
