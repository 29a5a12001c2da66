//! The records of all devices and the findings of the last check, which the process keeps.
//!
//! Reading them costs about half a read unit for each device, so pages ask for it explicitly, and then
//! use the answer until somebody checks again.

use std::sync::{Arc, Mutex, PoisonError};

use packcast_protocol::UnixTime;
use packcast_publisher::device::list::{DeviceFilter, DeviceOrder, ListedDevice, list};
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

/// The devices that met a filter at one time.
#[derive(Debug)]
pub(crate) struct FilteredDevices {
    pub(crate) at: UnixTime,
    filter: DeviceFilter,
    /// In the order of their host names.
    pub(crate) devices: Vec<ListedDevice>,
}

/// The answers that the process keeps.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    devices: Mutex<Option<Arc<DeviceRecords>>>,
    checked: Mutex<Option<Arc<Checked>>>,
    filtered: tokio::sync::Mutex<Option<Arc<FilteredDevices>>>,
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

    /// Returns the devices that meet a filter. The pages after the first one use the same answer, unless
    /// another filter was used since then.
    pub(crate) async fn filtered(
        &self,
        target: &Target,
        filter: &DeviceFilter,
        is_first_page: bool,
        now: UnixTime,
    ) -> Result<Arc<FilteredDevices>, Failure> {
        let usable = |kept: &Arc<FilteredDevices>| {
            kept.filter == *filter && (!is_first_page || kept.at >= now)
        };
        // A request that waits takes the answer of the request before it.
        let mut kept = self.filtered.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| usable(kept)) {
            return Ok(Arc::clone(kept));
        }
        let found = list(target, filter, DeviceOrder::Host, usize::MAX).await?;
        let found = Arc::new(FilteredDevices {
            at: now,
            filter: filter.clone(),
            devices: found.devices,
        });
        *kept = Some(Arc::clone(&found));
        Ok(found)
    }

    /// Checks the fleet again, unless another request has done so since `now`. `units` returns the read units of the request until now.
    pub(crate) async fn check(
        &self,
        target: &Target,
        now: UnixTime,
        units: impl Fn() -> f64,
    ) -> Result<(), Failure> {
        let _reading = self.reading.lock().await;
        if self.checked().is_some_and(|checked| checked.at >= now) {
            return Ok(());
        }
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
