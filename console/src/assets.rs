//! The style sheet and the script, which are part of the program.

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

pub(crate) const STYLE: &str = "/style.css";
pub(crate) const SCRIPT: &str = "/console.js";

/// Returns true for the path of a file that needs no session.
pub(crate) fn is_asset(path: &str) -> bool {
    path == STYLE || path == SCRIPT
}

pub(crate) async fn style() -> impl IntoResponse {
    let kind = [(CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("../assets/style.css"))
}

pub(crate) async fn script() -> impl IntoResponse {
    let kind = [(CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("../assets/console.js"))
}
