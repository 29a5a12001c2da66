//! The check-in function: tells each device its packages, takes the results back.

pub mod settings;

pub use settings::Settings;

use bytes::Bytes;
use packcast_protocol::UnixTime;
use packcast_store::Records;

/// The handler of every request that devices make.
#[derive(Debug)]
pub struct CheckIn {
    _records: Records,
    _settings: Settings,
}

impl CheckIn {
    pub fn new(records: Records, settings: Settings) -> Self {
        Self { _records: records, _settings: settings }
    }

    /// Answers one request at the time `now`.
    pub async fn handle(&self, _request: http::Request<Bytes>, _now: UnixTime) -> http::Response<Bytes> {
        http::Response::new(Bytes::new())
    }
}
