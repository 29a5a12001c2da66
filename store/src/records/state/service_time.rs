//! The time by the clock of the service, for a comparison with the clock of this machine.

use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use packcast_protocol::UnixTime;

use super::super::item;
use super::super::key::Key;
use super::super::{Records, RecordsError};
use super::Head;
use crate::aws::is_loopback;

/// The time of an answer, by the clock of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceTime {
    /// The answer has this time in its header `Date`, in whole seconds.
    Told(UnixTime),
    /// The service runs on this machine, so its clock proves nothing.
    ThisMachine,
    /// The answer tells no time.
    Untold,
}

impl Records {
    /// Returns the head, strongly consistent, with the time of the answer.
    pub async fn head_with_time(&self) -> Result<(Option<Head>, ServiceTime), RecordsError> {
        let date = Arc::new(OnceLock::new());
        let output = self
            .client
            .get_item()
            .table_name(self.table())
            .set_key(Some(Key::head().attributes()))
            .consistent_read(true)
            .customize()
            .interceptor(DateReader(Arc::clone(&date)))
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        let head = output.item.map(item::read).transpose()?;
        let time = if is_loopback(&self.endpoint) {
            ServiceTime::ThisMachine
        } else {
            date.get()
                .copied()
                .map_or(ServiceTime::Untold, ServiceTime::Told)
        };
        Ok((head, time))
    }
}

/// Keeps the time of an answer.
#[derive(Debug)]
struct DateReader(Arc<OnceLock<UnixTime>>);

impl Intercept for DateReader {
    fn name(&self) -> &'static str {
        "DateReader"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(time) = context.response().headers().get("date").and_then(unix_time) {
            // A repeated attempt is only some seconds later.
            let _ = self.0.set(time);
        }
        Ok(())
    }
}

/// Returns the time of a header `Date`.
fn unix_time(date: &str) -> Option<UnixTime> {
    let date = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
    u64::try_from(date.secs()).ok().map(UnixTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_header_is_read() {
        let time = unix_time("Wed, 18 Nov 2026 11:06:40 GMT");
        assert_eq!(time, Some(UnixTime(1_795_000_000)));
        for bad in ["", "yesterday", "Wed, 18 Nov 1926 11:06:40 GMT"] {
            assert_eq!(unix_time(bad), None, "{bad}");
        }
    }
}
