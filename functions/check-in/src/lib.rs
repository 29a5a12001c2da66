//! The check-in function: tells each device its packages, takes the results back.
//!
//! Every answer has the shape read → decide → commit: records are read, `packcast_rollout`
//! decides, and only what was committed is said. The library knows neither Lambda nor a
//! clock; the binary brings both.

mod access;
mod answer;
mod documents;
mod groups;
mod json;
mod ocs;
mod packages;
mod pass_key;
mod reconcile;
mod result;
pub mod settings;
mod tasks;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use packcast_protocol::UnixTime;
use packcast_protocol::api::{CHECK_IN_PATH, REPORT_PATH};
use packcast_store::Records;
use tokio::time::timeout;

pub use crate::access::ORIGIN_HEADER;
use crate::groups::Groups;
use crate::packages::Packages;
pub use crate::pass_key::PassKey;
pub use crate::settings::{Settings, SettingsError, TableSettings};

/// How long one request may take: less than Lambda gives the function, which then could say
/// nothing, and than the CDN waits for it.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// The handler of every request that devices make.
#[derive(Debug)]
pub struct CheckIn {
    records: Records,
    packages: Packages,
    groups: Groups,
    settings: Settings,
}

impl CheckIn {
    pub fn new(records: Records, settings: Settings) -> Self {
        Self {
            records,
            packages: Packages::new(settings.group_cache_s),
            groups: Groups::new(settings.group_cache_s),
            settings,
        }
    }

    /// Answers one request within [`REQUEST_LIMIT`].
    ///
    /// Who does not come through the CDN, where there is one, is refused before its body is
    /// looked at. Our agents post JSON to two fixed paths; stock agents post to a path of their
    /// own that ends in a token. Nothing else exists here, `GET …/deploy/label` included, which a
    /// Windows agent asks for and must not find (protocol reference §0 rule 8).
    pub async fn handle(&self, request: Request<Bytes>, now: UnixTime) -> Response<Bytes> {
        let is_ours = matches!(request.uri().path(), CHECK_IN_PATH | REPORT_PATH);
        let answered = timeout(REQUEST_LIMIT, self.answer(request, now)).await;
        answered.unwrap_or_else(|_| {
            // What was begun is on record or not, as when an answer is lost.
            answer::log_lateness(REQUEST_LIMIT);
            if is_ours {
                answer::unavailable(now)
            } else {
                answer::stock_unavailable()
            }
        })
    }

    async fn answer(&self, request: Request<Bytes>, now: UnixTime) -> Response<Bytes> {
        if !access::admits_origin(&self.settings, request.headers()) {
            tracing::warn!("request without the origin secret");
            return answer::forbidden();
        }
        if request.method() != Method::POST {
            return answer::not_found();
        }
        match request.uri().path() {
            CHECK_IN_PATH => json::check_in(self, &request, now).await,
            REPORT_PATH => json::report(self, &request, now).await,
            path if access::admits_ocs_agent(&self.settings, path) => {
                ocs::answer(self, &request, now).await
            }
            _ => answer::not_found(),
        }
    }
}
