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
mod reconcile;
mod result;
pub mod settings;
mod tasks;

use bytes::Bytes;
use http::{Method, Request, Response};
use packcast_protocol::UnixTime;
use packcast_protocol::api::{CHECK_IN_PATH, REPORT_PATH};
use packcast_store::Records;

pub use crate::access::ORIGIN_HEADER;
use crate::groups::Groups;
use crate::packages::Packages;
pub use crate::settings::{Settings, SettingsError};

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

    /// Answers one request.
    ///
    /// Who does not come through the CDN, where there is one, is refused before its body is
    /// looked at. Our agents post JSON to two fixed paths; stock agents post to a path of their
    /// own that ends in a token, or show HTTP Basic. Nothing else exists here, `GET
    /// …/deploy/label` included, which a Windows agent asks for and must not find (protocol
    /// reference §0 rule 8).
    pub async fn handle(&self, request: Request<Bytes>, now: UnixTime) -> Response<Bytes> {
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
            path if access::admits_stock_agent(&self.settings, path, request.headers()) => {
                ocs::answer(self, &request, now).await
            }
            _ => answer::not_found(),
        }
    }
}
