//! The check-in function: announces packages to devices, and records their results.
//!
//! Every handler has the shape read → decide → write: it reads records, `packcast_rollout`
//! decides, and the reply shows recorded decisions only. The library knows neither Lambda nor a
//! clock; the program brings both.

mod access;
mod answer;
mod begin;
mod device_access;
mod gates;
mod groups;
mod json;
mod log_name;
mod ocs;
mod packages;
mod pass_key;
mod reconcile;
mod refusals;
mod result;
mod rollout_counts;
mod rollouts;
mod sent_state;
pub mod settings;
pub mod state;
mod state_counts;
mod tasks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use packcast_protocol::api::{BEGIN_PATH, CHECK_IN_PATH, REPORT_PATH};
use packcast_protocol::state::HeldState;
use packcast_protocol::{DeviceId, UnixTime};
use packcast_store::Records;
use tokio::time::timeout;

pub use crate::access::ORIGIN_HEADER;
use crate::gates::Gates;
use crate::groups::Groups;
use crate::ocs::SealedReplies;
use crate::packages::Packages;
pub use crate::pass_key::PassKey;
pub use crate::refusals::{METRIC_NAMESPACE, REFUSED_REQUESTS, RefusalCounts};
use crate::refusals::{RefusalCounter, RefusalKind};
use crate::rollout_counts::RolloutCounter;
pub use crate::rollout_counts::{FULL_ROLLOUTS, HALTED_ROLLOUTS, RolloutCounts};
pub use crate::settings::{FunctionSettings, SettingsError, TableSettings};
use crate::state::StateCache;
use crate::state_counts::StateCounter;
pub use crate::state_counts::{COMMITS_ABOVE_HEAD, REFUSED_STATES, STATE_DAYS_LEFT, StateCounts};

/// Time limit of one request. It is shorter than the limits of Lambda, which would end the
/// function without a reply, and of the CDN.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Paths of the requests of Packcast agents.
const AGENT_PATHS: [&str; 3] = [CHECK_IN_PATH, REPORT_PATH, BEGIN_PATH];

/// Handler of every request of a device.
#[derive(Debug)]
pub struct CheckInFunction {
    records: Records,
    packages: Packages,
    groups: Groups,
    gates: Gates,
    state: StateCache,
    sealed: SealedReplies,
    settings: FunctionSettings,
    counters: Arc<Counters>,
}

/// Counts for the log.
#[derive(Debug, Default)]
struct Counters {
    refusals: Mutex<RefusalCounter>,
    state: Mutex<StateCounter>,
    rollouts: Mutex<RolloutCounter>,
}

impl CheckInFunction {
    pub fn new(records: Records, settings: FunctionSettings) -> Self {
        Self::counting(records, settings, Arc::default())
    }

    /// Returns a function that has cached nothing, and continues the counts of this one.
    ///
    /// A function that learns of a change of the records can so act on it at once.
    #[must_use]
    pub fn with_empty_caches(&self) -> Self {
        Self::counting(
            self.records.clone(),
            self.settings.clone(),
            Arc::clone(&self.counters),
        )
    }

    fn counting(records: Records, settings: FunctionSettings, counters: Arc<Counters>) -> Self {
        Self {
            records,
            packages: Packages::new(settings.group_cache_s),
            groups: Groups::new(settings.group_cache_s),
            gates: Gates::new(settings.group_cache_s),
            state: StateCache::new(settings.trust.clone(), settings.group_cache_s),
            sealed: SealedReplies::default(),
            settings,
            counters,
        }
    }

    /// Answers one request within [`REQUEST_LIMIT`].
    ///
    /// A request that does not come through the CDN of the target, if it has one, is refused
    /// before its body is read. Packcast agents post JSON to three fixed paths. OCS agents post
    /// to a path that ends in a token. No other address exists. In particular, `GET
    /// …/deploy/label` does not: a Windows agent asks for it and must not find it (protocol
    /// reference §0 rule 8).
    ///
    /// Refusals are counted, see [`CheckInFunction::take_refusals`].
    pub async fn handle(&self, request: Request<Bytes>, now: UnixTime) -> Response<Bytes> {
        let is_packcast_agent = AGENT_PATHS.contains(&request.uri().path());
        // Boxed, because the futures of a request are nested too deeply for the compiler to lay out
        // inside those of its callers.
        let answered = timeout(REQUEST_LIMIT, Box::pin(self.answer(request, now))).await;
        answered.unwrap_or_else(|_| {
            // A write that had started may have succeeded, as when a reply is lost.
            answer::log_timeout(REQUEST_LIMIT);
            if is_packcast_agent {
                answer::unavailable(now)
            } else {
                answer::ocs_unavailable()
            }
        })
    }

    /// Returns the counts of the refused requests, at most once a minute.
    ///
    /// The caller asks after each request, and logs the counts. So the last refusals before an idle
    /// time are logged with the next request, and are lost if the function ends before.
    pub fn take_refusals(&self, now: UnixTime) -> Option<RefusalCounts> {
        self.refusals().take_due(now)
    }

    /// Returns the counts of devices that refuse the signed state, and the days until it expires, at
    /// most once a minute. The caller asks after each request, as for the refused requests.
    pub fn take_state_counts(&self, now: UnixTime) -> Option<StateCounts> {
        let head = self.state.last_head();
        self.state_counts().take_due(head.as_ref(), now)
    }

    /// Returns rollouts that this request has halted at once. Returns rollouts that were halted before,
    /// and full rollouts without news, at most once a minute. The caller asks after each request, as
    /// for the refused requests.
    pub fn take_rollout_counts(&self, now: UnixTime) -> Option<RolloutCounts> {
        self.rollout_counts().take_due(now)
    }

    fn rollout_counts(&self) -> MutexGuard<'_, RolloutCounter> {
        // A panic cannot leave the counter half-changed.
        lock(&self.counters.rollouts)
    }

    /// Counts a check-in by the state that the device holds. The check-in has read the head.
    fn count_state(&self, device: &DeviceId, held: &HeldState, now: UnixTime) {
        let current = self.state.last_head();
        self.state_counts()
            .count(device, held, current.as_ref(), now);
    }

    fn state_counts(&self) -> MutexGuard<'_, StateCounter> {
        // Each change of the counter is complete at any time.
        lock(&self.counters.state)
    }

    fn refusals(&self) -> MutexGuard<'_, RefusalCounter> {
        // Each change of the counter is complete at any time.
        lock(&self.counters.refusals)
    }

    async fn answer(&self, request: Request<Bytes>, now: UnixTime) -> Response<Bytes> {
        if !access::admits_origin(&self.settings, request.headers()) {
            self.refusals().count(RefusalKind::Origin);
            return answer::forbidden();
        }
        if request.method() != Method::POST {
            return self.no_such_address();
        }
        match request.uri().path() {
            CHECK_IN_PATH => json::check_in(self, &request, now).await,
            REPORT_PATH => json::report(self, &request, now).await,
            BEGIN_PATH => json::begin(self, &request, now).await,
            path if access::admits_ocs_agent(&self.settings, path) => {
                ocs::answer(self, &request, now).await
            }
            _ => self.no_such_address(),
        }
    }

    fn no_such_address(&self) -> Response<Bytes> {
        self.refusals().count(RefusalKind::Address);
        answer::not_found()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
