//! The records of all devices and the findings of the last check, which the process keeps.
//!
//! Reading them costs about half a read unit for each device, so pages ask for it explicitly, and then
//! use the answer until somebody checks again.

use std::sync::{Arc, Mutex, PoisonError};

use packcast_protocol::UnixTime;
use packcast_publisher::device::list::ListedDevice;
use packcast_publisher::fleet_check::{self, PackageFindings};
use packcast_publisher::{Failure, Target};

/// The records of all devices at one time.
#[derive(Debug)]
pub(crate) struct DeviceRecords {
    pub(crate) at: UnixTime,
    /// In the order of their host names.
    pub(crate) devices: Vec<ListedDevice>,
}

/// The last check of the whole fleet.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) at: UnixTime,
    pub(crate) devices: Arc<DeviceRecords>,
    pub(crate) packages: PackageFindings,
    /// The read units of the check.
    pub(crate) units: f64,
}

/// The answers that the process keeps.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    devices: Mutex<Option<Arc<DeviceRecords>>>,
    checked: Mutex<Option<Arc<Checked>>>,
    /// Only one request at a time reads all devices.
    reading: tokio::sync::Mutex<()>,
}

impl Fleet {
    /// Returns the last check; `None` if there was none.
    pub(crate) fn checked(&self) -> Option<Arc<Checked>> {
        self.checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the records that were read last; `None` if none were read.
    pub(crate) fn read_before(&self) -> Option<Arc<DeviceRecords>> {
        self.devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the records of all devices, and reads them if no request has read them yet.
    pub(crate) async fn devices(
        &self,
        target: &Target,
        now: UnixTime,
    ) -> Result<Arc<DeviceRecords>, Failure> {
        if let Some(read) = self.read_before() {
            return Ok(read);
        }
        let _reading = self.reading.lock().await;
        match self.read_before() {
            Some(read) => Ok(read),
            None => self.read(target, now).await,
        }
    }

    /// Checks the fleet again. `units` returns the read units of the request until now.
    pub(crate) async fn check(
        &self,
        target: &Target,
        now: UnixTime,
        units: impl Fn() -> f64,
    ) -> Result<(), Failure> {
        let _reading = self.reading.lock().await;
        let packages = fleet_check::packages(target, now).await?;
        let checked = Checked {
            at: now,
            devices: self.read(target, now).await?,
            packages,
            units: units(),
        };
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(checked));
        Ok(())
    }

    async fn read(&self, target: &Target, now: UnixTime) -> Result<Arc<DeviceRecords>, Failure> {
        let devices = fleet_check::devices(target).await?;
        let read = Arc::new(DeviceRecords { at: now, devices });
        *self.devices.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&read));
        Ok(read)
    }
}
