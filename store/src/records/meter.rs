//! Handles for one display or one change: they count the read units that they consume.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, ConfigBag};
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::ConsumedCapacity;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, Output,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use super::Records;

/// Reads that a handle has made. Clones share one count.
#[derive(Clone, Debug, Default)]
pub struct ReadMeter(Arc<Mutex<ReadUsage>>);

/// A number of reads with the read units that they consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReadUsage {
    pub requests: u64,
    pub units: f64,
}

impl ReadMeter {
    /// Returns the usage since the creation of the handle.
    pub fn usage(&self) -> ReadUsage {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, ReadUsage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    /// Returns a handle to the same table for one display, with its meter.
    ///
    /// Lists and counts are read eventually consistent, for half of the units: they may be some
    /// seconds old. Reads of single records, of ranges and of the signed state stay strongly
    /// consistent. A read fails after 12 seconds. Decisions need [`Records`] without this mode.
    #[must_use]
    pub fn for_display(&self) -> (Self, ReadMeter) {
        let config = self.client.config().to_builder();
        self.with_meter(config.timeout_config(timeouts()), true)
    }

    /// Returns a handle to the same table for a change, with the meter of its reads.
    #[must_use]
    pub fn metered(&self) -> (Self, ReadMeter) {
        self.with_meter(self.client.config().to_builder(), self.is_for_display)
    }

    fn with_meter(&self, config: Builder, is_for_display: bool) -> (Self, ReadMeter) {
        let meter = ReadMeter::default();
        let records = Self {
            client: Client::from_conf(config.interceptor(meter.clone()).build()),
            table: Arc::clone(&self.table),
            endpoint: Arc::clone(&self.endpoint),
            is_for_display,
        };
        (records, meter)
    }
}

/// Returns the time limits of a read for display: a person waits for it.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(5))
        .operation_timeout(Duration::from_secs(12))
        .build()
}

impl Intercept for ReadMeter {
    fn name(&self) -> &'static str {
        "ReadMeter"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Ok(output) = context.output_or_error() {
            let mut usage = self.lock();
            usage.requests += 1;
            usage.units += consumed(output);
        }
        Ok(())
    }
}

/// Returns the read units that an answer names.
fn consumed(output: &Output) -> f64 {
    let units = |consumed: &ConsumedCapacity| consumed.capacity_units.unwrap_or_default();
    if let Some(found) = output.downcast_ref::<QueryOutput>() {
        found.consumed_capacity().map_or(0.0, units)
    } else if let Some(found) = output.downcast_ref::<GetItemOutput>() {
        found.consumed_capacity().map_or(0.0, units)
    } else if let Some(found) = output.downcast_ref::<BatchGetItemOutput>() {
        found.consumed_capacity().iter().map(units).sum()
    } else {
        0.0
    }
}
