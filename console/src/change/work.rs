//! The work of a change that runs: its progress, and its reads.

use std::sync::Arc;

use packcast_publisher::Progress;
use packcast_publisher::page::ReadMeter;

use crate::publish::gauge::{Gauge, Level};

/// The work of a change. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ChangeWork {
    pub(super) progress: Progress,
    gauge: Arc<Gauge>,
    /// The reads of the change and of the decision on it.
    pub(super) meter: ReadMeter,
}

impl ChangeWork {
    pub(crate) fn new(meter: ReadMeter) -> Self {
        let gauge: Arc<Gauge> = Arc::default();
        Self {
            progress: gauge.progress(),
            gauge,
            meter,
        }
    }

    pub(super) fn level(&self) -> Level {
        self.gauge.level()
    }
}
