//! The index of a package's devices and their states.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use futures_util::future::try_join_all;
use packcast_protocol::{DeviceId, PackageId};

use super::item::{Item, text};
use super::key::{
    INDEX, INDEX_PK, INDEX_SHARDS, INDEX_SK, index_partition, index_sort, index_sort_prefix,
};
use super::{Records, RecordsError};

/// State of a package's deployment on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentState {
    /// A group of the device has the package, and the device has not checked in since. There is
    /// no task yet, so the index does not contain this state.
    #[serde(rename = "to-come")]
    Unreached,
    /// The task is not announced yet.
    #[serde(rename = "waiting")]
    Pending,
    Announced,
    Withdrawn,
    Succeeded,
    Failed,
    Cancelled,
    /// The device runs another system than the package is for.
    NotApplicable,
}

impl DeploymentState {
    /// Returns true if the device has reported a result, or has ended its task in another way.
    pub const fn is_outcome(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::NotApplicable => true,
            Self::Unreached | Self::Pending | Self::Announced | Self::Withdrawn => false,
        }
    }

    /// Returns the form in the index; `None` for devices that the index does not contain.
    const fn stored(self) -> Option<&'static str> {
        match self {
            Self::Unreached => None,
            Self::Pending => Some("held"),
            Self::Announced => Some("announced"),
            Self::Withdrawn => Some("withdrawn"),
            Self::Succeeded => Some("succeeded"),
            Self::Failed => Some("failed"),
            Self::Cancelled => Some("cancelled"),
            Self::NotApplicable => Some("not_applicable"),
        }
    }
}

/// The devices of a package to read from the index.
#[derive(Clone, Copy, Debug, Default)]
struct Selection {
    /// The state of the devices; `None` for every state.
    state: Option<&'static str>,
    /// The maximum number of devices in each partition; `None` for all devices.
    most: Option<i32>,
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unreached => "not checked in since the assignment",
            Self::Pending => "waiting",
            Self::Announced => "announced",
            Self::Withdrawn => "withdrawn",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NotApplicable => "not applicable",
        })
    }
}

impl Records {
    /// Returns the devices with a task or a result of a package, with their states.
    ///
    /// The index lags behind: the answer may be some seconds old. Use it only for display.
    pub async fn devices_of(
        &self,
        package: PackageId,
    ) -> Result<BTreeMap<DeviceId, DeploymentState>, RecordsError> {
        self.indexed(package, Selection::default()).await
    }

    /// Returns the devices of a package in one state, in the order of their ids. The index does not
    /// contain [`DeploymentState::Unreached`].
    ///
    /// The index lags behind, as in [`Records::devices_of`].
    pub async fn devices_in(
        &self,
        package: PackageId,
        state: DeploymentState,
    ) -> Result<BTreeSet<DeviceId>, RecordsError> {
        self.selected(package, state, None).await
    }

    /// Returns devices of a package in one state: at most `most` in each of the 64 partitions of the
    /// index, over which devices are spread evenly.
    ///
    /// The cost does not depend on the number of devices. The index lags behind, as in
    /// [`Records::devices_of`].
    pub async fn some_devices_in(
        &self,
        package: PackageId,
        state: DeploymentState,
        most: u16,
    ) -> Result<BTreeSet<DeviceId>, RecordsError> {
        self.selected(package, state, Some(most)).await
    }

    async fn selected(
        &self,
        package: PackageId,
        state: DeploymentState,
        most: Option<u16>,
    ) -> Result<BTreeSet<DeviceId>, RecordsError> {
        let Some(state) = state.stored() else {
            return Ok(BTreeSet::new());
        };
        let selection = Selection {
            state: Some(state),
            most: most.map(i32::from),
        };
        let devices = self.indexed(package, selection).await?;
        Ok(devices.into_keys().collect())
    }

    /// Returns the first `most` devices in one partition of the index, from `from` on.
    pub(super) async fn index_shard_page(
        &self,
        package: PackageId,
        shard: u16,
        state: DeploymentState,
        from: Option<&DeviceId>,
        most: usize,
    ) -> Result<Vec<DeviceId>, RecordsError> {
        let Some(state) = state.stored() else {
            return Ok(Vec::new());
        };
        let prefix = index_sort_prefix(state);
        let first = from.map_or_else(|| prefix.clone(), |device| index_sort(state, device));
        // `$` is the character after `#`, which ends the prefix.
        let last = format!("{state}$");
        let mut pages = self
            .client
            .query()
            .table_name(self.table())
            .index_name(INDEX)
            .key_condition_expression("#ipk = :ipk AND #isk BETWEEN :first AND :last")
            .expression_attribute_names("#ipk", INDEX_PK)
            .expression_attribute_names("#isk", INDEX_SK)
            .expression_attribute_values(":ipk", text(index_partition(package, shard)))
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .limit(i32::try_from(most).unwrap_or(i32::MAX).max(1))
            .into_paginator()
            .send();
        let mut devices = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed(error))?;
            for item in page.items.unwrap_or_default() {
                devices.push(device_state(&item)?.0);
            }
            // A page may end early, at 1 MB, so one page is not always enough.
            if devices.len() >= most {
                break;
            }
        }
        Ok(devices)
    }

    async fn indexed(
        &self,
        package: PackageId,
        selection: Selection,
    ) -> Result<BTreeMap<DeviceId, DeploymentState>, RecordsError> {
        let shards = (0..INDEX_SHARDS).map(|shard| self.indexed_shard(package, shard, selection));
        let shards = try_join_all(shards).await?;
        Ok(shards.into_iter().flatten().collect())
    }

    async fn indexed_shard(
        &self,
        package: PackageId,
        shard: u16,
        selection: Selection,
    ) -> Result<Vec<(DeviceId, DeploymentState)>, RecordsError> {
        let mut query = self
            .client
            .query()
            .table_name(self.table())
            .index_name(INDEX)
            .key_condition_expression("#ipk = :ipk")
            .expression_attribute_names("#ipk", INDEX_PK)
            .expression_attribute_values(":ipk", text(index_partition(package, shard)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_limit(selection.most);
        if let Some(state) = selection.state {
            query = query
                .key_condition_expression("#ipk = :ipk AND begins_with(#isk, :state)")
                .expression_attribute_names("#isk", INDEX_SK)
                .expression_attribute_values(":state", text(index_sort_prefix(state)));
        }
        let mut pages = query.into_paginator().send();
        let mut devices = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed(error))?;
            for item in page.items.unwrap_or_default() {
                devices.push(device_state(&item)?);
            }
            // `most` devices always fit into one page.
            if selection.most.is_some() {
                break;
            }
        }
        Ok(devices)
    }
}

fn device_state(item: &Item) -> Result<(DeviceId, DeploymentState), RecordsError> {
    let key = item.get(INDEX_SK).and_then(|key| key.as_s().ok());
    let (state, device) = key.and_then(|key| key.split_once('#')).unwrap_or_default();
    let corrupt = |source| RecordsError::Corrupt {
        key: format!("{INDEX} {state}#{device}"),
        source,
    };
    let state = match state {
        "held" => DeploymentState::Pending,
        "announced" => DeploymentState::Announced,
        "withdrawn" => DeploymentState::Withdrawn,
        "succeeded" => DeploymentState::Succeeded,
        "failed" => DeploymentState::Failed,
        "cancelled" => DeploymentState::Cancelled,
        "not_applicable" => DeploymentState::NotApplicable,
        _ => return Err(corrupt("unknown state".into())),
    };
    let device = device.parse().map_err(|error| corrupt(Box::new(error)))?;
    Ok((device, state))
}
